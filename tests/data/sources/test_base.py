import shutil
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.core.errors import InputError
from alexnet.data.prepare.plan import held_out
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.archives import Slice
from alexnet.data.sources.base import Picture
from alexnet.data.sources.recognise import read_source
from alexnet.data.store import Store

Tree = Callable[..., Path]


def _names(source: str | Path, work: Path) -> dict[str, list[tuple[str, str]]]:
    found = read_source(source, work)
    return {
        split: sorted((picture.name, found.classes[picture.label].name) for picture in pictures)
        for split, pictures in found.splits.items()
    }


def test_classes_are_the_folders_in_sorted_order(tree: Tree, tmp_path: Path) -> None:
    found = read_source(tree(classes="dog Zebra ant"), tmp_path)
    assert [record.name for record in found.classes] == ["Zebra", "ant", "dog"]


def test_nested_folders_count_to_their_class(tree: Tree, tmp_path: Path) -> None:
    source = tree(each=2)
    (source / "cat/more/deep").mkdir(parents=True)
    shutil.copy(source / "cat/0.jpg", source / "cat/more/deep/9.jpg")
    assert ("cat/more/deep/9.jpg", "cat") in _names(source, tmp_path)["train"]


def test_train_val_and_test_folders_are_the_splits(tree: Tree, tmp_path: Path) -> None:
    for split, each in (("train", 4), ("val", 2), ("test", 1)):
        source = tree(inside=split, each=each)
    assert {split: len(names) for split, names in _names(source, tmp_path).items()} == {"train": 8, "val": 4, "test": 2}


@pytest.mark.parametrize("form", ["w", "w:gz"])
@pytest.mark.parametrize("top", [".", "wrapped/twice"])
def test_archive_is_read_like_its_folder(form: str, top: str, tree: Tree, tmp_path: Path) -> None:
    tree(inside="val", each=1)
    source = tree(inside="train", each=3)
    with tarfile.open(tmp_path / "archive", form) as tar:  # type: ignore[call-overload]
        tar.add(source, top)
    (tmp_path / "work").mkdir()
    assert _names(tmp_path / "archive", tmp_path / "work") == _names(source, tmp_path)


def test_zip_is_read_like_its_folder(tree: Tree, tmp_path: Path) -> None:
    source = tree(each=3)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, source.name)
    assert _names(archive, tmp_path) == _names(source, tmp_path)


def test_class_called_train_is_a_class(tree: Tree, tmp_path: Path) -> None:
    found = read_source(tree(classes="bus train"), tmp_path)
    assert [record.name for record in found.classes] == ["bus", "train"]


def test_files_outside_class_folders_are_counted_and_left(tree: Tree, tmp_path: Path) -> None:
    source = tree()
    (source / "README.md").write_text("hello")
    assert read_source(source, tmp_path).ignored == 1


@pytest.mark.parametrize("source", ["builtin:0", "builtin:19", "builtin:x", "builtin:-5", "builtin:1.5"])
def test_wrong_builtin_number_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="builtin:"):
        read_source(source, tmp_path)


@pytest.mark.parametrize("count", [20, 100, 1000])
def test_builtin_classes_are_balanced_and_a_fifth_is_val(count: int, tmp_path: Path) -> None:
    found = read_source(f"builtin:{count}", tmp_path)
    assert {split: len(pictures) for split, pictures in found.splits.items()} == {
        "train": count - count // 5,
        "val": count // 5,
    }
    counts = Counter(picture.label for picture in found.splits["train"])
    assert set(counts) == set(range(10))
    assert max(counts.values()) - min(counts.values()) <= 1


def test_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_source(tmp_path / "nothing", tmp_path)


def test_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no pictures"):
        read_source(tmp_path, tmp_path)


def test_one_class_is_refused(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one class folder, 'cat'"):
        read_source(tree(classes="cat"), tmp_path)


def test_empty_class_folder_is_refused_by_name(tree: Tree, tmp_path: Path) -> None:
    source = tree()
    (source / "emu").mkdir()
    with pytest.raises(InputError, match="'emu' has no picture"):
        read_source(source, tmp_path)


def test_val_class_that_train_lacks_is_refused_by_name(tree: Tree, tmp_path: Path) -> None:
    tree(inside="train")
    with pytest.raises(InputError, match="'emu', which train/ lacks"):
        read_source(tree(inside="val", classes="cat emu"), tmp_path)


def _made_up(counts: dict[int, int]) -> list[Picture]:
    return [Picture(f"{k}/{n}", k, Slice("", 0, 0)) for k, count in counts.items() for n in range(count)]


def test_held_out_pictures_do_not_depend_on_file_order() -> None:
    pictures = _made_up({0: 30, 1: 12})
    first, again = held_out(pictures, 0.25, 3), held_out(pictures[::-1], 0.25, 3)
    assert {split: {p.name for p in part} for split, part in first.items()} == {
        split: {p.name for p in part} for split, part in again.items()
    }


def test_held_out_pictures_depend_on_the_seed() -> None:
    pictures = _made_up({0: 30})
    assert {p.name for p in held_out(pictures, 0.25, 0)["val"]} != {p.name for p in held_out(pictures, 0.25, 1)["val"]}


def test_held_out_takes_its_fraction_of_every_class_and_never_all() -> None:
    counts = Counter(picture.label for picture in held_out(_made_up({0: 40, 1: 10, 2: 2, 3: 1}), 0.1, 0)["val"])
    assert counts == {0: 4, 1: 1, 2: 1}


def _tiny(folder: Path) -> Path:
    shades = {"n00000002": 60, "n00000001": 180}
    for wnid, shade in shades.items():
        (folder / "train" / wnid / "images").mkdir(parents=True)
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("")
        for n in range(3):
            Image.new("RGB", (64, 64), (shade,) * 3).save(folder / f"train/{wnid}/images/{wnid}_{n}.JPEG", "JPEG")
    (folder / "val/images").mkdir(parents=True)
    (folder / "test/images").mkdir(parents=True)
    lines = []
    for n, wnid in enumerate(["n00000001", "n00000002", "n00000002", "n00000001"]):
        Image.new("RGB", (64, 64), (shades[wnid],) * 3).save(folder / f"val/images/val_{n}.JPEG", "JPEG")
        lines.append(f"val_{n}.JPEG\t{wnid}\t0\t0\t10\t10\n")
    Image.new("RGB", (64, 64)).save(folder / "test/images/test_0.JPEG", "JPEG")
    (folder / "val/val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("n00000002\nn00000001\n")
    (folder / "words.txt").write_text("n00000001\ttench\nn00000002\tcrane, bird\nn00000003\tunused\n")
    return folder


def test_tiny_imagenet_is_read_as_distributed(tmp_path: Path) -> None:
    summary = prepare(_tiny(tmp_path / "source"), tmp_path / "store", jobs=1)
    store = Store(tmp_path / "store")
    assert (summary.kind, summary.side, summary.pictures) == ("tiny-imagenet", 64, {"train": 6, "val": 4})
    assert summary.ignored == 6  # the test picture, two lists of boxes, the three lists
    assert [(c.wnid, c.words) for c in store.classes] == [("n00000001", "tench"), ("n00000002", "crane, bird")]
    for split in store.splits.values():
        shades = split.read(np.arange(len(split))).mean((1, 2, 3))
        np.testing.assert_allclose(shades, np.array([180, 60])[split.labels], atol=2)


def test_tiny_imagenet_annotation_without_its_picture_is_refused(tmp_path: Path) -> None:
    source = _tiny(tmp_path / "source")
    (source / "val/images/val_2.JPEG").unlink()
    with pytest.raises(InputError, match=r"val_2\.JPEG"):
        read_source(source, tmp_path)


def test_lists_with_the_line_ends_of_windows_are_read_like_others(tmp_path: Path) -> None:
    plain, source = _tiny(tmp_path / "plain"), _tiny(tmp_path / "source")
    for name in ("wnids.txt", "words.txt", "val/val_annotations.txt"):
        (source / name).write_bytes((plain / name).read_bytes().replace(b"\n", b"\r\n"))
    assert _names(source, tmp_path) == _names(plain, tmp_path)
    assert read_source(source, tmp_path).classes == read_source(plain, tmp_path).classes
