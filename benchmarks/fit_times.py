"""Time `alexnet fit` on small folders: the minutes and the error that it promised, and those that it got.

    python benchmarks/fit_times.py PICTURES OUT [--minutes 2 5 10] [--each 200] [--seeds 0] [--keep FILE]

PICTURES has imagenette/, cifar-10-batches-bin/ and tiny-imagenet-50/, as for small_folders.py. The script draws a
folder of each set, as small_folders.py does, and runs `alexnet fit FOLDER OUT/... --minutes M --threads 1` on it, one
after the other. Leave the machine idle: "busy" in a result is the number of cores that all programs used meanwhile, and
should be 1. Each result is a file in OUT/records and is not made again. --keep writes all of them to one file, of which
fit_table.py makes a table.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from small_folders_data import SETS, drawn, make_folder

from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import json_bytes, parse_json, write
from alexnet.core.threads import Look
from alexnet.runs.run import Run


def result(folder: Path, out: Path, minutes: float, seed: int) -> dict[str, Any]:
    """Run `alexnet fit` once, and describe what it promised and got."""
    words = [str(folder), str(out), "--minutes", f"{minutes:g}", "--seed", str(seed), "--threads", "1", "--json"]
    before, begun = Look.now(), time.monotonic()
    done = subprocess.run([sys.executable, "-m", "alexnet", "fit", *words], capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - begun, Look.now()
    if done.returncode:
        raise WorkFailed(f"alexnet fit ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    found = parse_json(done.stdout.encode())
    run = Run(out / "run")
    busy = None if after.busy is None or before.busy is None else after.busy - before.busy
    evaluation, environment = found["evaluation"], run.environment
    return {
        "asked": found["asked"],
        "promised": found["promised"],
        "took": found["took"],
        "wall": round(wall / 60, 3),
        "busy": None if busy is None else round(busy / wall, 2),  # cores, with this one
        "recipe": found["recipe"],
        "side": found["side"],
        "epochs": found["epochs"],
        "why": found["why"],
        "expected": found["expected"],
        "known": found["known"],
        "top1": evaluation["top1"],
        "images": evaluation["images"],
        "train": environment["images"]["train"],
        "digest": run.recipe.digest,
        "processor": environment["device"],
        "threads": environment["threads"],
        "precision": environment["precision"],
        "commit": environment["commit"],
        "versions": environment["versions"],
    }


def main(words: list[str] | None = None) -> int:
    """Time what is missing, and collect the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--each", type=int, nargs="+", default=[200], help="training pictures of a class")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 5, 10])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--keep", type=Path, help="write all results to this file")
    asked = parser.parse_args(words)
    try:
        for seed in asked.seeds:
            for minutes in asked.minutes:
                for name in asked.sets:
                    for each in asked.each:
                        cell = f"{name}-{each}-{minutes:g}min-{seed}"
                        file, folder = asked.out / "records" / f"{cell}.json", asked.out / "pictures"
                        if file.exists():
                            continue
                        for left in (folder, asked.out / cell):
                            shutil.rmtree(left, ignore_errors=True)
                        train, held = drawn(asked.pictures, name, each, False, seed)
                        make_folder({"train": train, "val": held}, folder)
                        found = {"set": name, "each": each, "seed": seed}
                        found |= result(folder, asked.out / cell, minutes, seed)
                        file.parent.mkdir(parents=True, exist_ok=True)
                        write(file, [json_bytes(found)])
                        print(json.dumps({"cell": cell} | found), flush=True)
                        for left in (folder, asked.out / cell):
                            shutil.rmtree(left)
        if asked.keep:
            records = [parse_json(file.read_bytes()) for file in sorted((asked.out / "records").glob("*.json"))]
            lines = ",\n".join(json.dumps(one) for one in records)
            asked.keep.parent.mkdir(parents=True, exist_ok=True)
            write(asked.keep, [f'{{"fits": [\n{lines}\n]}}\n'.encode()])
    except KeyboardInterrupt:
        print("stopped; the fit in hand is not kept, those before it are", file=sys.stderr)
        return 130
    except (InputError, WorkFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
