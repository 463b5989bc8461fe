"""What a stranger may put into a Parquet file: each is read or refused in a line, with bounded memory and time."""

import json
import os
import random
import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import packed
from tests.faults.test_devkit import python_of

from alexnet.core.errors import InputError
from alexnet.data.sources import parquet
from alexnet.data.sources.recognise import read_source

pytest.importorskip("pyarrow")
Count = Callable[..., None]
MIB = 1 << 20

# Each file in a forked process that has pyarrow already: both functions of the reader, as its own process calls them.
ASK = """
import io, json, os, sys
from pathlib import Path
import pyarrow.parquet
from alexnet.data.sources import parquet_reader as reader
def feed(value):
    sys.stdin = io.TextIOWrapper(io.BytesIO(json.dumps(value).encode()))
def read(path, out):
    place = (path.name, str(path), 0, path.stat().st_size)
    feed([place])
    sys.stdout = io.StringIO()
    reader.look()
    [(picture, label, classes, split)] = json.loads(sys.stdout.getvalue().splitlines()[-1])
    names = -1 if classes is None else len(classes)
    feed([dict(zip(("shown", "path", "offset", "size"), place), picture=picture, label=label, names=names,
               most=max(64 << 20, 100 * place[3]), out=out, split=split, expected="train")])
    reader.copy()
found = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    out = sys.argv[2] + "/" + path.name
    ours, its = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(its, 2)
        os.close(its)
        try:
            read(path, out)
        except SystemExit as error:
            sys.stderr.write(str(error.code))
            sys.stderr.flush()
            os._exit(error.code if isinstance(error.code, int) else 1)
        except BaseException as error:
            sys.stderr.write(repr(error))
            sys.stderr.flush()
            os._exit(99)
        os._exit(0)
    os.close(its)
    with open(ours, "rb") as said:
        words = said.read().decode(errors="replace")
    _, status, used = os.wait4(child, 0)
    rows = os.path.getsize(out + ".rows") // 16 if os.path.exists(out + ".json") else None
    for name in os.listdir(sys.argv[2]):
        os.unlink(sys.argv[2] + "/" + name)
    used = [used.ru_maxrss / 1024, used.ru_utime + used.ru_stime]
    found[path.name] = [os.waitstatus_to_exitcode(status), words, rows, *used]
print(json.dumps(found))
"""


def asked(files: Path) -> dict[str, tuple[int, str, int | None, float, float]]:
    """What becomes of each file: exit status, words, rows if it was copied, MB of memory and seconds of CPU."""
    out = files.parent / "copies"
    out.mkdir()
    done = subprocess.run(python_of(ASK, files, out), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found.keys() == {path.name for path in files.iterdir()}
    return found


def varint(number: int) -> bytes:
    """A number as Thrift's compact protocol writes it."""
    number, out = number * 2 if number >= 0 else -number * 2 - 1, b""
    while number > 127:
        number, out = number >> 7, out + bytes([number & 127 | 128])
    return out + bytes([number])


def claiming(path: Path, real: int, lie: int, times: int = -1) -> None:
    """Replace a number in the footer, everywhere or some times, by another of as many bytes."""
    data = path.read_bytes()
    (length,) = struct.unpack("<I", data[-8:-4])
    footer = data[-8 - length : -8]
    assert varint(real) in footer
    assert len(varint(real)) == len(varint(lie))
    path.write_bytes(data[: -8 - length] + footer.replace(varint(real), varint(lie), times) + data[-8:])


def table(path: Path, pictures: object, labels: object, metadata: bytes = b"", **options: Any) -> None:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    made = pa.table({"image": pictures, "label": labels})
    write_table(made.replace_schema_metadata({b"huggingface": metadata} if metadata else None), path, **options)


def hostile(files: Path) -> None:
    """Files whose counts are lies, or true and too large, and metadata that no writer means."""
    import pyarrow as pa

    rows = 12_345  # no other number of the footer is written as this one is
    tiny, labels = pa.array([b"x"] * rows), pa.array([n % 2 for n in range(rows)])
    lies = {"more rows": (1_000_000, -1), "fewer rows in one place": (8_200, 1), "negative rows": (-12_346, -1)}
    for name, (lie, times) in lies.items():
        table(files / name, tiny, labels)
        claiming(files / name, rows, lie, times)
    whole = packed.parquet_of(files / "cut 0", [0, 1] * 20, packed.features()).read_bytes()
    for part in range(8):
        (files / f"cut {part}").write_bytes(whole[: len(whole) * part // 8])
    (files / "magic alone").write_bytes(b"PAR1xxxxPAR1")
    (files / "encrypted").write_bytes(b"PARE" + whole[4:-4] + b"PARE")
    (files / "footer of 2 GB").write_bytes(whole[:-8] + struct.pack("<I", 2**31 - 1) + b"PAR1")
    (files / "footer alone").write_bytes(whole[-8 - struct.unpack("<I", whole[-8:-4])[0] :])
    one = pa.DictionaryArray.from_arrays(pa.array([0] * 1200, pa.int32()), pa.array([os.urandom(MIB // 16)]))
    table(files / "one picture 1,200 times", one.cast(pa.binary()), pa.array([0, 1] * 600))
    zeros = pa.array([bytes(40 * MIB)] * 2)
    table(files / "zeros", zeros, pa.array([0, 1]), compression="zstd", use_dictionary=False)
    empty = pa.nulls(200_000, pa.binary())
    table(files / "200,000 empty rows", empty, pa.nulls(200_000, pa.int64()))
    four, numbers = pa.array([packed.jpeg(n) for n in range(4)]), pa.array([0, 1, 0, 1])
    table(files / "labels as lists", four, pa.array([[0]] * 4))
    table(files / "labels of 2**63", four, pa.array([0, 1, 2**63, 1], pa.uint64()))
    table(files / "a negative label", four, pa.array([0, 1, -2, 1]))
    packed.parquet_of(files / "a label past the last", [0, 1, 2], packed.features())
    table(files / "a long label", four, pa.array(["a", "b", "c" * 10**6, "d"]))
    table(files / "metadata 100,000 deep", four, numbers, b"[" * 100_000)
    table(files / "metadata of another kind", four, numbers, b'{"info": {"features": [1]}}')
    names = {"info": {"features": packed.features(["a", "a"])}}
    table(files / "one class twice", four, numbers, json.dumps(names).encode())
    outside = pa.array([{"bytes": None, "path": f"/etc/passwd{n}"} for n in range(4)])
    outside = outside.cast(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table(files / "paths outside", outside, numbers)


READ = {"200,000 empty rows"}


def test_a_parquet_file_that_lies_is_refused_in_a_line_and_takes_bounded_memory(tmp_path: Path, count: Count) -> None:
    files = tmp_path / "files"
    files.mkdir()
    hostile(files)
    found = asked(files)
    for name, (status, words, rows, memory, seconds) in found.items():
        assert (status == 0) == (name in READ), (name, status, words)
        assert name in READ or re.match(re.escape(name) + ": (its?|the names of its) ", words), (name, words)
        assert "\n" not in words
        assert rows in (None, 200_000)
        assert memory < 700, (name, memory)
        assert seconds < 30, (name, seconds)
    most = max(memory for *_, memory, _ in found.values())
    figure = f"at most {most:.0f} MB, {max(seconds for *_, seconds in found.values()):.1f} s"
    count("Parquet: counts, sizes and metadata that lie", injected=len(found), survived=len(found), figure=figure)


def test_a_parquet_file_with_damaged_bytes_is_read_or_refused(tmp_path: Path, torture: bool, count: Count) -> None:
    """Half of the damage is in the footer, which pyarrow trusts most."""
    files, chance, many = tmp_path / "files", random.Random(21), 2000 if torture else 40
    files.mkdir()
    whole = packed.parquet_of(tmp_path / "whole", [0, 1, 1, 0] * 5, packed.features(), row_group_size=7).read_bytes()
    footer = len(whole) - 8 - struct.unpack("<I", whole[-8:-4])[0]
    for number in range(many):
        data = bytearray(whole)
        for _ in range(1 + number % 3):
            at = chance.randrange(footer if number % 2 else 4, len(data))
            data[at] = chance.randrange(256) if number % 5 else data[at] ^ (1 << chance.randrange(8))
        (files / f"{number:04d}").write_bytes(data)
    found = asked(files)
    for name, (status, words, rows, memory, seconds) in found.items():
        assert status in (0, 1) or status < 0, (name, status, words)  # a crash of pyarrow ends its own process alone
        assert status != 0 or rows == 20
        assert memory < 500, (name, memory)
        assert seconds < 30
    read = sum(status == 0 for status, *_ in found.values())
    died = sum(status < 0 for status, *_ in found.values())
    figure = f"{read} read, {died} ended the process that read them"
    count("Parquet with damaged bytes", injected=many, survived=len(found), figure=figure)


def test_a_process_of_pyarrow_that_dies_or_fills_the_disk_gives_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: Count
) -> None:
    with pytest.raises(InputError, match=r"x or a file beside it: SIGSEGV ended the process that read it; fetch"):
        parquet._check_status(-11, "SIGSEGV ended the process that read it", "x")
    lone = packed.parquet_of(tmp_path / "x.parquet", [0, 1] * 400)
    monkeypatch.setattr(parquet, "FREE_GROWTH", 1)
    monkeypatch.setattr(parquet, "MOST_GROWTH", 0)
    with pytest.raises(InputError, match=r"x\.parquet: its \d+ bytes grow to more than 1; write it again"):
        read_source(lone, tmp_path / "work")
    assert not [path for path in (tmp_path / "work").iterdir() if path.suffix == ".tmp"]
    count("Parquet: a reader that dies, or grows", injected=2, survived=2)


def test_a_full_disk_stops_the_copy_with_a_line_and_what_is_copied_stays(full: Path, count: Count) -> None:
    from alexnet.core.errors import WorkFailed

    for part in range(2):
        packed.parquet_of(full.parent / f"source/train-{part}.parquet", [0, 1] * (5 if part == 0 else 800))
    (full / "work").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "_check_room", lambda *_: None)
        with pytest.raises(WorkFailed, match=r"cannot write into .*: No space left on device; make room and run"):
            read_source(full.parent / "source", full / "work")
    assert sorted(path.suffix for path in (full / "work").iterdir()) == [".json", ".pictures", ".rows"]
    count("Parquet: a full disk", injected=1, survived=1)
