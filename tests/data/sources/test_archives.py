import gzip
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from alexnet.core.errors import InputError
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.sources.archives import PIECE, list_files, read

CONTENT = {"a/1.txt": b"one", "a/b/2.txt": b"twotwo" * 200, "c/3.txt": b""}


def _folder(path: Path) -> Path:
    for name, data in CONTENT.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def _tar(path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in reversed(CONTENT.items()):
            info = tarfile.TarInfo("./" + name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def _zip(path: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in CONTENT.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("form", ["folder", "tar", "tar.gz", "zip", "stored zip"])
def test_every_form_lists_and_reads_the_same(form: str, tmp_path: Path) -> None:
    make = {
        "folder": lambda: _folder(tmp_path / "x"),
        "tar": lambda: _tar(tmp_path / "x"),
        "tar.gz": lambda: _tar(tmp_path / "x", "w:gz"),
        "zip": lambda: _zip(tmp_path / "x"),
        "stored zip": lambda: _zip(tmp_path / "x", zipfile.ZIP_STORED),
    }
    files = list_files(make[form](), tmp_path)
    assert list(files.places) == sorted(CONTENT)
    assert {name: read(place) for name, place in files.places.items()} == CONTENT
    assert files.folders == {"a", "a/b", "c"}


def test_hidden_files_are_not_listed(tmp_path: Path) -> None:
    _folder(tmp_path / "x")
    (tmp_path / "x/.hidden").mkdir()
    (tmp_path / "x/.hidden/f").touch()
    (tmp_path / "x/a/._1.txt").touch()
    assert list(list_files(tmp_path / "x", tmp_path).places) == sorted(CONTENT)


def test_link_in_a_circle_is_refused_by_name(tmp_path: Path) -> None:
    _folder(tmp_path / "x")
    (tmp_path / "x/a/round").symlink_to(tmp_path / "x")
    with pytest.raises(InputError, match="round"):
        list_files(tmp_path / "x", tmp_path)


def test_link_to_nowhere_is_listed_and_unreadable(tmp_path: Path) -> None:
    _folder(tmp_path / "x")
    (tmp_path / "x/a/gone").symlink_to("nowhere")
    (tmp_path / "x/a/self").symlink_to("self")
    files = list_files(tmp_path / "x", tmp_path)
    for name in ("a/gone", "a/self"):
        with pytest.raises(UnreadablePicture, match="cannot be opened"):
            read(files.places[name])


def test_pipe_in_a_folder_does_not_hang(tmp_path: Path) -> None:
    _folder(tmp_path / "x")
    os.mkfifo(tmp_path / "x/a/pipe")
    assert list(list_files(tmp_path / "x", tmp_path).places) == sorted(CONTENT)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("/etc/passwd", tarfile.REGTYPE),
        ("a/../../out", tarfile.REGTYPE),
        ("a/link", tarfile.SYMTYPE),
        ("a/hard", tarfile.LNKTYPE),
        ("a/device", tarfile.CHRTYPE),
        ("a/pipe", tarfile.FIFOTYPE),
    ],
)
def test_tar_with_a_hostile_member_is_refused_by_its_name(name: str, kind: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        list_files(tmp_path / "x.tar", tmp_path)


@pytest.mark.parametrize("name", ["/etc/passwd", "a/../../out"])
def test_zip_with_a_hostile_name_is_refused_by_it(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        list_files(tmp_path / "x.zip", tmp_path)


def test_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("a/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, b"/etc/passwd")
    with pytest.raises(InputError, match="a/link"):
        list_files(tmp_path / "x.zip", tmp_path)


def test_member_that_claims_more_bytes_than_there_are_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a/huge")
    info.size = 1 << 40
    (tmp_path / "x.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"x" * 512)
    with pytest.raises(InputError, match=r"x\.tar"):
        list_files(tmp_path / "x.tar", tmp_path)


def test_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("a/f"))
    with pytest.raises(InputError, match="twice"):
        list_files(tmp_path / "x.tar", tmp_path)


def test_archive_cut_short_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    whole = {form: make(tmp_path / form).read_bytes() for form, make in (("tar", _tar), ("zip", _zip))}
    whole["gz"] = gzip.compress(whole["tar"])
    for form, data in whole.items():
        end = 5 * 512 if form == "tar" else len(data)  # the trailing zeros of a tar mean nothing
        for length in range(1, end, 61):
            cut = tmp_path / f"{form}-{length}"
            cut.write_bytes(data[:length])
            try:
                listed = list_files(cut, tmp_path)
            except InputError:
                continue
            assert form == "tar"
            assert length % 512 == 0, f"{form} cut at {length} was taken with {list(listed.places)}"


def test_damaged_header_inside_a_tar_is_not_taken_for_its_end(tmp_path: Path) -> None:
    data = bytearray(_tar(tmp_path / "x.tar").read_bytes())
    data[512 + 20] ^= 1  # the second member's header
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(InputError, match="damaged at byte 512"):
        list_files(tmp_path / "x.tar", tmp_path)


def test_altered_zip_member_is_unreadable(tmp_path: Path) -> None:
    data = bytearray(_zip(tmp_path / "x.zip", zipfile.ZIP_STORED).read_bytes())
    data[data.index(b"twotwo")] ^= 1
    (tmp_path / "x.zip").write_bytes(data)
    files = list_files(tmp_path / "x.zip", tmp_path)
    with pytest.raises(UnreadablePicture, match="CRC"):
        read(files.places["a/b/2.txt"])


@pytest.mark.parametrize("more", [0, 1, 20, 257, 258, 400])
def test_member_of_a_zip_that_ends_just_after_a_piece_is_read_whole(more: int, tmp_path: Path) -> None:
    data = bytes(PIECE + more)  # the last compressed bits stand for hundreds of bytes
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.ppm", data)
    assert read(list_files(tmp_path / "x.zip", tmp_path).places["a/1.ppm"]) == data


def test_other_file_is_refused_with_what_would_do(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"neither")
    with pytest.raises(InputError, match=r"not a folder, a \.tar"):
        list_files(tmp_path / "x", tmp_path)


def test_compressed_tar_is_decompressed_once(tmp_path: Path) -> None:
    path = _tar(tmp_path / "x.tgz", "w:gz")
    work = tmp_path / "work"
    work.mkdir()
    list_files(path, work)
    before = [(entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(work)]
    list_files(path, work)
    assert [(entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(work)] == before
    assert len(before) == 1
