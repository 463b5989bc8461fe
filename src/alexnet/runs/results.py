"""Keep the results of evaluations in a run: RUN/results/SPLIT-CHECKPOINT-KEY.json, signed records.

The same evaluation again replaces its record: the same split of the same store, checkpoint, views, arithmetic and
choice of classes. Nothing that a training reads lies here.
"""

import errno
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alexnet.core.errors import InputError
from alexnet.core.files import check_signed, read_bytes, sign, write
from alexnet.runs.checkpoint import BEST_NAME, NAME
from alexnet.runs.run import Run

FOLDER = "results"
SPLITS = ("test", "val", "train")  # in the order of a report
LARGEST = 1 << 26  # bytes of a record; one of ILSVRC takes a million
IDENTITY = ("split", "store_digest", "views", "precision", "among")
MOST = 200  # records read of a run, the newest
IN_ALL = 1 << 26  # bytes of all the records read of a run


@dataclass(frozen=True)
class Results:
    """The results kept in a run.

    Attributes:
        records: The records, test before val before train, and the latest checkpoint first.
        left: Files that are left out, and why.
    """

    records: tuple[dict[str, Any], ...]
    left: tuple[tuple[Path, str], ...]


def keep(run: Run, record: Mapping[str, Any]) -> Path:
    """Write the record of an evaluation into its run.

    Args:
        run: The run.
        record: What `Evaluation.plain(details=True)` gives, with more if wanted.

    Returns:
        The file.

    Raises:
        OSError: The run cannot be written to, or the record is too large.
    """
    (checkpoint,) = (each["checkpoint"] for each in record["checkpoints"])
    which = json.dumps([checkpoint, *(record[name] for name in IDENTITY)])
    key = hashlib.sha256(which.encode()).hexdigest()[:8]
    path = run.folder / FOLDER / f"{record['split']}-{checkpoint}-{key}.json"
    told = {"run": run.identity, "written": datetime.now(UTC).isoformat(timespec="seconds")} | dict(record)
    data = json.dumps(sign(told), separators=(",", ":")).encode()
    if len(data) > LARGEST:
        raise OSError(errno.EFBIG, f"its record has {len(data):,} bytes; the limit is {LARGEST:,}", str(path))
    path.parent.mkdir(exist_ok=True)
    write(path, [data])
    return path


def read(run: Run) -> Results:
    """Read the results kept in a run. A damaged or foreign file is left out, and never stops the others."""
    folder = run.folder / FOLDER
    records: list[dict[str, Any]] = []
    left: list[tuple[Path, str]] = []
    room = IN_ALL
    try:
        found = [(_written(path), path) for path in folder.iterdir() if path.suffix == ".json"]
    except FileNotFoundError:
        return Results((), ())
    except OSError as error:
        return Results((), ((folder, error.strerror or str(error)),))
    for number, (_, path) in enumerate(sorted((each for each in found if each[0] is not None), reverse=True)):
        try:
            if number >= MOST or room <= 0:
                raise ValueError("there are too many results; move the older ones away")
            data = read_bytes(path, min(LARGEST, room))
            room -= len(data)
            records.append(_checked(path, data, run))
        except InputError as error:
            left.append((path, str(error)))
        except OSError as error:
            left.append((path, error.strerror or str(error)))
        except ValueError as error:
            left.append((path, str(error)))
    records.sort(key=lambda r: (SPLITS.index(r["split"]), -r["checkpoints"][0]["step"], -r["views"], r["precision"]))
    return Results(tuple(records), tuple(left))


def _written(path: Path) -> float | None:
    """Return when a file was written; None for one that was removed since it was listed."""
    with suppress(FileNotFoundError):
        return path.lstat().st_mtime
    return None


def _checked(path: Path, data: bytes, run: Run) -> dict[str, Any]:
    """Check a record; raise ValueError if it is damaged, foreign, or not what `keep` writes."""
    try:
        record = check_signed(path, data)
        sound = _sound(record, len(run.classes))
    except (KeyError, TypeError, AttributeError, RecursionError, UnicodeError):
        sound = False
    except ValueError as error:
        raise error if isinstance(error, InputError) else ValueError(f"damaged ({str(error)[:80]})") from None
    if not sound:
        raise ValueError("not what alexnet evaluate writes")
    if record["run"] != run.identity:
        raise ValueError("of another run")
    return record


def _sound(record: Mapping[str, Any], classes: int) -> bool:
    of, (checkpoint,), each, pairs = (record[name] for name in ("measures", "checkpoints", "per_class", "confusion"))
    rates = ("balanced_error", "chance_error", "best_constant_error", "mean_confidence", "right", "calibration_error")
    return (
        record["split"] in SPLITS
        and _all(str, (record[name] for name in ("run", "store", "store_digest", "precision", "among", "written")))
        and _errors(record)
        and _errors(record["one_view"])
        and _all(str, [checkpoint["checkpoint"], *of["never_found"]])
        and any(form.fullmatch(checkpoint["checkpoint"]) for form in (NAME, BEST_NAME))
        and _all(_count, (checkpoint["step"], checkpoint["epochs"], of["classes_with_pictures"]))
        and (checkpoint["epoch"] is None or _number(checkpoint["epoch"]))
        and isinstance(checkpoint["finished"], bool)
        and _all(_rate, [*(of[name] for name in rates), *of["balanced_interval"]])
        and len(of["balanced_interval"]) == 2
        and (of["majority_error"] is None or _rate(of["majority_error"]))
        and (of["majority_class"] is None or isinstance(of["majority_class"], str))
        and _all(_number, (of["brier"], of["calibration_error_by_chance"]))
        and len(each) == classes
        and all(_class(one) for one in each)
        and all(t in range(classes) and s in range(classes) and _number(n) for t, s, n in pairs)
    )


def _errors(of: Mapping[str, Any]) -> bool:
    pairs = [of["top1_interval"], of["top5_interval"]]
    return (
        _all(_rate, [of["top1"], of["top5"], *pairs[0], *pairs[1]])
        and all(len(pair) == 2 for pair in pairs)
        and _number(of["nats"])
        and _all(_count, (of["images"], of["views"]))
        and of["images"] > 0
    )


def _class(one: Mapping[str, Any]) -> bool:
    return (
        isinstance(one["class"], str)
        and _count(one["pictures"])
        and _all(_number, (one["found"], one["named"]))
        and all(one[name] is None or _rate(one[name]) for name in ("recall", "precision", "f1"))
        and (one["recall"] is None) == (one["pictures"] == 0)
    )


def _all(what: type | Callable[[Any], bool], values: Any) -> bool:
    return all(isinstance(value, what) if isinstance(what, type) else what(value) for value in values)


def _number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e18 and math.isfinite(value)


def _rate(value: Any) -> bool:
    return _number(value) and value <= 1


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 60
