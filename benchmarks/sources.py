"""Rate and memory of `alexnet prepare` by kind of source: python benchmarks/sources.py [--markdown PAGE] [--pictures N]

Makes N small JPEGs, packs them as Parquet, WebDataset shards, a CSV table with files, and class folders, and runs
`alexnet prepare` on each with a quarter of the pictures and with all. The memory is the largest sum of the resident
memory of the command and its child processes, sampled each 20 ms; pages that several share count once (PSS). The rate
is by CPU time, which other programs disturb less; the lines of each measurement have the seconds too.
"""

import argparse
import csv
import io
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gpu_table import table as cells
from pages import rewrite
from PIL import Image

from alexnet.runs.environment import processor

CLASSES = 10
DRAWN = 500  # different pictures, each packed several times
SHARD = 5000  # pictures of a Parquet file or a tar
PICTURES, PART = 200_000, 4
MARK = "sources"


def drawings(side: int) -> list[bytes]:
    """Draw some JPEGs of noise over a colour, of different sizes."""
    made = []
    for n in range(DRAWN):
        numbers = np.random.default_rng(n)
        height, width = side + n % 7, side + n % 11
        noise = numbers.integers(0, 60, (height, width, 3)) + numbers.integers(0, 190, 3)
        out = io.BytesIO()
        Image.fromarray(noise.astype(np.uint8)).save(out, "JPEG", quality=85)
        made.append(out.getvalue())
    return made


def folders(pictures: list[bytes], count: int, to: Path) -> Path:
    """Write each picture as a file of its class's folder."""
    for label in range(CLASSES):
        (to / f"class{label}").mkdir(parents=True)
    for n in range(count):
        (to / f"class{n % CLASSES}/{n:07d}.jpg").write_bytes(pictures[n % DRAWN])
    return to


def table(pictures: list[bytes], count: int, to: Path) -> Path:
    """Write each picture as a file, and a CSV table of their labels."""
    (to / "images").mkdir(parents=True)
    with (to / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label"])
        for n in range(count):
            folder = to / f"images/{n // SHARD:03d}"
            folder.mkdir(exist_ok=True)
            (folder / f"{n:07d}.jpg").write_bytes(pictures[n % DRAWN])
            rows.writerow([f"images/{folder.name}/{n:07d}.jpg", f"class{n % CLASSES}"])
    return to / "labels.csv"


def shards(pictures: list[bytes], count: int, to: Path) -> Path:
    """Write WebDataset shards: KEY.jpg and KEY.cls."""
    to.mkdir(parents=True)
    for shard, first in enumerate(range(0, count, SHARD)):
        with tarfile.open(to / f"train-{shard:06d}.tar", "w") as tar:
            for n in range(first, min(first + SHARD, count)):
                for suffix, data in (("jpg", pictures[n % DRAWN]), ("cls", str(n % CLASSES).encode())):
                    info = tarfile.TarInfo(f"{n:07d}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return to


def parquet(pictures: list[bytes], count: int, to: Path) -> Path:
    """Write Hugging Face's Parquet files, in row groups of 100 rows as `datasets` does for pictures."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    (to / "data").mkdir(parents=True)
    names = [f"class{label}" for label in range(CLASSES)]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    total = -(-count // SHARD)
    for shard, first in enumerate(range(0, count, SHARD)):
        numbers = range(first, min(first + SHARD, count))
        rows = pa.table(
            {
                "image": pa.array([{"bytes": pictures[n % DRAWN], "path": f"{n:07d}.jpg"} for n in numbers]),
                "label": pa.array([n % CLASSES for n in numbers], pa.int64()),
            }
        ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        write_table(rows, to / f"data/train-{shard:05d}-of-{total:05d}.parquet", row_group_size=100)
    return to


KINDS: dict[str, Callable[[list[bytes], int, Path], Path]] = {
    "Parquet": parquet,
    "WebDataset shards": shards,
    "CSV table": table,
    "class folders": folders,
}


def tree(process: int) -> Iterator[int]:
    """Yield a process and its descendants."""
    yield process
    try:
        threads = os.listdir(f"/proc/{process}/task")
        children = [Path(f"/proc/{process}/task/{thread}/children").read_text().split() for thread in threads]
    except OSError:
        return
    for child in itertools.chain.from_iterable(children):
        yield from tree(int(child))


def resident(process: int) -> int:
    """Return the proportional resident memory of a process in bytes; 0 if it has ended."""
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def measured(source: Path, store: Path, side: int, jobs: int) -> dict[str, Any]:
    """Run `alexnet prepare` once: what it says, its seconds, and the peak memory of its processes."""
    argv = [sys.executable, "-m", "alexnet", "prepare", str(source), str(store), "--side", str(side)]
    argv += ["--jobs", str(jobs), "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        peak, ended = [0], threading.Event()

        def watch() -> None:
            while not ended.wait(0.02):
                peak[0] = max(peak[0], sum(map(resident, tree(process.pid))))

        watcher = threading.Thread(target=watch)
        watcher.start()
        started, before = time.monotonic(), cpu_seconds()
        out, errors = process.communicate()
        seconds, cpu = time.monotonic() - started, cpu_seconds() - before
        ended.set()
        watcher.join()
    if process.returncode:
        return {"error": errors.strip().splitlines()[-1:]}
    said = json.loads(out)
    found = {"pictures": sum(said["pictures"].values()), "kind": said["kind"]}
    return found | {"seconds": seconds, "cpu_seconds": cpu, "peak": peak[0]}


def cpu_seconds() -> float:
    """Return the CPU time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def packed(source: Path) -> int:
    """Return the bytes of a source's files."""
    top = source if source.is_dir() else source.parent
    return sum(path.stat().st_size for path in top.rglob("*") if path.is_file())


def kept(file: Path | None) -> list[dict[str, Any]]:
    """Read the lines of an earlier run."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file and file.exists() else []


def rows(arguments: argparse.Namespace) -> Iterator[list[str]]:
    """Measure each kind and yield a row of the table."""
    pictures = drawings(arguments.side)
    for kind, make in KINDS.items():
        if arguments.only and arguments.only not in kind:
            continue
        found = []
        for count in (arguments.pictures // PART, arguments.pictures):
            asked = {"source": kind, "asked": count, "side": arguments.side, "jobs": arguments.jobs}
            line = next((old for old in kept(arguments.keep) if asked.items() <= old.items()), None)
            if line is None:
                with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
                    source = make(pictures, count, Path(scratch) / "source")
                    asked["bytes"] = packed(source)
                    line = asked | measured(source, Path(scratch) / "store", arguments.side, arguments.jobs)
                    shutil.rmtree(Path(scratch) / "store", ignore_errors=True)
                print(json.dumps(line), flush=True)
                if arguments.keep and "error" not in line:
                    with arguments.keep.open("a") as file:
                        file.write(json.dumps(line) + "\n")
            if "error" in line or line["pictures"] != count:
                sys.stderr.write(f"{kind}: skipped, since prepare says {line.get('error', line)}\n")
                break
            found.append(line)
        else:
            few, all_ = found
            more = (all_["peak"] - few["peak"]) / (all_["pictures"] - few["pictures"])
            yield [
                kind,
                f"{all_['bytes'] / 1e6:,.0f}",
                f"{all_['pictures'] / all_['cpu_seconds']:,.0f}",
                f"{few['peak'] / 1e6:.0f}",
                f"{all_['peak'] / 1e6:.0f}",
                f"{more:.0f}",
            ]


def main() -> int:
    """Print a line for each measurement and then the table; with --markdown, write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", help="a kind of source, such as Parquet")
    parser.add_argument("--scratch", type=Path, help="the folder for sources and stores")
    parser.add_argument("--keep", type=Path, help="a file of measurements: its own are not repeated, new ones added")
    parser.add_argument("--markdown", type=Path, help="the page to write the table into")
    arguments = parser.parse_args()
    head = [
        "source",
        "MB",
        "pictures a CPU second",
        f"MB of memory at {arguments.pictures // PART:,}",
        f"at {arguments.pictures:,}",
        "bytes a picture more",
    ]
    found = cells(head, list(rows(arguments)))
    words = (
        f"`benchmarks/sources.py --pictures {arguments.pictures} --side {arguments.side} --jobs {arguments.jobs}`, "
        f"{processor()}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}"
    )
    print(found)
    if arguments.markdown:
        return rewrite([arguments.markdown], {MARK: lambda: f"{words}:\n\n{found}"}, "these figures", False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
