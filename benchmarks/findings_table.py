"""Write what was found into pages, from records: python benchmarks/findings_table.py [--check] RECORDS PAGE...

The lists go between markers. With --check nothing is written, and exit status 1 means that a page is out of date.
"""

import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from claims_table import judged
from pages import of_records, rewrite

from alexnet.core.errors import InputError
from alexnet.studies import claim, cost, designs
from alexnet.studies.claims import CLAIMS
from alexnet.studies.ladder import judge_ladders, steps_of
from alexnet.studies.record import arm_digest, read_records
from alexnet.studies.wording import amount, between, every_claim, of_paper

Row = Mapping[str, Any]
NONE = "No claim so far.\n"
DECIDED = ("holds", "opposite", "absent")


def counts(rows: Sequence[Row]) -> str:
    """Write how many claims have which verdict."""
    found = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in DECIDED}
    decided = sum(found.values())
    held, other, absent = (found[verdict] or "none" for verdict in DECIDED)
    words = (
        f"Of {len(rows)} claims, {decided} are decided. Of these, {held} held, {other} came out the other way, and the "
    )
    return f"{words}effect of {absent} is absent. {len(rows) - decided} are open.\n"


def with_verdict(rows: Sequence[Row], verdict: str) -> str:
    """List the claims with a verdict: what it says in plain words, and the numbers."""
    return "".join(bullet(row) for row in rows if row["verdict"] == verdict) or NONE


def bullet(row: Row) -> str:
    """Write a claim with its difference, what the paper has, and what else its arms show."""
    found = CLAIMS[row["claim"]]
    paper = of_paper(row)
    size = (
        f"; the paper has {paper}, which is {'in' if row['paper_inside'] else 'out'}side the interval" if paper else ""
    )
    words = f"- **{found.plain}** `{row['claim']}` (section {row['section']}): {amount(row['difference'], row, '+')} "
    words += f"({between(row, '+')}), {row['seeds']} seeds{size}."
    shown = [beside(e) for e in row["expects"] if not e["judged"] and e["low"] is not None]
    return f"{words}{' Beside it: ' if shown else ''}{'; '.join(shown)}{'.' if shown else ''}\n"


def beside(e: Row) -> str:
    """Write a difference that is shown and not judged."""
    measure = claim.MEASURES[e["measure"]].partition(",")[0]
    arms = f", {e['larger']} against {e['smaller']}," if e["larger"] != e["smaller"] else ""
    return f"{measure}{arms} {amount(e['difference'], e, '+')} ({between(e, '+')})"


def open_claims(rows: Sequence[Row]) -> str:
    """Write the claims without a verdict: why, and what deciding them takes."""
    lines = [("claim", "if it holds", "seeds so far", "why it is open", "core-hours in all"), ("---",) * 5]
    prices = {price["claim"]: price["core_minutes"] for price in cost.listing()}
    for row in rows:
        if row["verdict"] not in DECIDED:
            why = "not run" if row["verdict"] == "not run" else row["why"]
            hours = f"{prices[row['claim']] / 60:.1f}"
            lines.append((f"`{row['claim']}`", CLAIMS[row["claim"]].plain, f"{row['seeds']}", why, hours))
    return "".join(f"|{'|'.join(line)}|\n" for line in lines) if len(lines) > 2 else "Every claim is decided.\n"


def importance(rows: Sequence[Row]) -> str:
    """Write the gains of sections 3.1 to 3.4, which the paper sorts by importance, the largest of ours first."""
    names = ("two-towers", "lrn", "overlap")
    here = [row for row in rows if row["claim"] in names and row["difference"] is not None]
    lines = [("section", "idea", "the paper's gain", "ours"), ("---",) * 4]
    for row in sorted(here, key=lambda row: -row["difference"]):
        ours = f"{amount(row['difference'], row, '+')} ({between(row, '+')})"
        lines.append((row["section"], f"`{row['claim']}`", of_paper(row), ours))
    return "".join(f"|{'|'.join(line)}|\n" for line in lines) if here else "None of them has been run yet.\n"


def spread(records: Path) -> str:
    """Write how far nets of one recipe differ: those of ground A's own."""
    recipe = designs.GROUNDS["A"].recipe.replace(net={"classes": 10})
    runs = read_records(records).runs
    errors = [100 * r.plain["errors"]["ten_views"]["top1"] for r in runs if r.arm == arm_digest(recipe)]
    if len(errors) < 2:
        return "Not measured yet.\n"
    low, high, sd = min(errors), max(errors), statistics.stdev(errors)
    words = (
        f"Here {len(errors)} nets of recipe `small`, which differ in their seeds alone, err on {low:.1f} to {high:.1f} "
    )
    return f"{words}% of the pictures: a standard deviation of {sd:.2f} points.\n"


def since(records: Path) -> str:
    """Write the steps of the ladder since-2012 that are decided."""
    found = judge_ladders(read_records(records))
    steps = [step for ladder in found for step in steps_of(ladder) if step["verdict"] in DECIDED]
    words = {"holds": "helps", "opposite": "harms", "absent": "adds nothing"}
    sizes = [f"{amount(step['difference'], step, '+')} ({between(step, '+')})" for step in steps]
    lines = [f"- **{s['smaller']}** {words[s['verdict']]}: {size}.\n" for s, size in zip(steps, sizes, strict=True)]
    return "".join(lines) or "No step is decided yet.\n"


def main(words: list[str] | None = None) -> int:
    """Write the lists, or tell which pages are out of date."""
    asked = of_records(__doc__, words)
    try:
        rows = every_claim(judged(asked.records)[0])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    tables = {
        "findings": lambda: counts(rows),
        "findings-holds": lambda: with_verdict(rows, "holds"),
        "findings-opposite": lambda: with_verdict(rows, "opposite"),
        "findings-absent": lambda: with_verdict(rows, "absent"),
        "findings-importance": lambda: importance(rows),
        "findings-spread": lambda: spread(asked.records),
        "findings-since": lambda: since(asked.records),
        "findings-open": lambda: open_claims(rows),
    }
    return rewrite(asked.pages, tables, f"the records in {asked.records}", asked.check)


if __name__ == "__main__":
    sys.exit(main())
