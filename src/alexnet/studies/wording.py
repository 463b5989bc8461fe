"""A claim's numbers in words: errors in points, losses in nats, ratios as times."""

from collections.abc import Iterable, Mapping
from typing import Any

from alexnet.studies.claim import LOSSES, Claim
from alexnet.studies.claims import ALL


def unit(e: Mapping[str, Any]) -> str:
    """Return the unit of an expectation's numbers: points (of error), nats or times."""
    return "times" if e["ratio"] else "nats" if e["measure"] in LOSSES else "points"


def number(value: float, e: Mapping[str, Any], sign: str = "") -> str:
    """Write a number without its unit; with "+" as `sign`, a difference above 0 gets a plus sign."""
    written = {"times": f"{value:.2f}", "nats": f"{value:{sign}.3f}", "points": f"{100 * value:{sign}.2f}"}[unit(e)]
    return written.replace("-", "−") if sign else written


def amount(value: float | None, e: Mapping[str, Any], sign: str = "") -> str:
    """Write a number with its unit; empty if it is missing."""
    return "" if value is None else f"{number(value, e, sign)} {unit(e)}"


def of_paper(e: Mapping[str, Any]) -> str:
    """Write the paper's number with as many digits as the paper has; empty if it gives no number."""
    if e["paper"] is None:
        return ""
    stated = round(e["paper"] * (100 if unit(e) == "points" else 1), 4)
    return "1 point" if stated == 1 and unit(e) == "points" else f"{stated:g} {unit(e)}"


def between(e: Mapping[str, Any], sign: str = "") -> str:
    """Write the 95 % interval without its unit; empty if it is missing."""
    return "" if e["low"] is None else f"{number(e['low'], e, sign)} to {number(e['high'], e, sign)}"


def first_expected(claim: Claim) -> dict[str, Any]:
    """Make the row of a claim that has no run yet, with the same keys as that of a judged claim."""
    e = next(e for e in claim.expects if e.judged)
    return {
        "claim": claim.name,
        "section": claim.section,
        "verdict": "not run",
        "seeds": 0,
        "paper": e.paper,
        "log": e.log,
        "ratio": e.ratio,
        "measure": e.measure,
        "margin": claim.margin,
    } | dict.fromkeys(("difference", "low", "high", "p", "p_holm", "paper_inside", "needed_paper"))


def every_claim(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """List a row for every claim in the paper's order: the one in `rows`, or that of a claim without runs."""
    judged = {row["claim"]: row for row in rows}
    return [judged.get(claim.name) or first_expected(claim) for claim in ALL]
