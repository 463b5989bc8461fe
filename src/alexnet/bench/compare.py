"""Compare two files of `alexnet bench --out`, of two commits or two machines, with intervals."""

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alexnet.core.errors import InputError
from alexnet.core.files import parse_json, read_bytes

LARGEST = 16_000_000  # bytes of a file
OWN = ("ours ", "the same steps")  # how peers begin that are our own code, and change with it
LEVEL = 0.95
WORDS = {"what": str, "peer_name": str, "unit": str, "machine": str}
NUMBERS = ("ours", "peer", "ratio")


@dataclass(frozen=True)
class Change:
    """The difference of one figure between two files: of ours alone, or of ours against a peer in the same run.

    `a` and `b` are medians in `unit`; with a peer they are ours against it, and `unit` is "times". `ratio` is B's speed
    over A's, of the means of the logarithms, with its 95 % interval. `runs` is the smaller number of runs in a file.
    With two and more the interval is of the runs' means; with one it is of the readings, and covers their noise alone.
    """

    what: str
    peer_name: str | None
    unit: str
    a: float
    b: float
    ratio: float
    low: float | None
    high: float | None
    runs: int

    @property
    def verdict(self) -> str:
        """Say whether the interval excludes 1."""
        if self.low is None or self.high is None:
            return "no interval"
        return "faster" if self.low > 1 else "slower" if self.high < 1 else "no difference shown"

    def plain(self) -> str:
        """Write the change as a JSON object on one line."""
        rounded = {n: float(f"{v:.4g}") if isinstance(v, float) else v for n, v in asdict(self).items()}
        return json.dumps(rounded | {"verdict": self.verdict})


class Measured:
    """The lines of a file by what was measured and the peer; lines of several runs, one after another, are joined."""

    def __init__(self, file: Path) -> None:
        """Read a file.

        Raises:
            InputError: It cannot be read, or a line is not one that `alexnet bench --json` prints.
        """
        self.file = file
        self.lines: dict[tuple[str, str], list[dict[str, Any]]] = {}
        try:
            rows = read_bytes(file, LARGEST).decode().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise InputError(f"{file} cannot be read ({why}); name a file of alexnet bench --out") from None
        for number, row in enumerate(rows, 1):
            if row.strip():
                line = self._line(row, number)
                self.lines.setdefault((line["what"], line["peer_name"]), []).append(line)
        if not self.lines:
            raise InputError(f"{file} holds no line; name a file of alexnet bench --out")

    def _line(self, row: str, number: int) -> dict[str, Any]:
        try:
            line = parse_json(row.encode())
        except ValueError:
            line = None
        if not isinstance(line, dict) or not _right(line):
            raise InputError(f"{self.file}, line {number}, is not one of alexnet bench --json; name a file of --out")
        return line

    @property
    def named(self) -> str:
        """The machines, versions and commits of the lines."""
        every = [line for lines in self.lines.values() for line in lines]
        machines = "; ".join(dict.fromkeys(line["machine"] for line in every))
        commits = " and ".join(dict.fromkeys(str(line.get("commit") or "unknown") for line in every))
        versions = " and ".join(dict.fromkeys(str(line.get("version") or "unknown") for line in every))
        return f"{self.file}: {machines}, alexnet {versions}, commit {commits}"

    @property
    def machines(self) -> set[str]:
        """The machines of the lines."""
        return {line["machine"] for lines in self.lines.values() for line in lines}

    def whats(self) -> list[str]:
        """List what was measured, in order."""
        return list(dict.fromkeys(what for what, _ in self.lines))

    def ours(self, what: str) -> tuple[float, list[list[float]], str]:
        """Return ours: the median, the logarithms of the speeds of the readings of each run, and the unit.

        The lines of a benchmark in one run repeat one measurement of ours, a line a peer.
        """
        lines = [line for (name, _), lines in self.lines.items() if name == what for line in lines]
        runs = dict.fromkeys(tuple(line["ours_readings"]) or (line["ours"],) for line in lines)
        unit = lines[0]["unit"]
        sign = -1 if unit == "ms" else 1
        middle = statistics.median(reading for run in runs for reading in run)
        return middle, [[sign * math.log(r) for r in run] for run in runs], unit

    def against(self, what: str, peer: str) -> tuple[float, list[list[float]]]:
        """Return how many times as fast ours is as a peer: the median, and the logarithms of each run's turns."""
        runs: list[list[float]] = []
        for line in self.lines[what, peer]:
            sign = -1 if line["unit"] == "ms" else 1
            pairs = list(zip(line["ours_readings"], line["peer_readings"], strict=False))
            pairs = pairs or [(line["ours"], line["peer"])]
            runs.append([sign * math.log(mine / theirs) for mine, theirs in pairs])
        return statistics.median(line["ratio"] for line in self.lines[what, peer]), runs


def _right(line: Mapping[str, Any]) -> bool:
    """Tell whether a JSON object is a line of a benchmark; add empty readings where an older one lacks them."""
    if not all(isinstance(line.get(name), kind) for name, kind in WORDS.items()):
        return False
    for name in ("ours_readings", "peer_readings"):
        line.setdefault(name, [])  # type: ignore[attr-defined]
        if not isinstance(line[name], list):
            return False
    numbers = [line.get(name) for name in NUMBERS] + line["ours_readings"] + line["peer_readings"]
    return all(isinstance(n, int | float) and not isinstance(n, bool) and 0 < n < math.inf for n in numbers)


def compare(a: Path, b: Path) -> Iterator[Change]:
    """Compare what two files of `alexnet bench --out` both have: ours alone, and ours against each common peer.

    Args:
        a: The file of the one commit or machine.
        b: The file of the other.

    Yields:
        Ours, then ours against each peer that is not our own code, for each measurement that both have.

    Raises:
        InputError: A file is not one of `alexnet bench`, or both have nothing in common.
    """
    yield from changes(Measured(a), Measured(b))


def changes(one: Measured, other: Measured) -> Iterator[Change]:
    """Compare two files that were read."""
    common = [what for what in one.whats() if what in other.whats()]
    if not common:
        raise InputError(f"{one.file} and {other.file} have no measurement in common; measure the same parts in both")
    for what in common:
        (first, runs, unit), (second, others, unit_b) = one.ours(what), other.ours(what)
        if unit != unit_b:
            raise InputError(f"{what!r} is in {unit} in {one.file} and in {unit_b} in {other.file}; measure one again")
        yield Change(what, None, unit, first, second, *over_runs(runs, others))
        for name, peer in one.lines:
            if name == what and (what, peer) in other.lines and not peer.startswith(OWN):
                (ratio, runs), (ratio_b, others) = one.against(what, peer), other.against(what, peer)
                yield Change(what, peer, "times", ratio, ratio_b, *over_runs(runs, others))


def only_in(one: Measured, other: Measured) -> list[str]:
    """List what the first file measured and the second did not."""
    there = set(other.whats())
    return [what for what in one.whats() if what not in there]


def over_runs(
    a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]
) -> tuple[float, float | None, float | None, int]:
    """Compute what `interval` does: over the means of runs if both have two, else over readings; and the fewer runs."""
    count = min(len(a), len(b))
    if count < 2:
        return *interval([log for run in a for log in run], [log for run in b for log in run]), count
    return *interval([statistics.fmean(run) for run in a], [statistics.fmean(run) for run in b]), count


def mean_interval(logs: Sequence[float]) -> tuple[float | None, float | None]:
    """Compute Student's 95 % interval of exp(mean(logs)); twice None for one reading."""
    if len(logs) < 2:
        return None, None
    from scipy.special import stdtrit

    middle = statistics.fmean(logs)
    half = float(stdtrit(len(logs) - 1, (1 + LEVEL) / 2)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(middle - half), math.exp(middle + half)


def interval(a: Sequence[float], b: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Compute exp(mean(b) - mean(a)) and its 95 % interval: Welch's, which needs two readings of each.

    Args:
        a: Logarithms of speeds.
        b: Logarithms of other speeds.

    Returns:
        The ratio, and the ends of its interval or twice None.
    """
    gain = statistics.fmean(b) - statistics.fmean(a)
    if min(len(a), len(b)) < 2:
        return math.exp(gain), None, None
    parts = [statistics.variance(logs) / len(logs) for logs in (a, b)]
    if (total := sum(parts)) == 0:
        return math.exp(gain), math.exp(gain), math.exp(gain)
    from scipy.special import stdtrit

    df = total**2 / sum(part**2 / (len(logs) - 1) for part, logs in zip(parts, (a, b), strict=True))
    half = float(stdtrit(df, (1 + LEVEL) / 2)) * math.sqrt(total)
    return math.exp(gain), math.exp(gain - half), math.exp(gain + half)
