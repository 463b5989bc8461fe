"""Compare balanced class weights with none, on a folder of photographs with unequal classes.

    python benchmarks/class_weights.py PICTURES OUT [--counts 200 20 5] [--seeds 0 1 2 3 4] [--keep FILE]

PICTURES has train/CLASS/ and val/CLASS/. For each seed the script cuts tall pictures (3:4) out of as many training
pictures of each class as --counts says, in turn over the classes, and out of all of val. A seed draws the pictures and
turns the counts by one class. The script prepares them as a user would, and trains twice from scratch: with
`sgd.class_weights` "none" and "balanced". Ten views of every val picture, of which each class has equally many, give
the errors. Each result is a file in OUT/records, and is not trained again. --keep writes all of them to one file, of
which class_weights_table.py makes a table; without it, the table is printed.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from class_weights_table import ARMS, Results, table
from PIL import Image

from alexnet.config.recipes import named
from alexnet.core import rng
from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import json_bytes, parse_json, write
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store import Store
from alexnet.inference.evaluate import evaluate
from alexnet.runs.run import Run
from alexnet.training.train import train

TALL = 3 / 4  # width of a picture over its height
SIDE = 64


def counts_of(classes: Sequence[str], counts: Sequence[int], seed: int) -> dict[str, int]:
    """Give each class its number of training pictures; the next seed gives it to the next class."""
    return {name: counts[(i + seed) % len(classes) % len(counts)] for i, name in enumerate(classes)}


def tall(source: Path, out: Path) -> None:
    """Cut the middle out of a picture, three quarters as wide as it is high."""
    with Image.open(source) as opened:
        picture = opened.convert("RGB")
    width = round(picture.height * TALL)
    left = (picture.width - width) // 2
    out.parent.mkdir(parents=True, exist_ok=True)
    picture.crop((left, 0, left + width, picture.height)).save(out.with_suffix(".png"), compress_level=1)


def store_of(source: Path, counts: Sequence[int], seed: int, out: Path) -> Store:
    """Draw and prepare the pictures of a seed, or find their store."""
    folder, store = out / f"draw-{seed}", out / f"store-{seed}"
    if not (store / "meta.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        classes = sorted(path.name for path in (source / "train").iterdir() if path.is_dir())
        for name, count in counts_of(classes, counts, seed).items():
            files = sorted((source / "train" / name).iterdir())
            if count > len(files):
                raise InputError(f"{source / 'train' / name} has {len(files)} pictures; --counts {count} needs as many")
            chosen = [files[i] for i in rng.permutation(len(files), seed, f"draw {name}").tolist()[:count]]
            for part, pictures in (("train", chosen), ("val", sorted((source / "val" / name).iterdir()))):
                for file in pictures:
                    tall(file, folder / part / name / file.name)
        prepare(folder, store, side=SIDE, jobs=1)
        shutil.rmtree(folder)
    return Store(store)


def result(arm: str, store: Store, recipe: str, epochs: int, seed: int, folder: Path) -> dict[str, Any]:
    """Train one run and measure it."""
    changes = {"views": {"pictures_per_crop": 1}, "sgd": {"shuffle": "each epoch", "class_weights": arm}}
    wanted = named(recipe).replace(**changes, epochs=epochs, seed=seed)
    shutil.rmtree(folder, ignore_errors=True)
    held = store.subset(held_out=len(store.classes))  # to validate on after each epoch: no rate depends on it
    begun = time.process_time()
    train(held, folder, wanted, name=recipe, quiet=True, save_every=1e6, keep=1)
    seconds = time.process_time() - begun
    found, environment = evaluate(store, [folder]), Run(folder).environment
    last = [line for line in Run(folder).log if line["kind"] == "epoch"][-1]
    return {
        "arm": arm,
        "seed": seed,
        "counts": store.class_counts["train"],
        "labels": np.bincount(found.labels).tolist(),
        "top1": found.errors.top1,
        "nats": found.errors.nats,
        "training_error": last["train_error"],
        "training_loss": last["train_loss"],
        "epochs": epochs,
        "seconds": round(seconds, 1),
        "recipe": Run(folder).recipe.digest,
        "name": recipe,
        "store": store.digest,
        "right": np.packbits(found.probabilities.argmax(1) == found.labels).tobytes().hex(),  # by picture
        "machine": environment["device"],
        "precision": environment["precision"],
        "commit": environment["commit"],
    }


def main(words: list[str] | None = None) -> int:
    """Train what is missing, one run after the other, and collect the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[200, 20, 5], help="training pictures, class by class")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--keep", type=Path, help="write all results to this file")
    asked = parser.parse_args(words)
    try:
        for seed in asked.seeds:
            store = store_of(asked.pictures, asked.counts, seed, asked.out)
            for arm in ARMS:
                file = asked.out / "records" / f"{arm}-{seed}.json"
                if file.exists():
                    continue
                found = result(arm, store, asked.recipe, asked.epochs, seed, asked.out / f"run-{arm}-{seed}")
                file.parent.mkdir(parents=True, exist_ok=True)
                write(file, [json_bytes(found)])
                print(json.dumps(found), flush=True)
        files = sorted((asked.out / "records").glob("*.json"))
        records = sorted((parse_json(f.read_bytes()) for f in files), key=lambda one: (one["arm"], one["seed"]))
        lines = ",\n".join(json.dumps(one) for one in records)
        whole = f'{{"pictures": {json.dumps(asked.pictures.name)},\n "runs": [\n{lines}\n ]\n}}\n'.encode()
        if asked.keep:
            asked.keep.parent.mkdir(parents=True, exist_ok=True)
            write(asked.keep, [whole])
        print(table(Results(json.loads(whole))), end="")
    except (InputError, WorkFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
