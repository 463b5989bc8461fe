"""What a stranger may put into ILSVRC's meta.mat, which scipy reads."""

import importlib
import io
import json
import random
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alexnet.core.errors import InputError
from alexnet.data.sources import ilsvrc_devkit

savemat = pytest.importorskip("scipy.io").savemat
Count = Callable[..., None]
CELL, STRUCT, DOUBLE = 1, 2, 6  # classes of arrays, of the format's version 5,
INT8, INT32, UINT32, FLOAT64, MATRIX, COMPRESSED = 1, 5, 6, 9, 14, 15  # and types of its elements
HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49)


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def array(kind: int, sides: tuple[int, int], rest: bytes = b"", name: bytes = b"synsets") -> bytes:
    flags, shape = struct.pack("<II", kind, 0), struct.pack("<2i", *sides)
    return element(MATRIX, element(UINT32, flags) + element(INT32, shape) + element(INT8, name) + rest)


def bomb(numbers: int) -> bytes:
    """So many zeros, never whole in the memory of this process."""
    pack, end = zlib.compressobj(1), element(FLOAT64, b"")[:4] + struct.pack("<I", 8 * numbers)
    head = array(DOUBLE, (numbers, 1), end)
    small = pack.compress(head[:4] + struct.pack("<I", len(head) - 8 + 8 * numbers) + head[8:])
    small += b"".join(pack.compress(bytes(1 << 20)) for _ in range(8 * numbers >> 20)) + pack.flush()
    return struct.pack("<II", COMPRESSED, len(small)) + small


def hostile() -> dict[str, bytes]:
    """Files whose sizes are lies, or true and too large."""
    most, cell, deep = 2**31 - 1, array(CELL, (1, 1), name=b""), 20_000
    nest = b"".join(cell[:4] + struct.pack("<I", len(cell) * n - 8) + cell[8:] for n in range(deep, 0, -1))
    fields = element(INT32, struct.pack("<i", 32))
    return {
        "nothing": b"",
        "a bomb": bomb(1 << 27),
        "cells without end": array(CELL, (most, 1)),
        "cells by cells": array(CELL, (65535, 65535)),
        "structs without end": array(STRUCT, (most, 1), fields + element(INT8, b"WNID".ljust(32, b"\0"))),
        "structs without fields": array(STRUCT, (1 << 26, 1), fields + element(INT8, b"")),
        "bytes without end": element(MATRIX, array(DOUBLE, (1, 1))[8:] + struct.pack("<II", FLOAT64, 2**32 - 8)),
        "20,000 deep": nest,
        "numbers": array(DOUBLE, (1, 1), element(FLOAT64, struct.pack("<d", 7))),
    }


ASK = """
import json, resource, sys
from pathlib import Path
from alexnet.data.sources import ilsvrc_devkit as synsets
from alexnet.core.errors import InputError
def taken():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, said = taken(), {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        said[path.name] = str(synsets.synsets(path.read_bytes(), Path("kit.tar"), "ILSVRC2012_ID"))
    except InputError as error:
        said[path.name] = str(error)
print(json.dumps([said, taken() - before]))
"""


def test_a_meta_mat_that_lies_about_its_sizes_takes_no_memory_here_and_is_refused(tmp_path: Path, count: Count) -> None:
    """Here: in a process that prepares, of which the test's own has forgotten how little it once took."""
    cases, files, home = hostile(), tmp_path / "files", tmp_path / "home"
    for folder in (files, home):
        folder.mkdir()
    for name, data in cases.items():
        (files / name).write_bytes(HEADER * bool(data) + data)
    (home / "scipy.py").write_text("open('MARK', 'w')")  # none of these is what is meant
    (home / "alexnet.py").write_text("open('MARK', 'w')")
    done = subprocess.run(python_of(ASK, files), cwd=home, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said, more = json.loads(done.stdout)
    assert said.keys() == cases.keys()
    refused = r"kit.tar: meta\.mat is not the development kit's \(.+\); fetch it again"
    assert all(re.fullmatch(refused, words) for words in said.values()), said
    assert more < 100
    assert sorted(path.name for path in home.iterdir()) == ["alexnet.py", "scipy.py"]  # no core, no mark
    count("meta.mat: hostile sizes", injected=len(cases), survived=len(cases), figure=f"{more:.0f} MB more at most")


def python_of(code: str, *words: object) -> list[str]:
    """The command of a process that runs some code, whose modules are those of this one."""
    return [sys.executable, "-P", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}", *map(str, words)]


def test_scipy_that_cannot_be_loaded_is_said_and_not_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy/__init__.py").write_text("raise ImportError('a part of it is missing')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "scipy", raising=False)
    importlib.invalidate_caches()
    words = r"kit.tar needs scipy, which cannot be loaded \(a part of it is missing\); pip install scipy"
    with pytest.raises(InputError, match=words):
        ilsvrc_devkit.synsets(HEADER, Path("kit.tar"), "ILSVRC2012_ID")


def test_a_meta_mat_with_a_damaged_byte_is_read_or_refused(torture: bool, count: Count) -> None:
    """Whatever scipy makes of it; most of its own files is text."""
    rows = [(n, f"n{n:08d}", "words", 0, 1300) for n in range(20)]
    names = ("ILSVRC2012_ID", "WNID", "words", "num_children", "num_train_images")
    out = io.BytesIO()
    savemat(out, {"synsets": np.array(rows, dtype=[(name, "O") for name in names]).reshape(-1, 1)})
    whole, chance, taken = out.getvalue(), random.Random(6), 0
    many = 500 if torture else 12
    for _ in range(many):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            classes, _ = ilsvrc_devkit.synsets(bytes(data), Path("kit.tar"), names[0])
            taken += 1
            assert len(classes) <= len(rows)
        except InputError:
            pass
    count("meta.mat with a damaged byte", injected=many, survived=many, figure=f"{taken} read")
