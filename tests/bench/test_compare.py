"""`alexnet bench --compare`: the change between two files, and its interval."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from alexnet.bench.compare import compare, interval
from alexnet.cli.main import main

WHAT = "training step (1 thread, CPU time)"


def line(ours: list[float], peer: list[float], **more: Any) -> dict[str, Any]:
    """Write a line as alexnet bench --json prints it."""
    a, b = sorted(ours)[len(ours) // 2], sorted(peer)[len(peer) // 2]
    return {
        "what": WHAT, "ours": a, "peer": b, "peer_name": "stock", "ratio": a / b, "bound": None,
        "fraction_of_bound": None, "unit": "pictures/s", "machine": "a processor", "ours_readings": ours,
        "peer_readings": peer, "version": "1", "commit": "abc",
    } | more  # fmt: skip


def written(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return int(stop.value.code or 0)


def test_a_slower_machine_cancels_in_the_ratio_to_a_common_peer(tmp_path: Path) -> None:
    """In the second run everything takes twice as long, and ours gained a tenth."""
    a = written(tmp_path / "a", line([100.0, 101.0, 99.0], [50.0, 50.5, 49.5]))
    b = written(tmp_path / "b", line([55.0, 55.55, 54.45], [25.0, 25.25, 24.75]))
    alone, against = compare(a, b)
    assert (alone.peer_name, alone.verdict) == (None, "slower")
    assert alone.ratio == pytest.approx(0.55)
    assert (against.peer_name, against.unit, against.verdict) == ("stock", "times", "faster")
    assert against.ratio == pytest.approx(1.1)
    assert (against.a, against.b) == (2.0, 2.2)
    assert (against.low, against.high) == pytest.approx((1.1, 1.1))  # the two drift together within each run


def test_times_count_as_speeds_and_our_own_code_is_no_peer(tmp_path: Path) -> None:
    """8 ms after 10 ms is 1.25 times as fast. A peer that is ours changes with the commit."""
    own = {"peer_name": "ours without any norm", "unit": "ms", "ratio": 1.0}
    a = written(tmp_path / "a", line([10.0, 10.0], [10.0, 10.0], **own))
    b = written(tmp_path / "b", line([8.0, 8.0], [5.0, 5.0], **own))
    (alone,) = compare(a, b)
    assert alone.ratio == pytest.approx(1.25)
    assert alone.verdict == "faster"


def test_the_interval_is_welchs() -> None:
    """At equal spread, three readings on each side have 4 degrees of freedom, and t of 0.975 is 2.7764."""
    a, b = [0.0, 0.1, 0.2], [1.0, 1.1, 1.2]
    ratio, low, high = interval(a, b)
    half = 2.7764 * math.sqrt(0.01 / 3 * 2)
    assert (ratio, low, high) == pytest.approx((math.e, math.exp(1 - half), math.exp(1 + half)), rel=1e-4)
    assert interval([0.0], [1.0, 1.1])[1:] == (None, None)


def test_of_two_runs_a_side_the_runs_count_and_not_their_readings(tmp_path: Path) -> None:
    """Each run is calm in itself, and the runs of one side differ by more than the sides do."""
    runs = [line([100.0, 100.1, 99.9], [50.0, 50.0, 50.0]), line([110.0, 110.1, 109.9], [50.0, 50.0, 50.0])]
    later = [line([105.0, 105.1, 104.9], [50.0, 50.0, 50.0]), line([116.0, 116.1, 115.9], [50.0, 50.0, 50.0])]
    one_run = list(compare(written(tmp_path / "a", runs[0]), written(tmp_path / "b", later[0])))
    assert {(change.verdict, change.runs) for change in one_run} == {("faster", 1)}
    two_runs = list(compare(written(tmp_path / "a", *runs), written(tmp_path / "b", *later)))
    assert {(change.verdict, change.runs) for change in two_runs} == {("no difference shown", 2)}


def test_a_difference_within_the_noise_is_not_called_one(tmp_path: Path) -> None:
    a = written(tmp_path / "a", line([100.0, 90.0, 110.0], [50.0, 55.0, 45.0]))
    b = written(tmp_path / "b", line([104.0, 93.0, 113.0], [50.0, 45.0, 55.0]))
    assert {change.verdict for change in compare(a, b)} == {"no difference shown"}
    one = written(tmp_path / "one", {k: v for k, v in line([104.0], [50.0]).items() if "readings" not in k})
    assert {change.verdict for change in compare(a, one)} == {"no interval"}


def test_the_command_prints_both_sides_and_names_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = line([1.0, 1.0], [1.0, 1.0], what="norm")
    a = written(tmp_path / "a", line([100.0, 101.0], [50.0, 50.5]), more)
    b = written(tmp_path / "b", line([120.0, 121.0], [50.0, 50.4], machine="another", commit="def+"))
    assert run("bench", "--compare", a, b) == 0
    said = capsys.readouterr().out
    assert f"A  {a}: a processor, alexnet 1, commit abc\nB  {b}: another, alexnet 1, commit def+\n" in said
    assert "ours against stock" in said
    assert "only in A: norm" in said
    assert "The machines differ." in said
    assert "One run of each" in said
    assert run("bench", "--compare", a, b, "--json") == 0
    rows = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert [row["peer_name"] for row in rows] == [None, "stock"]
    assert rows[0]["verdict"] == "faster"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no line"),
        ("word\n", "line 1, is not one of alexnet bench --json"),
        ('{"what": "step"}\n', "line 1, is not one of"),
        (json.dumps(line([1.0, 0.0], [1.0, 1.0])) + "\n", "line 1, is not one of"),
        (json.dumps(line([1.0, 1.0], [1.0, 1.0], what="another")) + "\n", "no measurement in common"),
        (json.dumps(line([1.0, 1.0], [1.0, 1.0], unit="ms")) + "\n", "measure one again"),
    ],
)
def test_a_file_that_is_not_of_bench_is_one_line_and_status_2(
    content: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = written(tmp_path / "good", line([1.0, 1.0], [1.0, 1.0]))
    (tmp_path / "bad").write_text(content)
    assert run("bench", "--compare", good, tmp_path / "bad") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert says in err
    assert run("bench", "--compare", good, tmp_path / "missing") == 2
    assert "cannot be read (No such file or directory)" in capsys.readouterr().err
    assert run("bench", "step", "--compare", good, good) == 2
    assert "--compare measures nothing" in capsys.readouterr().err
