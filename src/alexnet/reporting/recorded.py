"""The claims that the records in a folder decide, in words for a report."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alexnet.core.errors import InputError
from alexnet.figures import claims as of_claims
from alexnet.figures.style import MARKS, rendered, save
from alexnet.reporting.results import UNLIKE, unlike
from alexnet.studies.judge import comparisons, judge_records
from alexnet.studies.record import Records, read_records
from alexnet.studies.wording import amount, between, of_paper

DOTS = 110  # per inch, as in report.py
HEAD = 64  # bytes; a record has its mark within them


def recorded(out: Path) -> dict[str, Any]:
    """Judge the records at OUT and below, and draw all claims into OUT/claims.png and .svg.

    Returns:
        "rows", a line for each claim; "left", the files that are left out; "runs", the number of records of runs; and
        "figure", or None without records; and "looks", the number of comparisons that the p values are adjusted for.

    Raises:
        InputError: A record has the right checksum but is not what `alexnet study` writes.
    """
    records = read_records(out)
    left = left_out(records, out)
    if not records.runs:
        return {"rows": [], "left": left, "runs": 0, "figure": None, "looks": 0}
    try:
        rows = judge_records(records)
        lines, looks = [line(row) for row in rows], comparisons(rows)
    except InputError:
        raise
    except UNLIKE as error:
        raise unlike(out, error, "study --records", "leave out the records that it did not write") from None
    figure = of_claims.draw_claims(rows)
    save(figure, out / "claims")
    data = base64.b64encode(rendered(figure, "png", DOTS)).decode()
    said = {"rows": lines, "left": left, "runs": len(records.runs), "looks": looks}
    words = {"title": of_claims.TITLE, "caption": of_claims.CAPTION}
    return said | {"figure": words | {"file": "claims.png", "data": f"data:image/png;base64,{data}"}}


def line(row: Mapping[str, Any]) -> dict[str, str]:
    """Write a judged claim in words, as a row of the table."""
    p = row["p"] if row["p_holm"] is None else row["p_holm"]
    alone = " alone" if row["p_holm"] is None else ""  # too few seeds for a verdict, and so not adjusted
    return {
        "claim": row["claim"],
        "section": row["section"],
        "paper": of_paper(row) or "no number",
        "log": amount(row["log"], row) or "no number",
        "ours": ours(row) or "no number",
        "p": "" if p is None else f"{p:.2g}{alone}",
        "seeds": f"{row['seeds']}",
        "mark": MARKS[row["verdict"]],
        "verdict": row["verdict"],
        "why": row["why"] + inside(row),
        "scale": f"{row['scale']}, {row['precision']}",
    }


def ours(row: Mapping[str, Any]) -> str:
    """Write a claim's difference with its 95 % interval; empty if it has no difference."""
    said = amount(row["difference"], row, "+")
    return f"{said} ({between(row, '+')})" if said and row["low"] is not None else said


def inside(row: Mapping[str, Any]) -> str:
    """Say whether the paper's number lies inside the interval; empty if it cannot be compared."""
    if row["paper_inside"] is None:
        return ""
    return f"; the paper's number lies {'inside' if row['paper_inside'] else 'outside'} the interval"


def left_out(records: Records, out: Path) -> list[dict[str, str]]:
    """List the damaged or unusable records, and why; other JSON of runs and studies is not meant."""
    folders = {each.path.parent for each in records.runs} | {each.path.parent for each in records.averages}
    return [
        {"file": each.path.relative_to(out).as_posix(), "why": each.why}
        for each in records.left
        if each.path.parent in folders or b'"record"' in head(each.path)
    ]


def head(path: Path) -> bytes:
    """Read the first bytes of a file; empty if it cannot be read, or is a pipe or a device, which may never end."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""
