"""Pictures as `predict` takes them: folders list the files that `prepare` reads; arrays and images match files."""

import io
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet.core.errors import InputError
from alexnet.data.sources.recognise import read_source
from alexnet.inference.pictures import list_pictures, read_picture


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two class folders as people keep them: all suffixes and none, links, hidden files, other formats."""
    folder, real = tmp_path / "photographs", tmp_path / "real"
    for kind in ("cat", "dog"):
        (real / kind).mkdir(parents=True)
        for n, name in enumerate(["a.JPG", "b.jpe", "c", "d.pgm", "e.png", "f.jfif"]):
            colours = np.random.default_rng(n).integers(0, 256, (40, 40, 3), np.uint8)
            form = {"d.pgm": "PPM", "e.png": "PNG"}.get(name, "JPEG")
            Image.fromarray(colours).save(real / kind / name, form)
    shutil.copytree(real / "dog", folder / "dog")
    (folder / "cat").symlink_to(real / "cat")
    (folder / "dog/link.jpg").symlink_to(real / "cat/a.JPG")
    (folder / "dog/gone.jpg").symlink_to(real / "nowhere.jpg")
    (folder / "dog/new.jxl").write_bytes(b"\xff\x0a" + bytes(40))
    (folder / "dog/empty.jpg").write_bytes(b"")
    for clutter in ("dog/.hidden.jpg", "dog/Thumbs.db", "dog/@eaDir/a.JPG", "__MACOSX/dog/._a.JPG"):
        (folder / clutter).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(real / "cat/a.JPG", folder / clutter)
    return folder


def test_a_folder_stands_for_the_files_that_preparing_would_look_at(photographs: Path) -> None:
    splits = read_source(photographs, photographs).splits
    prepared = sorted(photographs / picture.name for split in splits.values() for picture in split)
    assert sorted(given.source for given in list_pictures(photographs)) == prepared  # type: ignore[type-var]
    assert len(prepared) == 6 + 6 + 4
    last = list_pictures([photographs / "dog", str(photographs / "cat/a.JPG")])[-1]
    assert last == (str(photographs / "cat/a.JPG"), photographs / "cat/a.JPG")


def test_what_is_in_a_folder_and_cannot_be_read_is_named_with_the_reason(photographs: Path) -> None:
    said = {Path(name).name: read_picture(source, 32) for name, source in list_pictures(photographs / "dog")}
    refused = {name: words for name, words in said.items() if isinstance(words, str)}
    assert refused == {
        "gone.jpg": "No such file or directory",
        "new.jxl": "format not taken: JPEG XL; convert it to JPEG or PNG",
        "empty.jpg": "empty: the file has no bytes",
    }


@pytest.mark.parametrize("inside", [None, "notes.txt", ".hidden.jpg", "Thumbs.db", "a.jxl"])
def test_a_folder_without_a_picture_is_refused(inside: str | None, tmp_path: Path) -> None:
    if inside:
        (tmp_path / inside).write_bytes(b"\xff\x0a" + bytes(40) if inside == "a.jxl" else b"words")
    with pytest.raises(InputError, match="holds no pictures"):
        list_pictures(tmp_path)


def pixels(shape: tuple[int, ...] = (50, 40, 3), top: int = 256, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(7).integers(0, top, shape, dtype)


def saved(image: Image.Image, form: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def palette() -> Image.Image:
    image = Image.fromarray(pixels()).quantize(16)
    image.info["transparency"] = 3
    return image


FILES: dict[str, bytes] = {
    "PNG": saved(Image.fromarray(pixels()), "PNG"),
    "JPEG": saved(Image.fromarray(pixels()), "JPEG"),
    "JPEG on its side": saved(Image.fromarray(pixels()), "JPEG", exif=turned(6)),
    "PNG upside down": saved(Image.fromarray(pixels()), "PNG", exif=turned(3)),
    "TIFF mirrored": saved(Image.fromarray(pixels()), "TIFF", exif=turned(5)),
    "grey": saved(Image.fromarray(pixels((50, 40))), "PNG"),
    "16-bit grey": saved(Image.fromarray(pixels((50, 40), 1 << 16, np.uint16)), "PNG"),
    "palette with a transparent colour": saved(palette(), "PNG", transparency=3),
    "RGBA": saved(Image.fromarray(pixels((50, 40, 4))), "PNG"),
    "grey and alpha": saved(Image.fromarray(pixels((50, 40, 2)), "LA"), "PNG"),
    "CMYK": saved(Image.fromarray(pixels((50, 40, 4)), "CMYK"), "JPEG"),
    "bilevel": saved(Image.fromarray(pixels((50, 40))).convert("1"), "PNG"),
    "WebP": saved(Image.fromarray(pixels()), "WEBP", exif=turned(8)),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("loaded", [True, False])
def test_a_picture_that_pillow_has_opened_is_read_as_its_file(kind: str, loaded: bool, tmp_path: Path) -> None:
    """Images become upright RGB over white, and the original is unchanged."""
    (tmp_path / "file").write_bytes(FILES[kind])
    opened, before = (Image.open(io.BytesIO(FILES[kind])) for _ in range(2))
    if loaded:
        opened.load()
    before.load()  # loading rotates a TIFF
    expected = read_picture(tmp_path / "file", 32)
    assert isinstance(expected, np.ndarray)
    for _ in range(2):
        for source in (FILES[kind], opened, opened.copy()):
            np.testing.assert_array_equal(read_picture(source, 32), expected)
    assert (opened.size, opened.mode, opened.info) == (before.size, before.mode, before.info)
    assert opened.tobytes() == before.tobytes()


@pytest.mark.parametrize("kind", ["array", "backwards", "frozen", "tensor"])
def test_an_array_is_read_as_its_file(kind: str) -> None:
    array = np.asarray(Image.open(io.BytesIO(FILES["PNG"])))
    given: dict[str, Any] = {
        "array": array.copy(),
        "backwards": np.ascontiguousarray(array[..., ::-1])[..., ::-1],
        "frozen": array,
        "tensor": torch.from_numpy(array.copy()),
    }
    ((name, source),) = list_pictures(given[kind])
    assert name == "picture 0"
    np.testing.assert_array_equal(read_picture(source, 32), read_picture(FILES["PNG"], 32))


def test_pictures_of_any_kind_are_listed_in_the_order_given(photographs: Path) -> None:
    image, array = Image.fromarray(pixels()), pixels()
    cat = photographs / "cat/a.JPG"
    many: list[Any] = [str(cat), image, FILES["PNG"], array, torch.from_numpy(array), bytearray(FILES["PNG"])]
    names = [str(cat), "picture 1", "picture 2", "picture 3", "picture 4", "picture 5"]
    ways: list[Any] = [many, tuple(many), iter(many), (each for each in many)]
    for given in ways:
        assert [name for name, _ in list_pictures(given)] == names
    for batch in (np.stack([array] * 3), torch.from_numpy(np.stack([array] * 3))):
        assert [name for name, _ in list_pictures(batch)] == ["picture 0", "picture 1", "picture 2"]
    assert list_pictures([]) == []


OTHERS: dict[str, Any] = {
    "picture 0 .*, not float32 ndarray \\(5, 4, 3\\)": np.zeros((5, 4, 3), np.float32),
    "picture 0 .*, not uint8 Tensor \\(3, 5, 4\\)": torch.zeros(3, 5, 4, dtype=torch.uint8),
    "picture 0 .*, not uint8 ndarray \\(5, 4\\)": np.zeros((5, 4), np.uint8),
    "picture 0 .*, not uint8 ndarray \\(5, 4, 4\\)": np.zeros((5, 4, 4), np.uint8),
    "picture 0 .*, not float32 Tensor \\(3, 224, 224\\)": torch.zeros(2, 3, 224, 224),
    "picture 0 .*, not int": 5,
    "picture 0 .*, not None": None,
    "picture 1 .*, not None": [FILES["PNG"], None],
    "picture 0 .*, not list": [[FILES["PNG"]]],
    "picture 0 .*, not BytesIO": io.BytesIO(FILES["PNG"]),
    "picture 0 .*, not dict": {"image": FILES["PNG"]},
    "picture  does not exist": "",
    "picture no/such.png does not exist": ["no/such.png"],
}


@pytest.mark.parametrize("words", OTHERS)
def test_what_is_no_picture_is_refused_with_what_would_do(words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        list_pictures(OTHERS[words])
    assert "does not exist" in words or "a path, a PIL image, a file's bytes, or a uint8 array" in str(caught.value)


def closed() -> Image.Image:
    image = Image.open(io.BytesIO(FILES["PNG"]))
    image.close()
    return image


UNREADABLE: dict[str, Any] = {
    "empty: it has no pixels": np.zeros((0, 4, 3), np.uint8),
    "empty: the file has no bytes": b"",
    "not a picture: text": b"no picture",
    "damaged: ": Image.open(io.BytesIO(FILES["PNG"][:500])),
    "damaged: Operation on closed image": closed(),
    "colour mode not taken: F": Image.new("F", (4, 4)),
}


@pytest.mark.parametrize("words", UNREADABLE)
def test_a_picture_that_cannot_be_read_has_a_reason(words: str) -> None:
    ((_, source),) = list_pictures(UNREADABLE[words])
    assert str(read_picture(source, 32)).startswith(words)


def test_a_url_is_refused_with_a_command_that_does_it() -> None:
    with pytest.raises(InputError, match=r"a URL, .* curl -L https://example.org/a.jpg \| alexnet predict RUN -"):
        list_pictures("https://example.org/a.jpg")


class Stdin(io.TextIOWrapper):
    def __init__(self, data: bytes, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(data))
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_dash_reads_a_file_from_standard_input(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(FILES["PNG"]))
    ((shown, source),) = list_pictures(name)
    assert shown == "-"
    np.testing.assert_array_equal(read_picture(source, 32), read_picture(FILES["PNG"], 32))
    monkeypatch.setattr(sys, "stdin", Stdin(b""))
    ((_, source),) = list_pictures(name)
    assert str(read_picture(source, 32)).startswith("empty")
    monkeypatch.setattr(sys, "stdin", Stdin(b"", terminal=True))
    with pytest.raises(InputError, match="is a terminal; pipe a picture"):
        list_pictures(name)
