import json
import os
import shutil
from pathlib import Path

import pytest

from alexnet.core.files import sign
from alexnet.inference.evaluate import evaluate
from alexnet.runs import results
from alexnet.runs.run import Run


@pytest.fixture
def mine(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "mine")


def test_a_result_is_kept_once_for_each_evaluation_and_read_again(mine: Path, store: Path) -> None:
    kept = [
        evaluate(store, mine, split=split, views=views, precision="fp32", keep=True).kept
        for split, views in (("val", 1), ("train", 1), ("val", 10), ("val", 1))
    ]
    assert kept[0] == kept[3]
    assert len(set(kept)) == len(list((mine / "results").iterdir())) == 3
    found = results.read(Run(mine))
    assert [(r["split"], r["views"]) for r in found.records] == [("val", 10), ("val", 1), ("train", 1)]
    assert not found.left
    again = evaluate(store, mine, precision="fp32")
    plain = json.loads(json.dumps(again.plain(details=True)))
    assert {key: found.records[0][key] for key in plain} == plain
    assert again.kept is None
    best = evaluate(store, mine, views=1, precision="fp32", checkpoint="best", keep=True)
    assert best.progress[0].checkpoint.endswith("-best")
    found = results.read(Run(mine))
    assert (len(found.records), found.left) == (4, ())


def test_an_average_is_not_kept_and_a_run_without_results_has_none(mine: Path, store: Path) -> None:
    assert evaluate(store, [mine, mine], views=1, precision="fp32", keep=True).kept is None
    assert not (mine / "results").exists()
    assert results.read(Run(mine)) == results.Results((), ())


def test_a_result_that_is_removed_meanwhile_does_not_hide_the_others(
    mine: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(store, mine, views=1, precision="fp32", keep=True)
    listed = [*(mine / "results").iterdir(), mine / "results" / "removed.json"]
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter(listed))
    found = results.read(Run(mine))
    assert (len(found.records), found.left) == (1, ())


def test_a_result_that_cannot_be_kept_says_why(mine: Path, store: Path) -> None:
    (mine / "results").write_text("a file in its place")
    found = evaluate(store, mine, views=1, precision="fp32", keep=True)
    assert (found.kept, found.not_kept) == (None, os.strerror(17))
    ((path, why),) = results.read(Run(mine)).left
    assert path == mine / "results"
    assert why


def test_the_newest_results_are_read_up_to_a_number_and_a_size(
    mine: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate(store, mine, views=1, precision="fp32", keep=True).kept
    second = evaluate(store, mine, views=1, split="train", precision="fp32", keep=True).kept
    assert first
    assert second
    os.utime(first, (1, 1))
    for name, most in (("MOST", 1), ("IN_ALL", second.stat().st_size)):
        with monkeypatch.context() as patch:
            patch.setattr(results, name, most)
            found = results.read(Run(mine))
        assert [r["split"] for r in found.records] == ["train"]
        assert [(path, "too many" in why) for path, why in found.left] == [(first, True)]
    monkeypatch.setattr(results, "LARGEST", 100)
    assert "the limit is 100" in evaluate(store, mine, views=1, precision="fp32", keep=True).not_kept
    assert all("the limit is 100" in why for _, why in results.read(Run(mine)).left)


def test_a_record_of_another_run_or_a_newer_version_is_left_out(mine: Path, store: Path) -> None:
    path = evaluate(store, mine, views=1, precision="fp32", keep=True).kept
    assert path
    whole = {k: v for k, v in json.loads(path.read_bytes()).items() if k not in ("format", "signature")}
    for change, why in (({"run": "0" * 12}, "of another run"), ({"format": 7}, "install a newer alexnet")):
        path.write_text(json.dumps(sign(whole | change)))
        assert [why in each for _, each in results.read(Run(mine)).left] == [True]
