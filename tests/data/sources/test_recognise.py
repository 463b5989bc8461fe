"""Recognition of sources, and how to add one."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alexnet.core.errors import InputError
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources import class_folders, recognise
from alexnet.data.sources.recognise import SOURCES, read_source
from alexnet.data.store import Store

Tree = Callable[..., Path]
# A made-up kind of source: raw gray pictures in one file, and their labels in another.
GREY = '''
"""Gray pictures of 16 x 16: pixels.bin, and labels.txt with one class per line."""

from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.data.sources import archives
from alexnet.data.sources.archives import FilePart, Listing, Slice
from alexnet.data.sources.base import Picture, Source
from alexnet.data.store import Class

SIDE = 16


def recognises(files: Listing) -> bool:
    return {"pixels.bin", "labels.txt"} <= files.places.keys()


def read(files: Listing, work: Path) -> Source:
    names = archives.read(files.places["labels.txt"]).decode().split()
    classes = sorted(set(names))
    pixels = files.places["pixels.bin"]
    pictures = [
        Picture(f"{n}", classes.index(name), Slice(pixels.path, pixels.offset + n * SIDE**2, SIDE**2))
        for n, name in enumerate(names)
    ]
    return Source("grey", tuple(map(Class, classes)), {"train": pictures}, open_grey, side=SIDE)


def open_grey(place: FilePart) -> tuple[Image.Image, list[str]]:
    grey = np.frombuffer(archives.read(place), np.uint8).reshape(SIDE, SIDE)
    return Image.fromarray(grey).convert("RGB"), []
'''


def test_a_kind_of_source_is_one_file_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grey.py").write_text(GREY)
    spec = importlib.util.spec_from_file_location("grey", tmp_path / "grey.py")
    assert spec
    assert spec.loader
    grey = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(grey)
    source = tmp_path / "source/wrapped"
    source.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 16), np.uint8)
    (source / "pixels.bin").write_bytes(pixels.tobytes())
    (source / "labels.txt").write_text("ant\nbee\n" * 10)
    (tmp_path / "source/README").write_text("beside the folder")

    with pytest.raises(InputError, match="no class folder"):
        read_source(source, tmp_path)
    monkeypatch.setattr(recognise, "SOURCES", (grey, *SOURCES))
    made = prepare(tmp_path / "source", tmp_path / "store", jobs=1)

    assert (made.kind, made.side, made.pictures, made.ignored) == ("grey", 16, {"train": 18, "val": 2}, 1)
    store = Store(tmp_path / "store")
    assert [known.name for known in store.classes] == ["ant", "bee"]
    for split in store.splits.values():
        expected = pixels[[int(name) for name in split.names]]
        np.testing.assert_array_equal(split.read(np.arange(len(split))), expected[..., None].repeat(3, 3))


def test_each_kind_of_source_has_the_two_functions_and_folders_come_last() -> None:
    assert all(callable(module.recognises) and callable(module.read) for module in SOURCES)
    assert SOURCES[-1] is class_folders


def test_a_folder_called_builtin_is_read_when_given_as_a_path(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree("builtin")
    monkeypatch.chdir(tmp_path)
    assert read_source(Path("builtin"), tmp_path / "work").kind == "folders"
    assert read_source("builtin", tmp_path / "work").kind == "builtin"


def test_names_to_ignore_are_refused_for_pictures_that_are_drawn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--ignore \*\.xml: builtin:20 is drawn and has no files"):
        read_source("builtin:20", tmp_path, ["*.xml"])


def test_a_store_is_no_source_and_the_line_says_what_it_is_for(store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{store} is a store already; train on it: alexnet train {store} RUN"):
        read_source(store, tmp_path)
