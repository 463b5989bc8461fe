"""The source of a deck: a run, records, or both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alexnet.core.errors import InputError
from alexnet.figures.run_data import RunData
from alexnet.reporting.results import UNLIKE, unlike
from alexnet.runs.folder import is_run
from alexnet.studies.judge import comparisons, judge_records
from alexnet.studies.record import Records, read_records

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """The run and the records of a deck; either may be missing, but not both.

    Attributes:
        run: The run, or None.
        records: The records, or None.
        rows: The judged claims, by name.
        looks: The number of comparisons that the p values are adjusted for.
    """

    run: RunData | None
    records: Records | None
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    looks: int = 0


def open_source(folder: Path, records: Path | None = None) -> Source:
    """Open the run or the records of a deck.

    Args:
        folder: A run, or a folder with records at any depth, such as that of a study.
        records: A folder with records, beside a run.

    Raises:
        InputError: `folder` is neither, `records` holds no record, or one of them is damaged.
    """
    if is_run(folder):
        run = RunData(folder, lambda done, of: None)
        return Source(run, *read(records)) if records else Source(run, None)
    if records:
        raise InputError(
            f"--records {records} goes with a run, and {folder} is not a run: it has no recipe.json; "
            f"name a run first, or leave out --records"
        )
    return Source(None, *read(folder))


def read(folder: Path) -> tuple[Records, dict[str, Mapping[str, Any]], int]:
    """Read and judge the records of a folder; raise InputError if it holds none."""
    records = read_records(folder)
    if not records.runs:
        left = (
            f" ({len(records.left)} files are left out, the first because {records.left[0].why})"
            if records.left
            else ""
        )
        raise InputError(f"{folder} is not a run and holds no record of a run{left}; name what train or study made")
    try:
        rows = judge_records(records)
    except InputError:
        raise
    except UNLIKE as error:
        raise unlike(folder, error, "study --records", "leave out the records that it did not write") from None
    return records, {row["claim"]: row for row in rows}, comparisons(rows)
