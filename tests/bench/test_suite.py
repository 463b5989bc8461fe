"""`alexnet bench` reports what it measured; no test checks a speed."""

import argparse
import json
import math
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet.bench import computing, engines, suite, timing
from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute
from alexnet.core.errors import InputError
from alexnet.models.alexnet import AlexNet
from alexnet.version import __version__

KEYS = ["what", "ours", "peer", "peer_name", "ratio", "bound", "fraction_of_bound", "unit", "machine"]


@pytest.fixture(autouse=True)
def one_call_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "READING", 0.0)


@pytest.mark.parametrize(("what", "lines"), [("lrn", 6), ("loader", 1), ("prepare", 1)])
def test_each_line_compares_ours_with_a_named_peer_and_a_bound(
    what: str, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measure on one thread; `ratio` above 1 means that ours is faster, in times and in rates."""
    monkeypatch.setattr(computing, "MAPS", {"conv2": computing.MAPS["conv2"]})  # of conv1 and conv2
    found = [json.loads(line.plain()) for line in suite.bench(what, device="cpu", precision="bf16", batch=2, rounds=1)]
    assert len(found) == lines
    for line in found:
        assert list(line)[: len(KEYS)] == KEYS
        assert len(line["ours_readings"]) == len(line["peer_readings"]) == 1
        assert (line["threads"], line["version"]) == (1, __version__)
        assert line["ours"] > 0
        assert "1 thread, CPU time" in line["what"]
        assert line["unit"] in ("ms", "pictures/s")
        ratio = line["peer"] / line["ours"] if line["unit"] == "ms" else line["ours"] / line["peer"]
        assert math.isclose(line["ratio"], ratio, rel_tol=2e-3)  # four digits are shown
        share = line["bound"] / line["ours"] if line["unit"] == "ms" else line["ours"] / line["bound"]
        assert math.isclose(line["fraction_of_bound"], share, rel_tol=2e-3)
    assert any("malloc" in line["peer_name"] or "kept pages" in line["peer_name"] for line in found) == (what == "lrn")


SMALL = {"channels": (8, 8, 8, 8, 8), "hidden": 16, "classes": 5}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrow nets, small measurements of the machine's rates, and a compiler that leaves work as it is."""
    for name in ("source", "paper", "owt"):
        monkeypatch.setitem(RECIPES, name, RECIPES[name].replace(net=SMALL))
    for name, size in (("product_rates", 64), ("bytes_read_per_second", 1 << 16)):
        monkeypatch.setattr(timing, name, partial(getattr(timing, name), size=size))
    monkeypatch.setattr(torch, "compile", lambda work, **_: work)


@pytest.mark.usefixtures("narrow")
def test_a_step_is_compared_with_stock_nets_in_fp32_and_in_our_precision_and_with_torchvisions() -> None:
    lines = list(suite.bench("step", device="cpu", precision="bf16", batch=2, rounds=1))
    stock, whole, owt = (
        [line.peer_name for line in lines if words in line.what]
        for words in ("without the norm within maps", "all layers of source", "owt, torchvision's net of 2014")
    )
    how = "channels last, bf16 autocast, fused torch.optim.SGD"
    assert stock == [
        "stock modules and torch.optim.SGD, fp32, default malloc",
        f"stock modules and torch.optim.SGD, fp32, {timing.malloc(True)}",
        f"stock modules, {how}, eager, {timing.malloc(True)}",
        f"stock modules, {how}, torch.compile default, {timing.malloc(True)}",
        "ours without any norm",
    ]
    assert whole == ["ours without the norm within maps"]
    assert owt == [
        f"torchvision's alexnet as plain modules, {how}, {way}, {timing.malloc(True)}"
        for way in ("eager", "torch.compile default")
    ]
    assert all(line.products and line.bound for line in lines)


@pytest.mark.usefixtures("narrow")
def test_inference_is_compared_with_stock_nets_and_with_the_engines_that_are_installed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The engines start from float32 views, and so does ours against them."""
    lines = list(suite.bench("infer", device="cpu", precision="fp32", batch=2, rounds=1))
    for batch in (1, 64):
        names = [line.peer_name for line in lines if line.what.startswith(f"inference, batch {batch}, fp32 (")]
        assert [name.rpartition(", ")[0] for name in names] == [
            "stock modules, eager fp32",
            "stock modules, channels last, fp32, eager",
            "stock modules, channels last, fp32, torch.compile default",
        ]
        others = [line.peer_name for line in lines if f"batch {batch}, fp32, from float32 views" in line.what]
        libraries = [engines.NAMES[library] for library in engines.NAMES if find_spec(library) and find_spec("onnx")]
        assert [name[: len(library)] for name, library in zip(others, libraries, strict=True)] == libraries
    assert capsys.readouterr().err == ""  # none was left out


@pytest.mark.usefixtures("narrow")
def test_an_engine_whose_logits_are_not_ours_or_that_fails_is_left_out_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")

    def wrong(model: bytes, views: np.ndarray, threads: int) -> engines.Answer:
        return lambda: np.ones((len(views), 5), np.float32)

    def fails(model: bytes, views: np.ndarray, threads: int) -> engines.Answer:
        raise RuntimeError("no\nplan")

    monkeypatch.setattr(engines, "NAMES", {"json": "A", "csv": "B"})
    monkeypatch.setattr(engines, "import_module", lambda _: argparse.Namespace(__version__="1.0-x"))
    monkeypatch.setattr(engines, "ENGINES", {("json", "fp32"): wrong, ("csv", "fp32"): fails, ("json", "bf16"): fails})
    net = RECIPES["paper"].net
    assert isinstance(net, Net)
    made, views = engines.models(AlexNet(net).eval()), torch.randn(2, 3, 224, 224)
    assert engines.answers(made, views, 1, Compute(torch.device("cpu"), "fp32")) == {}
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("left out: A 1.0 fp32: its logits differ from ours by ")
    assert second == "left out: B 1.0 fp32: no plan"
    monkeypatch.setattr(engines, "ENGINES", {("missing-library", "fp32"): wrong})
    assert engines.models(AlexNet(net).eval()) == {}


def test_a_file_of_lines_is_whole_after_each_and_is_never_written_over(tmp_path: Path) -> None:
    Image.new("RGB", (300, 280), (200, 10, 10)).save(tmp_path / "one.jpg")
    given: dict[str, Any] = {"device": "cpu", "rounds": 2, "pictures": tmp_path, "out": tmp_path / "a.jsonl"}
    lines = suite.bench("prepare", **given)
    first = next(lines)
    assert (tmp_path / "a.jsonl").read_text() == first.plain() + "\n"
    list(lines)
    kept = (tmp_path / "a.jsonl").read_bytes()
    with pytest.raises(InputError, match="exists; choose another name"):
        next(suite.bench("prepare", **given))
    with pytest.raises(InputError, match="name a file in a folder that exists"):
        next(suite.bench("prepare", **given | {"out": tmp_path / "none" / "a.jsonl"}))
    assert (tmp_path / "a.jsonl").read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir() if "jsonl" in path.name] == ["a.jsonl"]


def test_pictures_may_be_ones_own(tmp_path: Path) -> None:
    Image.new("RGB", (300, 280), (200, 10, 10)).save(tmp_path / "one.jpg")
    line = next(suite.bench("prepare", device="cpu", rounds=1, pictures=tmp_path))
    assert str(tmp_path) in line.what


def test_training_from_end_to_end_names_a_cache_and_workers_that_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU it says nothing of the usual ones, which read the store at each step."""
    net = {"channels": (8, 8, 8, 8, 8), "hidden": 16, "std": (0.1,) * 8}
    monkeypatch.setitem(RECIPES, "source", RECIPES["source"].replace(net=net))
    Image.new("RGB", (300, 280), (200, 10, 10)).save(tmp_path / "one.jpg")
    usual = next(suite.bench("end-to-end", device="cpu", batch=2, rounds=1, pictures=tmp_path))
    assert "cache" not in usual.what
    kept = next(suite.bench("end-to-end", device="cpu", batch=2, rounds=1, pictures=tmp_path, cache="ram", workers=3))
    assert kept.what.startswith(usual.what.partition(" (")[0] + ", cache ram, 3 workers (")


def test_a_folder_without_pictures_and_an_unknown_bench_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no JPEG"):
        next(suite.bench("prepare", device="cpu", pictures=tmp_path))
    with pytest.raises(InputError, match="there is no benchmark 'walk'; choose from lrn, step, infer"):
        next(suite.bench("walk"))
