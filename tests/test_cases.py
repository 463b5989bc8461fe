"""Inputs that people met in public tools or on their own disks, each with its right behaviour, and their neighbours.

The cases lie beside the real pictures, in the folder `cases`; the neighbours are drawn here.
"""

import importlib
import io
import shutil
import subprocess
import tarfile
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.habits import HABITS

from alexnet.core.errors import InputError
from alexnet.data.images.decode import decode
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.sources.recognise import read_source
from alexnet.inference.pictures import list_pictures, read_picture

Splits = Mapping[str, Mapping[str, int]]  # split -> class -> pictures
EIGHT = {"train": {"cat": 4, "dog": 4}}
BOTH = EIGHT | {"val": {"cat": 4, "dog": 4}}

# Layouts: what is read, before anything is held out, or the words of the refusal.
LAYOUTS: dict[str, Splits | str] = {
    "case-twins": "'Cat' and 'cat', which differ only in case; merge them",
    "cifar100": "meta does not name CIFAR-100's 100 fine classes",  # its files are stubs
    "csv-labels": {"train": {"a": 3, "b": 3}},
    "empty-class": "class 'empty' has no picture to train on .* --ignore empty",
    "images-annotations": "images/ and annotations/ look like pictures and their annotations.* give images/",
    "links-mixed": EIGHT,
    "nested": {"train": {"animals": 8, "things": 4}},
    "nfc-nfd": r"two Unicode forms, 'caf\\xe9' and 'cafe\\u0301'",
    "noise-folders": EIGHT,
    "nonutf8": {"train": {"caf\udce9": 4, "dog": 4}},
    "parquet": "train-00000-of-00001.parquet: it cannot be read",  # 12 bytes
    "split-Train-Val": BOTH,
    "split-mixed-case": BOTH,
    "split-training-test": EIGHT | {"test": {"cat": 4, "dog": 4}},
    "split-val-flat": "val/ has no class folder, only 4 files",
    "split-validation": BOTH,
    "symlinks": EIGHT,
    "tar-hardlink": "member '.*' is a link",
    "tiny-crlf": {"train": {"n00000001": 3, "n00000002": 3}, "val": {"n00000001": 1, "n00000002": 1}},
    "upper": {"train": {"cat": 6, "dog": 6}},
    "val-only": "found val/ but no train/",
    "val-only-class": "val/ has the class 'emu', which train/ lacks",
    "webdataset-tar": {"train": {"0": 3, "1": 3}},
    "wrapped-with-readme": BOTH,
    "zip-macosx": EIGHT,
    "zip-macosx-nodirs": EIGHT,
}
# Pictures: the words for a refusal, or the conversions.
PICTURES: dict[str, str | list[str]] = {
    "picture-avif": [],
    "picture-bmp-rgba": [],
    "picture-cmyk-progressive": ["CMYK"],
    "picture-dds": "format not taken: DDS",
    "picture-empty": "empty: ",
    "picture-gif-transparent": ["palette"],
    "picture-ico": "format not taken: ICO",
    "picture-jp2": "format not taken: JPEG2000",
    "picture-jpeg-comment-exif-broken": [],
    "picture-jpeg-cut-1": ["no end marker"],
    "picture-jpeg-cut-half": "damaged: ",
    "picture-jpeg-exif-6": ["rotated"],
    "picture-jpeg-exif-9": [],
    "picture-jpeg-leading-newline": "not a picture: other bytes come before one",
    "picture-jpeg-trailing": [],
    "picture-one-pixel": [],
    "picture-pcx": "format not taken: PCX",
    "picture-png-16": ["16-bit", "grayscale"],
    "picture-png-1bit": ["grayscale"],
    "picture-png-bad-iccp": [],
    "picture-png-big-itxt": [],
    "picture-png-big-ztxt": [],
    "picture-png-no-iend": [],
    "picture-png-palette-trns": ["palette", "alpha"],
    "picture-ppm-16": [],
    "picture-strip": [],
    "picture-svg": "format not taken: SVG",
    "picture-tga": "format not taken: TGA",
    "picture-tiff-cmyk": ["CMYK"],
    "picture-tiff-float": "colour mode not taken: F",
    "picture-tiff-jpeg": [],
    "picture-tiff-lab": [],
    "picture-tiff-multipage": ["animated"],
    "picture-webp-lossless-alpha": [],
}
# Behaviours of a net and of a training: the habit, or the test, that has the law.
BEHAVIOURS = {
    "compile-training": "compile-training",
    "double-interrupt": "core.test_signals.test_a_second_signal_raises_in_the_caller_who_goes_on_in_the_same_process",
    "eval-fewer-classes": "inference.test_classes.test_a_store_of_two_of_three_classes_is_measured_by_name",
    "export-then-forward": "models.test_build.test_a_net_answers_after_an_export_what_it_answered_before_and_is_"
    "exported_again",
    "head-identity": "models.test_build.test_another_module_may_stand_in_the_place_of_the_last_layer",
    "onnx-torchscript": "onnx-script",
    "onnx-within": "onnx-dynamo",
    "pickle-net": "models.test_build.test_a_net_is_pickled_copied_and_saved_whole_before_it_is_used_and_after",
    "quantised-weight": "ops.test_dispatch.test_one_picture_meets_quantised_weights_as_two_do",
    "trace-batch": "models.test_build.test_a_traced_net_answers_for_another_number_of_pictures",
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A copy of the cases, with the links, empty folders and odd names that only a copy can have."""
    folder = data.parent / "cases"
    if not (folder / "make.sh").is_file():
        pytest.skip(f"no cases at {folder}, beside the real pictures")
    copy = tmp_path_factory.mktemp("cases")
    subprocess.run(["sh", folder / "make.sh", copy], check=True)
    return copy


def source_of(case: Path) -> Path:
    """What a case gives to `prepare`: src/, or the one archive beside its README."""
    return case / "src" if (case / "src").is_dir() else next(p for p in case.iterdir() if p.name != "README")


def splits(source: Path, work: Path) -> dict[str, dict[str, int]]:
    """The number of pictures of each class and split, before anything is held out."""
    found = read_source(source, work)
    return {
        split: dict(Counter(found.classes[picture.label].name for picture in pictures))
        for split, pictures in found.splits.items()
    }


def check(source: Path, work: Path, right: Splits | str) -> None:
    """Check that a source is read rightly, or refused in one line with the right words."""
    if not isinstance(right, str):
        assert splits(source, work) == right
        return
    with pytest.raises(InputError, match=right) as error:
        read_source(source, work)
    assert "\n" not in str(error.value)


def test_every_case_has_its_law(cases: Path) -> None:
    there = {path.name for path in cases.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert there == {*LAYOUTS, *PICTURES, *BEHAVIOURS}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_read_rightly_or_refused_in_a_line(name: str, cases: Path, tmp_path: Path) -> None:
    check(source_of(cases / name), tmp_path, LAYOUTS[name])


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_taken_or_named(name: str, cases: Path) -> None:
    (file,) = (path for path in (cases / name).iterdir() if path.name != "README")
    right = PICTURES[name]
    if isinstance(right, list):
        assert sorted(decode(file.read_bytes())[1]) == sorted(right)
        return
    with pytest.raises(UnreadablePicture, match=right):
        decode(file.read_bytes())
    assert read_picture(list_pictures(file)[0].source, 32) == str(read_picture(file.read_bytes(), 32))


def test_a_case_of_behaviour_has_a_test_elsewhere() -> None:
    for law in BEHAVIOURS.values():
        module, _, name = law.rpartition(".")
        assert hasattr(importlib.import_module(f"tests.{module}"), name) if module else law in HABITS, law


JPEG = io.BytesIO()
Image.new("RGB", (48, 40), (200, 60, 40)).save(JPEG, "JPEG")


def lay(root: Path, files: str | Iterable[str]) -> Path:
    """Write files: a picture for each name, or the text after "="."""
    for name in files.split() if isinstance(files, str) else files:
        path, given, text = name.partition("=")
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode() if given else JPEG.getvalue())
    return root


TWO = {"train": {"a": 1, "b": 1}}
NEIGHBOURS: dict[str, tuple[str, Splits | str]] = {
    "dev is val": ("TRAIN/a/1 TRAIN/b/1 Dev/a/1 Dev/b/1", TWO | {"val": {"a": 1, "b": 1}}),
    "eval is test": ("train/a/1 train/b/1 EVAL/a/1", TWO | {"test": {"a": 1}}),
    "two names of a split": ("train/a/1 train/b/1 val/a/1 valid/a/1", "'val' and 'valid' both name the val split"),
    "flat test": ("train/a/1 train/b/1 test/1 test/2", "test/ has no class folder, only 2 files"),
    "flat splits": ("train/1 train/2 val/1 val/2", "train/ has no class folder, only 2 files"),
    "test alone": ("test/a/1 test/b/1", "found test/ but no train/"),
    "a third folder": ("train/a/1 train/b/1 val/a/1 extra/a/1", "'extra' is beside train/ but is not a split"),
    "empty classes of val": ("train/a/1 train/b/1 val/a/x=", "val/ has class folders but no picture"),
    "trains": ("train/1 plane/1", {"train": {"plane": 1, "train": 1}}),
    "text class": ("a/1 b/1 c/note.txt=words", "class 'c' has no picture to train on .*not a picture: text"),
    "images and labels": ("images/a/1 images/b/1 labels/a/1 labels/b/1", "look like pictures and their annotations"),
    "split in a class": ("a/train/1 a/val/1 b/train/1 b/val/1", "looks like a split inside a/"),
    "two wraps": ("x/y/train/a/1 x/y/train/b/1 x/LICENSE=words", TWO),
    "system files": ("a/1 b/1 __MACOSX/a/._1=x #recycle/a/1 a/.DS_Store=x b/Thumbs.db=x", TWO),
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_a_neighbour_of_a_layout_is_read_rightly_or_refused_in_a_line(name: str, tmp_path: Path) -> None:
    files, right = NEIGHBOURS[name]
    check(lay(tmp_path / "source", files), tmp_path / "work", right)


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize("name", ["dev is val", "flat test", "two wraps", "system files"])
def test_a_neighbour_is_read_from_an_archive_as_from_its_folder(name: str, form: str, tmp_path: Path) -> None:
    files, right = NEIGHBOURS[name]
    packed = shutil.make_archive(str(tmp_path / "packed"), form, lay(tmp_path / "source", files))
    check(Path(packed), tmp_path / "work", right)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("stra\u00dfe", "strasse", "differ only in case"),
        ("\u00c5", "A\u030a", "two Unicode forms"),
        ("I", "i", "differ only in case"),
        ("caf\u00e9", "CAFE\u0301", "differ only in case"),
    ],
)
def test_names_of_classes_that_a_reader_takes_for_one_are_refused(
    one: str, other: str, words: str, tmp_path: Path
) -> None:
    if unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other):
        lay(tmp_path, [f"train/{one}/1", "train/x/1", f"val/{other}/1"])
    else:
        lay(tmp_path, [f"{one}/1", f"{other}/1"])
    check(tmp_path, tmp_path, words)


def test_a_link_in_any_archive_is_refused_with_its_name(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        link = tarfile.TarInfo("a/2.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "1.jpg"
        tar.addfile(link)
    check(tmp_path / "a.tar", tmp_path, "its member 'a/2.jpg' is a link")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        entry = zipfile.ZipInfo("a/2.jpg")
        entry.external_attr = 0o120777 << 16
        packed.writestr(entry, "1.jpg")
    check(tmp_path / "a.zip", tmp_path, "its member 'a/2.jpg' is a link")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:2], "not a picture: its bytes"),
        (lambda data: b"\xef\xbb\xbf" + data, "not a picture: other bytes"),
        (lambda data: data[:-2] + b"\0" * 9, ""),
        (lambda data: data + b"<html>", ""),
        (lambda data: b"\0" * len(data), "empty: every byte is zero"),
        (lambda data: data[: len(data) * 3 // 4], "damaged: "),
    ],
)
def test_a_neighbour_of_a_picture_is_taken_or_named(change: Callable[[bytes], bytes], words: str) -> None:
    noisy = io.BytesIO()
    noise = np.random.default_rng(2012).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(noise).save(noisy, "JPEG")
    if not words:
        assert decode(change(noisy.getvalue()))[0].size == (64, 48)
        return
    with pytest.raises(UnreadablePicture, match=words):
        decode(change(noisy.getvalue()))
