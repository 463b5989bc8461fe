"""What a stranger may put into ILSVRC's meta.mat, which scipy reads."""

import io
import random
import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alexnet.data import synsets
from alexnet.errors import UnusableError

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


def test_a_meta_mat_that_lies_about_its_sizes_takes_no_memory_here_and_is_refused(count: Count) -> None:
    cases = hostile()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in cases.values():
        with pytest.raises(UnusableError, match=r"kit.tar: meta\.mat is not the development kit's \(.+\); fetch"):
            synsets.synsets(HEADER * bool(data) + data, Path("kit.tar"), "ILSVRC2012_ID")
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert more < 100
    count("meta.mat: hostile sizes", injected=len(cases), survived=len(cases), figure=f"{more:.0f} MB more at most")


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
            classes, _ = synsets.synsets(bytes(data), Path("kit.tar"), names[0])
            taken += 1
            assert len(classes) <= len(rows)
        except UnusableError:
            pass
    count("meta.mat with a damaged byte", injected=many, survived=many, figure=f"{taken} read")
