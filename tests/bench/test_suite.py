"""`alexnet bench` reports what it measured; no test checks a speed."""

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from alexnet.bench import computing, suite
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError

KEYS = ["what", "ours", "peer", "peer_name", "ratio", "bound", "fraction_of_bound", "unit", "machine"]


@pytest.mark.parametrize(("what", "lines"), [("lrn", 6), ("loader", 1), ("prepare", 1)])
def test_each_line_compares_ours_with_a_named_peer_and_a_bound(
    what: str, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measure on one thread; `ratio` above 1 means that ours is faster, in times and in rates."""
    monkeypatch.setattr(computing, "MAPS", {"conv2": computing.MAPS["conv2"]})  # of conv1 and conv2
    found = [json.loads(line.plain()) for line in suite.bench(what, device="cpu", precision="bf16", batch=2, rounds=1)]
    assert len(found) == lines
    for line in found:
        assert list(line) == KEYS
        assert line["ours"] > 0
        assert "1 thread, CPU time" in line["what"]
        assert line["unit"] in ("ms", "pictures/s")
        ratio = line["peer"] / line["ours"] if line["unit"] == "ms" else line["ours"] / line["peer"]
        assert math.isclose(line["ratio"], ratio, rel_tol=2e-3)  # four digits are shown
        share = line["bound"] / line["ours"] if line["unit"] == "ms" else line["ours"] / line["bound"]
        assert math.isclose(line["fraction_of_bound"], share, rel_tol=2e-3)
    assert any("malloc" in line["peer_name"] or "kept pages" in line["peer_name"] for line in found) == (what == "lrn")


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
