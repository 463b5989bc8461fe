"""Hostile archives: each is refused with its member named, nothing is written outside, memory and time are bounded."""

import gzip
import io
import json
import os
import random
import re
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from alexnet.core.errors import InputError
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.archives import list_files, read
from alexnet.data.sources.recognise import read_source

Count = Callable[..., None]
GIB = 1 << 30

MEASURED = """
import json, sys, time
from pathlib import Path
from alexnet.data.sources.archives import list_files
from alexnet.core.errors import InputError
def kib(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0])
before, started = kib("VmRSS"), time.process_time()
try:
    said, members = "", len(list_files(Path(sys.argv[1]), Path(sys.argv[2])).places)
except InputError as error:
    said, members = str(error), 0
print(json.dumps([said, members, (kib("VmHWM") - before) * 1024, time.process_time() - started]))
"""


def measured(archive: Path) -> tuple[str, int, int, float]:
    """What a process of its own says of an archive: refusal, members, bytes of memory more, seconds of CPU."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc to measure memory by")
    argv = [sys.executable, "-c", MEASURED, str(archive), str(archive.parent)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=3600)
    said, members, memory, seconds = json.loads(done.stdout)
    return said, members, memory, seconds


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    """One block of a tar, with any size that fits, negative ones too."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "target" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT)[:512])
    block[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(text: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    return header("pax", len(text), kind) + padded(text)


def record(key: str, value: str) -> bytes:
    text = f" {key}={value}\n"
    return (str(len(text) + len(str(len(text) + 4))) + text).encode()


def zip_of(*members: tuple[str, bytes], kind: int = 0) -> bytearray:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = kind << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return bytearray(out.getvalue())


def entries(data: bytes | bytearray) -> list[int]:
    """Where the entries of a zip's list of members begin."""
    return [found.start() for found in re.finditer(rb"PK\x01\x02", data)]


def quoted_zip(copies: int) -> bytes:
    """One member's bytes listed under many names."""
    data = zip_of(("a/000", bytes(1 << 20)))
    at = entries(data)[0]
    end = data.rindex(b"PK\x05\x06")
    one = data[at:end]
    many = b"".join(one.replace(b"a/000", b"a/%03d" % n) for n in range(copies))
    return bytes(data[:at]) + many + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, copies, copies, len(many), at, 0)


def overlapping_zip() -> bytes:
    """The second member begins within the first's bytes, as Fifield's bomb has it."""
    inner = zip_of(("a/inner", b"x" * 50))
    inner = inner[: entries(inner)[0]]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a/outer", bytes(inner))
    data = bytearray(out.getvalue())
    at, end = entries(data)[0], data.rindex(b"PK\5\6")
    other = bytearray(zip_of(("a/inner", b"x" * 50)))
    entry = bytearray(other[entries(other)[0] : other.rindex(b"PK\5\6")])
    entry[42:46] = (30 + len("a/outer")).to_bytes(4, "little")
    directory = bytes(data[at:end] + entry)
    return bytes(data[:at]) + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, len(directory), at, 0)


def several_zip() -> bytes:
    """A zip whose last record says that there are two files of it."""
    data, locator = zip_of(("a/1.txt", b"one")), struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 2)
    return bytes(data[:-22] + locator + data[-22:])


def claiming_zip(field: int, width: int, value: int) -> bytes:
    """A zip whose list of members says something else of its only one."""
    data = zip_of(("a/victim", b"x" * 100))
    at = entries(data)[0] + field
    data[at : at + width] = value.to_bytes(width, "little")
    return bytes(data)


KINDS = {
    "symbolic link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "pipe": tarfile.FIFOTYPE,
    "character device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "sparse file": tarfile.GNUTYPE_SPARSE,
}
OUTSIDE = ["../victim", "a/../../victim", "/victim", "//victim", "./../victim"]
LONG = {"40 folders": "victim/" * 40 + "x", "4800 characters": "victim" * 800}
END = bytes(1024)


def hostile() -> dict[str, tuple[bytes, str]]:
    """What each archive holds, and a part of what is to be said of it."""
    made = {f"tar: a {name}": (header("a/victim", 0, kind) + END, "'a/victim'") for name, kind in KINDS.items()}
    for name in OUTSIDE:
        made[f"tar: {name}"] = pax(record("path", name)) + header("x") + END, f"{name!r} points outside"
        made[f"zip: {name}"] = bytes(zip_of((name, b"x"))), f"{name!r} points outside"
    for words, name in LONG.items():
        made[f"tar: {words}"] = pax(record("path", name)) + header("x") + END, words
        made[f"zip: {words}"] = bytes(zip_of((name, b"x"))), words
    beyond, packed = "'a/victim' lies beyond the end", "'a/victim' is encrypted or packed"
    made |= {
        "zip: a link": (bytes(zip_of(("a/victim", b"/etc"), kind=stat.S_IFLNK)), "'a/victim' is a link"),
        "zip: a device": (bytes(zip_of(("a/victim", b""), kind=stat.S_IFBLK)), "'a/victim' is a link or a device"),
        "zip: no name": (bytes(zip_of(("", b"x"))), "member '' has no name"),
        "zip: one member under 900 names": (quoted_zip(900), "'a/001' shares bytes with 'a/000'"),
        "zip: a member within another": (overlapping_zip(), "'a/inner' shares bytes with 'a/outer'"),
        "zip: a member beyond its end": (claiming_zip(42, 4, 0xFFFFFF00), beyond),
        "zip: a member of 4 GB packed": (claiming_zip(20, 4, 0xFFFFFF00), beyond),
        "zip: encrypted": (claiming_zip(8, 2, 1), packed),
        "zip: an unknown method": (claiming_zip(10, 2, 99), packed),
        "tar: a member of 10 GB": (header("a/victim", 10 * GIB) + END, "cut short in its member 'a/victim'"),
        "tar: a negative size": (header("a/victim", -512) + END, "'a/victim'"),
        "tar: a negative long name": (header("x", -512, tarfile.GNUTYPE_LONGNAME) + END, "not a whole tar"),
        "tar: one name twice": (header("a/victim") * 2 + END, "'a/victim' is in the archive twice"),
        "tar: one name, dotted": (header("a/victim") + header("./a//./victim") + END, "'a/victim' is in the archive"),
        "tar: digits to search for minutes": (pax(b"1" * 60_000) + header("x"), "200 digits"),
    }
    long_name = header("x", 1, tarfile.GNUTYPE_LONGNAME) + padded(b"y")
    made["tar: 5,000 headers for one member"] = long_name * 5000, "header has more than"
    globals_ = [pax(record(f"k{n}", "v" * 90), tarfile.XGLTYPE) + header(f"a/{n}") for n in range(1000)]
    made["tar: 1,000 global headers"] = b"".join(globals_), "global headers"
    sparse = pax(record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0")) + header("x", 99_328)
    made["tar: a sparse map without end"] = sparse + b"9999999\n" + b"1\n" * 50_000, "not a whole tar"
    return made


def test_every_hostile_archive_is_refused_with_its_member_named(tmp_path: Path, count: Count) -> None:
    faults = hostile()
    for number, (fault, (data, words)) in enumerate(faults.items()):
        inside = tmp_path / str(number)
        inside.mkdir()
        (inside / "x").write_bytes(data)
        with pytest.raises(InputError) as refused:
            list_files(inside / "x", inside)
        said = str(refused.value)
        assert words in said, (fault, said)
        assert len(said.splitlines()) == 1
        assert sorted(os.listdir(inside)) == ["x"], fault
    assert sorted(os.listdir(tmp_path)) == sorted(map(str, range(len(faults))))
    count("archive: hostile members, each kind once", injected=len(faults), survived=len(faults))


def test_a_zip_that_says_it_goes_on_in_another_file_is_refused(tmp_path: Path, count: Count) -> None:
    """Found by the fuzzer: Python's zipfile raises where it is only asked whether this is a zip."""
    (tmp_path / "x").write_bytes(several_zip())
    with pytest.raises(InputError, match=r"not a whole zip \(zipfiles that span multiple disks are not supported\)"):
        list_files(tmp_path / "x", tmp_path)
    count("archive: a zip of several files", injected=1, survived=1)


def test_headers_that_claim_gigabytes_take_no_memory(tmp_path: Path, count: Count) -> None:
    """In files with holes, so that what is claimed is there: a long name, a PAX header, a zip's list of members."""
    made = {
        "long name": header("x", 8 * GIB, tarfile.GNUTYPE_LONGNAME),
        "PAX header": header("x", 8 * GIB, tarfile.XHDTYPE),
        "global header": header("x", 8 * GIB, tarfile.XGLTYPE),
    }
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 8 * GIB, 0)
    end += struct.pack("<4sLQL", b"PK\6\7", 0, 8 * GIB, 1)
    end += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    most = 0
    for name, start in made.items():
        with (tmp_path / name).open("wb") as file:
            file.write(start)
            file.truncate(9 * GIB)
        said, _, memory, _ = measured(tmp_path / name)
        assert "header has more than" in said, said
        most = max(most, memory)
    with (tmp_path / "list").open("wb") as file:
        file.seek(8 * GIB)
        file.write(end)
    said, _, memory, _ = measured(tmp_path / "list")
    assert "its list of members claims" in said, said
    most = max(most, memory)
    assert most < 50e6
    count("archive: 8 GiB claimed by a header", injected=4, survived=4, figure=f"{most / 1e6:.0f} MB more at most")


def test_a_member_that_unpacks_to_gigabytes_is_refused_by_name_and_the_others_prepared(
    tmp_path: Path, count: Count
) -> None:
    """10 GB of zeros honestly listed, 300 MB that claim to be 100 bytes, and a zip in a zip."""
    zeros, packer = 10 * 10**9, zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(1 << 20)
    packed = b"".join(packer.compress(block) for _ in range(100)) + packer.flush()
    data = zip_of(("a/liar.jpg", block * 300), ("a/bomb.jpg", block * 100), ("a/nest.zip", bytes(quoted_zip(9))))
    assert len(packed) < len(data)
    for at, size in zip(entries(data), (100, zeros & 0xFFFFFFFF, None), strict=True):
        if size is not None:
            data[at + 24 : at + 28] = size.to_bytes(4, "little")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
    assert names == ["a/liar.jpg", "a/bomb.jpg", "a/nest.zip"]
    (tmp_path / "x.zip").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "x.zip", "a") as archive:
        for name in "abcdef":
            out = io.BytesIO()
            Image.new("RGB", (9, 9), (ord(name), 0, 0)).save(out, "PNG")
            archive.writestr(f"{'ab'[name > 'c']}/{name}.png", out.getvalue())
    summary = prepare(tmp_path / "x.zip", tmp_path / "store", side=8, jobs=1)
    notes = [json.loads(line) for line in (tmp_path / "store/prepare.jsonl").read_text().splitlines()]
    assert sum(summary.pictures.values()) == 6
    assert {note["name"]: note["reasons"][0].split(":")[0] for note in notes} == {
        "a/liar.jpg": "damaged",
        "a/bomb.jpg": "too large",
        "a/nest.zip": "not a picture",
    }
    assert sorted(os.listdir(tmp_path)) == ["store", "x.zip"]
    count("archive: members that grow, and a zip in a zip", injected=3, survived=3)


def test_a_gzip_bomb_stops_at_its_limit_and_leaves_nothing(
    tmp_path: Path, count: Count, monkeypatch: pytest.MonkeyPatch, torture: bool
) -> None:
    if not torture:
        monkeypatch.setattr("alexnet.data.sources.archives.FREE_GROWTH", 1 << 24)
    with gzip.open(tmp_path / "x.tar.gz", "wb", 9) as out:
        out.write(header("a/victim", 2 * GIB))
        for _ in range(1100 if torture else 40):
            out.write(bytes(1 << 20))
    size = (tmp_path / "x.tar.gz").stat().st_size
    with pytest.raises(InputError, match=f"{size} bytes grow to more than"):
        list_files(tmp_path / "x.tar.gz", tmp_path)
    assert os.listdir(tmp_path) == ["x.tar.gz"]
    count("archive: gzip that grows 1,000-fold", injected=1, survived=1)


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_a_million_members_are_listed_in_little_memory(form: str, tmp_path: Path, torture: bool, count: Count) -> None:
    """As ILSVRC has them: they must work. A twentieth as many in `make test`."""
    members = 1_000_000 if torture else 50_000
    names = (f"n{n % 1000:08d}/n{n % 1000:08d}_{n}.JPEG" for n in range(members))
    if form == "tar":
        with (tmp_path / "x").open("wb") as file:
            file.writelines(header(name) for name in names)
            file.write(bytes(1024))
    else:
        with zipfile.ZipFile(tmp_path / "x", "w") as archive:
            for name in names:
                archive.writestr(name, b"")
    said, listed, memory, seconds = measured(tmp_path / "x")
    assert (said, listed) == ("", members)
    assert memory < 1000 * members
    figure = f"{memory / members:.0f} bytes and {seconds / members * 1e6:.0f} us a member"
    count(f"archive: {members} members, {form}", injected=1, survived=1, figure=figure)


def test_names_that_are_not_utf8_are_kept_apart_and_prepared(tmp_path: Path, count: Count) -> None:
    names = [os.fsdecode(name) for name in (b"\xff/\xfe.png", b"\xff/\xfd.png", b"b\xe9/1.png", b"b\xe9/\n\x1b[2J.png")]
    out = io.BytesIO()
    Image.new("RGB", (9, 9)).save(out, "PNG")
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for name in [*names, os.fsdecode(b"b\xe9/\xfc.txt")]:
            info = tarfile.TarInfo(name)
            info.size = len(out.getvalue()) if name in names else 0
            tar.addfile(info, io.BytesIO(out.getvalue()))
    argv = [sys.executable, "-m", "alexnet", "prepare", str(tmp_path / "x.tar"), str(tmp_path / "store"), "--side", "8"]
    done = subprocess.run(
        [*argv, "--jobs", "1"], capture_output=True, timeout=300, env=os.environ | {"LC_ALL": "C.UTF-8"}
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    notes = [json.loads(line) for line in (tmp_path / "store/prepare.jsonl").read_text().splitlines()]
    assert [note["name"] for note in notes] == [os.fsdecode(b"b\xe9/\xfc.txt")]
    count("archive: names that are not UTF-8", injected=5, survived=5)


def seeds() -> list[bytes]:
    """Small archives to damage."""
    plain = (
        header("a/1.txt", 3) + padded(b"one") + pax(record("path", "b/é.txt")) + header("x", 600) + padded(b"2" * 600)
    )
    plain += (
        header("c", 0, tarfile.DIRTYPE)
        + header("L", 9, tarfile.GNUTYPE_LONGNAME)
        + padded(b"c/3.txt\0\0")
        + header("x")
    )
    made = [plain + bytes(1024), bytes(zip_of(("a/1.txt", b"one"), ("b/2.txt", b"two" * 200), ("c/", b"")))]
    return [*made, gzip.compress(made[0], mtime=0), quoted_zip(3), overlapping_zip(), several_zip()]


def test_damaged_archives_are_listed_refused_or_read_with_a_reason(tmp_path: Path, torture: bool, count: Count) -> None:
    """Bits, bytes, cuts and repeats, seeded: every outcome is a listing or one line, never another exception."""
    rng, found, work = random.Random(6), seeds(), tmp_path / "work"
    work.mkdir()
    injected, listed, said = 20_000 if torture else 1500, 0, set()
    for number in range(injected):
        data = bytearray(found[number % len(found)])
        for _ in range(rng.choice([1, 1, 2, 8])):
            at, kind = rng.randrange(len(data)), rng.randrange(6)
            if kind == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                data[at : at + 4] = rng.choice([b"\xff" * 4, bytes(4), b"\x80\0\0\0", b"7777"])
            elif kind == 2 and len(data) > 600:
                del data[at : at + rng.choice([1, 30, 512])]
            elif kind == 3:
                data[at:at] = data[at : at + rng.choice([1, 46, 512])]
            elif kind == 4:
                data[at] = rng.randrange(256)
            else:
                start = at // 512 * 512  # a tar's header, made whole again after the change
                block = data[start : start + 512]
                if len(block) == 512:
                    block[rng.choice([0, 124, 127, 135, 156, 157])] = rng.choice([0, 0x80, 0xFF, 48, 55, 83, 120])
                    block[148:156] = b" " * 8
                    block[148:156] = b"%06o\0 " % sum(block)
                    data[start : start + 512] = block
        path = tmp_path / "x"
        path.write_bytes(data)
        try:
            files = list_files(path, work)
        except InputError as error:
            said.add(str(error))
        else:
            listed += 1
            for place in files.places.values():
                try:
                    assert len(read(place)) == place.size
                except UnreadablePicture as error:
                    said.add(str(error))
        for left in work.iterdir():
            left.unlink()
    assert sorted(os.listdir(tmp_path)) == ["work", "x"]
    assert 0 < listed < injected
    assert [line for line in said if len(line.splitlines()) != 1] == []
    count("archive: tar, tar.gz and zip, fuzzed", injected=injected, survived=injected, figure=f"{listed} listed")


def test_folders_within_folders_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x" / "a/" / ("b/" * 400)).mkdir(parents=True)
    with pytest.raises(InputError, match="deeper than 32 folders"):
        read_source(tmp_path / "x", tmp_path)
