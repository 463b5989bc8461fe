"""Which files prediction looks at: those that preparing would."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.core.errors import InputError
from alexnet.data.sources.recognise import read_source
from alexnet.inference.predict import decode_files, list_pictures


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes of pictures, as they lie about: every suffix and none, links, clutter, other formats."""
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
    (folder / "dog/new.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (folder / "dog/empty.jpg").write_bytes(b"")
    for clutter in ("dog/.hidden.jpg", "dog/Thumbs.db", "dog/@eaDir/a.JPG", "__MACOSX/dog/._a.JPG"):
        (folder / clutter).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(real / "cat/a.JPG", folder / clutter)
    return folder


def test_a_folder_stands_for_the_files_that_preparing_would_look_at(photographs: Path) -> None:
    splits = read_source(photographs, photographs).splits
    prepared = sorted(photographs / picture.name for split in splits.values() for picture in split)
    assert sorted(list_pictures(photographs)) == prepared
    assert len(prepared) == 6 + 6 + 4
    assert list_pictures([photographs / "dog", photographs / "cat/a.JPG"])[-1] == photographs / "cat/a.JPG"


def test_what_is_in_a_folder_and_cannot_be_read_is_named_with_the_reason(photographs: Path) -> None:
    said = {path.name: picture for path, picture in decode_files(list_pictures(photographs / "dog"), 32)}
    refused = {name: words for name, words in said.items() if isinstance(words, str)}
    assert refused == {
        "gone.jpg": "No such file or directory",
        "new.heic": "format not taken: HEIC; convert it to JPEG or PNG",
        "empty.jpg": "empty: the file has no bytes",
    }


@pytest.mark.parametrize("inside", [None, "notes.txt", ".hidden.jpg", "Thumbs.db", "a.heic"])
def test_a_folder_without_a_picture_is_refused(inside: str | None, tmp_path: Path) -> None:
    if inside:
        (tmp_path / inside).write_bytes(b"\0\0\0\x18ftypheic" if inside == "a.heic" else b"words")
    with pytest.raises(InputError, match="holds no picture"):
        list_pictures(tmp_path)
