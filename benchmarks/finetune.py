"""Compare training from scratch with training that starts from another run, on small folders of pictures.

    python benchmarks/finetune.py PICTURES START OUT [--each 10 30 100] [--seeds 0 1 2 3 4] [--keep FILE]

PICTURES has train/CLASS/ and val/CLASS/. For each seed and size the script draws a folder of that many pictures of each
class from train, with all of val, and prepares it as a user would. Then it trains there twice: from scratch by the
recipe of `scratch`, and by `alexnet train --from START` with no further word. Ten views of every val picture give the
error. Each result is a file in OUT/records, and is not trained again; several processes may share OUT. --keep writes
all of them to one file, of which finetune_table.py makes a table and a figure.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.config.recipe import Recipe
from alexnet.core import rng
from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import json_bytes, parse_json, write
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store import Store
from alexnet.inference.evaluate import evaluate
from alexnet.runs.run import Run
from alexnet.training.train import train

ARMS = ("scratch", "from")


def scratch(first: Recipe, pictures: int) -> Recipe:
    """Return the recipe from scratch for a number of training pictures: the start's, over more epochs (docs/log.md)."""
    changes = {"views": {"pictures_per_crop": 1}, "sgd": {"shuffle": "each epoch"}}
    return first.replace(**changes, epochs=180 if pictures >= 500 else 360)


def drawn(source: Path, each: int, seed: int, out: Path) -> Path:
    """Draw a folder of `each` training pictures a class, and all of val, as hard links or copies."""
    for folder in sorted(path for path in (source / "train").iterdir() if path.is_dir()):
        files = sorted(path for path in folder.iterdir() if path.is_file())
        if each > len(files):
            raise InputError(f"{folder} has {len(files)} pictures; --each {each} needs as many")
        order = rng.permutation(len(files), seed, f"draw {folder.name}").tolist()
        held_out = sorted((source / "val" / folder.name).iterdir())
        for part, chosen in (("train", [files[i] for i in order[:each]]), ("val", held_out)):
            place = out / part / folder.name
            place.mkdir(parents=True)
            for file in chosen:
                try:
                    os.link(file, place / file.name)
                except OSError:  # on another disk
                    shutil.copyfile(file, place / file.name)
    return out


def small_store(source: Path, each: int, seed: int, out: Path, side: int) -> Store:
    """Prepare the store of a draw, or find the one that is there."""
    folder, store = out / f"draw-{each}-{seed}", out / f"store-{each}-{seed}"
    if not (store / "meta.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        prepare(drawn(source, each, seed, folder), store, side=side, jobs=1)
        shutil.rmtree(folder)
    return Store(store)


def result(arm: str, store: Store, start: Run, each: int, seed: int, folder: Path) -> dict[str, Any]:
    """Train one run and measure it."""
    from alexnet.training.finetune import changed, tuned  # what --from chooses, with the seed of this run

    held = store.subset(held_out=len(store.classes))  # to validate on after each epoch: no rate depends on it
    shutil.rmtree(folder, ignore_errors=True)
    begun = time.process_time()
    how: dict[str, Any] = {"quiet": True, "save_every": 1e6, "keep": 1}
    if arm == "scratch":
        train(held, folder, scratch(start.recipe, len(store["train"])).replace(seed=seed), **how)
    else:
        name, recipe = tuned(start, store)
        train(held, folder, recipe.replace(seed=seed), name=name, from_run=start.folder, **how)
    seconds = time.process_time() - begun
    run = Run(folder)
    found, environment, recipe = evaluate(store, [folder]), run.environment, run.recipe
    last = [line for line in run.log if line["kind"] == "epoch"][-1]
    return {
        "arm": arm,
        "each": each,
        "seed": seed,
        "top1": found.errors.top1,
        "one_view": found.one_view.top1,
        "nats": found.errors.nats,
        "pictures": found.errors.images,
        "training_error": last["train_error"],
        "steps": last["step"],
        "seconds": round(seconds, 1),
        "recipe": recipe.digest,
        "store": store.digest,
        "changed": {n: value for n, value in changed(recipe, start.recipe).items() if n != "seed"},
        "right": np.packbits(found.probabilities.argmax(1) == found.labels).tobytes().hex(),  # by picture
        "machine": environment["device"],
        "precision": environment["precision"],
        "commit": environment["commit"],
    }


def described(start: Run, pictures: Path) -> dict[str, Any]:
    """Describe the run that the others start from, and name the folder of pictures."""
    errors = [line["top1"] for line in start.log if line["kind"] == "final"]
    of = start.environment
    told = {
        "name": start.name,
        "recipe": start.recipe.digest,
        "epochs": start.recipe.epochs,
        "top1": (errors or [None])[-1],
    }
    return {"pictures": pictures.name, "start": told | {"store": of["store_digest"], "images": of.get("images")}}


def main(words: list[str] | None = None) -> int:
    """Train what is missing, one run after the other, and collect the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("start", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--each", type=int, nargs="+", default=[10, 30, 100], help="training pictures of a class")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--keep", type=Path, help="write all results to this file")
    asked = parser.parse_args(words)
    try:
        start = Run(asked.start)
        side = start.transform.side
        for seed in asked.seeds:
            for each in asked.each:
                store = small_store(asked.pictures, each, seed, asked.out, side)
                for arm in ARMS:
                    file = asked.out / "records" / f"{arm}-{each}-{seed}.json"
                    if file.exists():
                        continue
                    found = result(arm, store, start, each, seed, asked.out / f"run-{arm}-{each}-{seed}")
                    file.parent.mkdir(parents=True, exist_ok=True)
                    write(file, [json_bytes(found)])
                    print(json.dumps(found), flush=True)
        if asked.keep:
            files = sorted((asked.out / "records").glob("*.json"))
            records = [parse_json(file.read_bytes()) for file in files]
            records.sort(key=lambda one: (one["each"], one["arm"], one["seed"]))
            asked.keep.parent.mkdir(parents=True, exist_ok=True)
            lines = ",\n".join(json.dumps(one) for one in records)
            head = json.dumps(described(start, asked.pictures), indent=1)[1:-2]
            write(asked.keep, [f'{{{head},\n "runs": [\n{lines}\n ]\n}}\n'.encode()])
    except (InputError, WorkFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
