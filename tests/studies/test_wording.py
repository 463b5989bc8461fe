from alexnet.studies.claims import ALL, CLAIMS
from alexnet.studies.wording import amount, between, every_claim, first_expected, of_paper, unit


def test_a_number_is_written_in_the_unit_of_what_was_measured() -> None:
    numbers = {"low": -0.002, "high": 0.0214}
    points, nats, times = (first_expected(CLAIMS[name]) | numbers for name in ("lrn", "decay", "relu-tanh"))
    assert [unit(e) for e in (points, nats, times)] == ["points", "nats", "times"]
    assert amount(0.017, points) == "1.70 points"
    assert amount(-0.017, points, "+") == "−1.70 points"
    assert amount(0.03, nats, "+") == "+0.030 nats"
    assert amount(2.6, times, "+") == "2.60 times"
    assert amount(None, points) == ""
    assert [of_paper(e) for e in (points, nats, times)] == ["1.4 points", "", "6 times"]
    assert of_paper(first_expected(CLAIMS["colour"])) == "1 point"
    assert between(points, "+") == "−0.20 to +2.14"
    assert between(points | {"low": None}) == ""


def test_a_claim_without_a_row_is_not_run_and_the_papers_order_stays() -> None:
    rows = every_claim([first_expected(CLAIMS["colour"]) | {"verdict": "holds"}])
    assert [row["claim"] for row in rows] == [claim.name for claim in ALL]
    assert {row["claim"] for row in rows if row["verdict"] != "not run"} == {"colour"}
