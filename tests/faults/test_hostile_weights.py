"""Weights from a stranger, given to `alexnet import`: nothing in them is run, and no run is left of what is refused."""

import io
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from tests.faults.test_hostile_runs import ended, header
from tests.foreign import (
    CAFFE,
    CLASSES,
    TORCHVISION,
    Wire,
    binaryproto,
    blob,
    caffemodel,
    chunk,
    layer,
    mean_bgr,
    onnx_model,
    torchvisions,
    varint,
    weights,
    written,
)

from alexnet.interop import foreign, wire

STATE = torchvisions(weights(TORCHVISION))
ROOT = Path(__file__).parents[2]


def saved(value: Any, **how: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **how)
    return stream.getvalue()


def good() -> dict[str, bytes]:
    """A file of each suffix that is imported."""
    return {
        "a.pth": saved(STATE),
        "old.pth": saved(STATE, _use_new_zipfile_serialization=False),
        "b.safetensors": safetensors.torch.save(STATE),
        "c.caffemodel": caffemodel(CAFFE, weights(CAFFE)),
        "old.caffemodel": caffemodel(CAFFE, weights(CAFFE), Wire(1, shapes=False)),
        "d.onnx": onnx_model(TORCHVISION, weights(TORCHVISION)).SerializeToString(),
    }


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Import a file by the command line, which must end with status 2 and one line, and leave nothing."""

    def one(file: Path, *more: object) -> str:
        mean = tmp_path / "mean.binaryproto"
        if not mean.exists():
            written(tmp_path, mean.name, binaryproto(mean_bgr(CAFFE)))
        words: list[object] = [*more]
        if file.suffix == ".caffemodel":
            words += ["--mean", mean]
        words += ["--as", "torchvision"] if file.suffix == ".onnx" else []
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        code, said, line = ended("import", file, out / "run", *words)
        assert (code, said, line.count("\n")) == (2, "", 1), (file, code, said, line)
        assert line.startswith("alexnet: ")
        assert "\x1b" not in line
        assert list(out.iterdir()) == []
        return line

    return one


def test_files_that_are_not_touched_are_imported(tmp_path: Path) -> None:
    """So what is refused below is refused for what was changed."""
    mean = written(tmp_path, "mean.binaryproto", binaryproto(mean_bgr(CAFFE)))
    for name, data in good().items():
        file = written(tmp_path, name, data)
        options: dict[str, list[object]] = {".onnx": ["--as", "torchvision"], ".caffemodel": ["--mean", mean]}
        how = options.get(file.suffix, [])
        code, said, line = ended("import", file, tmp_path / f"run-{name}", "--json", *how)
        assert (code, line) == (0, ""), name
        assert json.loads(said)["classes"] == CLASSES


def evil(mark: Path) -> Any:
    """An object whose pickle leaves a mark when it is loaded."""

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {mark}",)

    return Evil()


def with_pickle(data: bytes) -> bytes:
    """A zip as torch.save makes it, with another pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("net/data.pkl", data)
        archive.writestr("net/byteorder", "little")
        archive.writestr("net/version", "3\n")
    return stream.getvalue()


def test_a_pickle_with_code_is_never_run(
    tmp_path: Path, refused: Callable[..., str], count: Callable[..., None]
) -> None:
    mark = tmp_path / "MARK"
    bad = evil(mark)
    pickle.loads(pickle.dumps(bad))  # noqa: S301
    assert mark.exists()  # so it would leave one
    mark.unlink()
    protocols = [pickle.dumps(bad, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    old = saved({"features.0.weight": bad}, _use_new_zipfile_serialization=False)
    new = [saved(bad), saved(STATE | {"features.0.bias": bad}), saved({"state_dict": STATE, "args": bad}), old]
    files = [*protocols, *map(with_pickle, protocols), *new, good()["old.pth"][:15] + protocols[2]]
    tried = 0
    for data in files:
        for suffix in (".pth", ".pt", ".safetensors", ".caffemodel", ".onnx"):
            refused(written(tmp_path, f"evil{suffix}", data))
            assert not mark.exists(), (suffix, data[:60])
            tried += 1
    np.save(tmp_path / "evil.npy", np.array([bad], object), allow_pickle=True)
    net = written(tmp_path, "net.caffemodel", good()["c.caffemodel"])
    code, _, line = ended("import", net, tmp_path / "run", "--mean", tmp_path / "evil.npy")
    assert (code, line.count("\n"), mark.exists()) == (2, 1, False)
    figure = "no mark is left"
    count("a pickle with code as weights or as a mean", injected=tried + 1, survived=tried + 1, figure=figure)


def deflated(size: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", pickle.dumps({}))
        with archive.open("net/data/0", "w") as member:
            for _ in range(size >> 20):
                member.write(bytes(1 << 20))
    return stream.getvalue()


def claiming(data: bytes, size: int) -> bytes:
    """A zip whose last member claims another size, in the central directory."""
    at = data.rindex(b"PK\x01\x02")
    return data[: at + 20] + struct.pack("<II", size, size) + data[at + 28 :]


def doubled() -> bytes:
    """A zip with a harmless pickle, and a second one under the same name."""
    stream = io.BytesIO(with_pickle(pickle.dumps({}, 2)))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("net/DATA.PKL", b"cos\nsystem\n.")
    return stream.getvalue()


def bombs() -> Iterator[tuple[str, bytes]]:
    """Files of a few MB that claim gigabytes, by name."""
    gigabytes, old = b"\x8a\x05" + (1 << 36).to_bytes(5, "little"), good()["old.pth"]
    yield "deflated.pth", deflated(1 << 28)
    yield "claims.pth", claiming(good()["a.pth"], 0xFFFF0000)
    yield "doubled.pth", doubled()
    yield "bytearray.pth", with_pickle(b"\x80\x02cbuiltins\nbytearray\n" + gigabytes + b"\x85R.")
    yield "storage.pth", old.replace(b"M" + struct.pack("<H", 8 * 363), gigabytes, 1)
    yield "expanded.pth", saved(STATE | {"classifier.4.weight": torch.zeros(1).expand(1 << 17, 1 << 17)})
    yield "members.pth", b"PK\x03\x04" + b"PK\x01\x02" * 20_000
    yield "steps.pth", with_pickle(b"\x80\x02" + b"]" * 2_000_000 + b".")
    yield "long.pth", with_pickle(b"\x80\x02X" + struct.pack("<I", 20_000_000) + bytes(20_000_000) + b".")
    yield "string.pth", b"\x80\x02X" + struct.pack("<I", 0xFFFFFFF0) + b"a."
    yield "header.safetensors", struct.pack("<Q", 1 << 62) + b"{}"
    yield "large-header.safetensors", struct.pack("<Q", 1 << 25) + b" " * (1 << 25)
    yield (
        "vast.safetensors",
        header({"conv1.weight": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
    )
    yield "deep.safetensors", header(b'{"a":' + b"[" * 100_000)
    yield "length.caffemodel", varint(100 << 3 | 2) + varint(1 << 40)
    yield "swarm.caffemodel", chunk(2, b"") * 2_000_000
    yield "swarm-inside.caffemodel", chunk(100, chunk(3, b"") * 2_000_000)
    dims = chunk(7, chunk(1, b"\x01" * 4_000_000)) + chunk(5, bytes(4))
    yield "dims.caffemodel", layer(Wire(), "Convolution", "conv1", "data", "conv1", b"", [dims, dims])
    vast = blob(np.zeros(4, np.float32), Wire()).replace(chunk(1, b"\x04"), chunk(1, varint(1 << 20) + varint(1 << 20)))
    yield "vast.caffemodel", layer(Wire(), "Convolution", "conv1", "data", "conv1", b"", [vast, vast])
    yield "length.onnx", varint(7 << 3 | 2) + varint(1 << 40)
    yield "swarm.onnx", chunk(7, chunk(1, b"") * 2_000_000)
    yield "ints.onnx", chunk(7, chunk(1, chunk(5, chunk(8, b"\x01" * 20_000_000))))
    model = onnx_model(TORCHVISION, weights(TORCHVISION))
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([1 << 40, 3, 11, 11])
    yield "dims.onnx", model.SerializeToString()


# Runs the command on each file in one process, and prints what each says and by how many kB the memory's peak grew.
MEASURE = """
import contextlib, io, pathlib, sys
import onnx, torch, google.protobuf.message, safetensors.torch
from alexnet.cli.main import main
import alexnet.interop.importing
def peak():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
for file in sys.argv[2:]:
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before, said, code = peak(), io.StringIO(), None
    with contextlib.redirect_stderr(said):
        try:
            main(["import", file, sys.argv[1], "--as", "torchvision" if file.endswith("onnx") else "auto"])
        except SystemExit as end:
            code = end.code
    lines = said.getvalue().splitlines()
    print(code, len(lines), peak() - before, file, lines)
"""


def test_a_file_that_claims_gigabytes_takes_no_memory(tmp_path: Path, count: Callable[..., None]) -> None:
    files = [written(tmp_path, name, data) for name, data in bombs()]
    sizes = {str(file): file.stat().st_size for file in files}
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("this system does not tell the peak of memory")
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "run"), *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    grew = []
    for line in done.stdout.splitlines():
        code, lines, kilobytes, file = line.split()[:4]
        assert (code, lines) == ("2", "1"), line
        grew.append(int(kilobytes) / 1000 - 3 * sizes[file] / 1e6)  # a file is read whole, and copied
    assert len(grew) == len(files)
    assert max(grew) < 150, dict(zip(sizes, grew, strict=True))
    assert not (tmp_path / "run").exists()
    figure = f"at most {max(grew):.0f} MB more memory than three times the file"
    count("weights that claim gigabytes", injected=len(files), survived=len(files), figure=figure)


def test_a_file_of_another_kind_is_refused_by_its_content(
    tmp_path: Path, refused: Callable[..., str], count: Callable[..., None]
) -> None:
    tried = 0
    others = {"page.html": b"<!DOCTYPE html><html>", "text": b"version https://git-lfs.github.com/spec/v1\n", "no": b""}
    picture = b"\x89PNG\r\n\x1a\n" + bytes(100)
    for name, data in (good() | others | {"p.png": picture}).items():
        for suffix in (".pth", ".safetensors", ".caffemodel", ".onnx", ".ckpt", ""):
            if Path(name).suffix != suffix:
                refused(written(tmp_path, f"other{suffix}", data))
                tried += 1
    count("weights with the suffix of another kind, web pages, text", injected=tried, survived=tried, figure="a line")


def test_truncated_weights_are_refused_and_flipped_bits_end_in_a_run_or_a_line(
    tmp_path: Path, refused: Callable[..., str], torture: bool, count: Callable[..., None]
) -> None:
    chance = random.Random(18)
    cuts, flips, used = (40, 200, 0) if torture else (4, 6, 0)
    mean = tmp_path / "mean.binaryproto"
    how: dict[str, list[object]] = {".onnx": ["--as", "torchvision"], ".caffemodel": ["--mean", mean]}
    for name, data in good().items():
        for _ in range(cuts):
            refused(written(tmp_path, name, data[: chance.randrange(int(0.95 * len(data)))]))
        for n in range(flips):
            place = chance.randrange(min(len(data), 4000) if n % 2 else len(data))
            file = written(
                tmp_path, name, data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]
            )
            code, _, line = ended("import", file, tmp_path / f"{name}-{n}", *how.get(file.suffix, []))
            assert (code, line.count("\n")) in ((0, 0), (2, 1)), (name, place, line)
            used += code == 0
    tried = len(good()) * (cuts + flips)
    figure = f"{used} of the {len(good()) * flips} with a flipped bit were imported"
    count("truncated weights, weights with a flipped bit", injected=tried, survived=tried, figure=figure)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_with_the_name_of_the_layer(
    value: float, tmp_path: Path, refused: Callable[..., str], count: Callable[..., None]
) -> None:
    theirs, caffes = weights(TORCHVISION), weights(CAFFE)
    for one in (theirs, caffes):
        one["conv4.weight"][3, 2, 1, 0] = value
    named = torchvisions(theirs)
    files = {
        "a.pth": (saved(named), "features.8.weight has NaN or infinite values"),
        "b.safetensors": (safetensors.torch.save(named), "features.8.weight has NaN or infinite values"),
        "c.caffemodel": (caffemodel(CAFFE, caffes), "the weight of layer conv4 has NaN or infinite values"),
        "d.onnx": (onnx_model(TORCHVISION, theirs).SerializeToString(), "conv4.weight has NaN or infinite values"),
    }
    for name, (data, said) in files.items():
        assert said in refused(written(tmp_path, name, data))
    count(
        "weights that are NaN or infinite", injected=len(files), survived=len(files), figure="the line names the layer"
    )


def test_pipes_devices_folders_and_holes_are_not_read(
    tmp_path: Path, refused: Callable[..., str], count: Callable[..., None]
) -> None:
    files = []
    for suffix in (".pth", ".safetensors", ".caffemodel", ".onnx"):
        pipe, device, folder, holes, gone = (
            tmp_path / f"{n}{suffix}" for n in ("pipe", "zero", "dir", "holes", "gone")
        )
        os.mkfifo(pipe)
        device.symlink_to("/dev/zero")
        folder.mkdir()
        with holes.open("wb") as opened:
            opened.truncate(1 << 40)
        gone.symlink_to(tmp_path / "nowhere")
        files += [pipe, device, folder, holes, gone]
    for file in files:
        refused(file)
    net = written(tmp_path, "net.pth", saved(STATE))
    for file in files[:5]:
        refused(net, "--classes", file)
    tried = len(files) + 5
    count("pipes, devices, folders, a terabyte of holes as weights", injected=tried, survived=tried, figure="not read")


def test_lists_of_classes_that_do_not_fit_are_refused(
    tmp_path: Path, refused: Callable[..., str], count: Callable[..., None]
) -> None:
    net = written(tmp_path, "net.pth", saved(STATE))
    lists = {
        b"": "has 0 names for the net's 5 outputs", b"a\nb\nc\nd\n": "has 4 names", b"a\nb\nc\nd\ne\nf": "has 6 names",
        b"a\xff\nb\nc\nd\ne": "is not UTF-8 text", "a\nb\nc\nd\ne".encode("utf-16"): "is not UTF-8 text",
        b'["a", "b"': "is not JSON", b"[" * 100_000: "is not JSON", b"[1, 2, 3, 4, 5]": "'1' is not a class's name",
        b'{"0": "a", "2": "b"}': 'needs the keys "0", "1"', b"[]": "a list of class names is needed",
        b'[{"name": "a", "evil": 1}]': "is not a class's name", b'[["a", 1]]': "is not a class's name",
        b"a\n" * (foreign.MOST_CLASSES // 2 + 1): "cannot be read",
    }  # fmt: skip
    for data, said in lists.items():
        assert said in refused(net, "--classes", written(tmp_path, "names", data)), data[:40]
    tried = len(lists)
    count("lists of classes that do not fit, or are not text", injected=tried, survived=tried, figure="a line")


def test_names_with_commands_for_a_terminal_are_shown_escaped(tmp_path: Path, refused: Callable[..., str]) -> None:
    """`refused` looks for the escape."""
    bad = "conv\x1b[2Jbad\u202e"
    refused(written(tmp_path, "a.pth", saved({f"{bad}.weight": torch.zeros(1)})))
    refused(written(tmp_path, "b.caffemodel", layer(Wire(), bad, bad, "a", "b", b"", [blob(np.zeros(3), Wire())] * 2)))
    model = onnx_model(TORCHVISION, weights(TORCHVISION))
    model.graph.node[4].op_type = bad
    refused(written(tmp_path, "c.onnx", model.SerializeToString()))


def test_a_disk_without_room_leaves_nothing(tmp_path: Path, full: Path) -> None:
    file = written(tmp_path, "net.pth", saved(STATE))
    code, out, line = ended("import", file, full / "deep" / "run")
    if code == 0:
        pytest.skip("the run fits")
    assert (code, out, line.count("\n")) == (1, "", 1)
    assert "nothing is left of it" in line
    assert list(full.iterdir()) == []


def test_the_limits_are_those_that_the_docs_state() -> None:
    assert (foreign.MOST, wire.MOST_FIELDS) == (2 << 30, 100_000)
