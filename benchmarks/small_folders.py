"""Compare recipes, fine-tuned runs and a peer on small folders of pictures, at equal CPU time of one core.

    python benchmarks/small_folders.py PICTURES OUT [--only REGEX] [--seeds 0 1 2 3 4] [--hours H] [--keep FILE.jsonl]
    python benchmarks/small_folders.py PICTURES OUT --missing        # what is left to do, in order, and what it takes

PICTURES has imagenette/, cifar-10-batches-bin/ and tiny-imagenet-50/. A cell of the grid is a set, a number of
training pictures a class, equal or unequal counts, a budget in minutes of CPU time, an arm and a seed; SIZES, MINUTES
and `arms` have their values. The seed draws the pictures too. The epochs are chosen by a measured rate, so that the
schedule ends whole when the time is over. The budget covers training alone; preparing the store and the evaluation of
all held-out pictures at the end come on top.

The learning rates of `today` and the peer are tuned alike: each of FACTORS times their rate, for all sets at 200
pictures a class and 3 minutes, on a draw of TUNING_SEED, judged on training pictures that the draw left out. The
factor with the least mean error over the sets is used in all cells, or the arm's own rate if it is within TIE of it.
The arms of CAUSES are tuned in the same way, on the one set that they are compared on: nets that are trained as the
peer is, and lack a part of it. The other arms have the rates of their recipes. `tuned` starts from a run of `tiny` on
25,000 pictures of another set, whose time is not counted.

Each result is a file in OUT/records and is not made again. Nothing else is kept of a cell that was interrupted. The
process takes one core at lowest priority. --keep writes all results to one file, of which small_folders_table.py makes
tables.
"""

import argparse
import base64
import copy
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import small_folders_peer as peer
import torch
from small_folders_cells import SEEDS, Cell, grid, tuning
from small_folders_data import SETS, store_of

from alexnet.config.recipes import named
from alexnet.core.device import keep_pages
from alexnet.core.errors import InputError, Stopped, WorkFailed
from alexnet.core.files import json_bytes, lock_file, parse_json, write
from alexnet.data.store import Store
from alexnet.inference.evaluate import evaluate
from alexnet.runs import environment
from alexnet.runs.run import Run
from alexnet.training.finetune import tuned
from alexnet.training.train import train

STARTS = {"imagenette": "tiny-imagenet", "cifar10": "tiny-imagenet", "tiny-imagenet": "cifar10"}  # what `tuned` saw
START = 25_000, 25  # pictures and epochs of that
READING = 3.0  # CPU seconds in which a rate is measured
TIE = 0.005  # of the mean error: about a standard error over the 7,500 pictures that tuning is judged on
FEW = 4  # batches of the pictures that it is measured on, at most


class Work:
    """What is done, below one folder, and the means to do more."""

    def __init__(self, pictures: Path, out: Path, factor: float | None = None) -> None:
        self.pictures, self.out, self.factor = pictures, out, factor

    def file(self, cell: Cell) -> Path:
        """Return the file of a cell's record."""
        return self.out / "records" / f"{cell.name}.json"

    def record(self, cell: Cell) -> dict[str, Any] | None:
        """Read the record of a cell, if it is there."""
        file = self.file(cell)
        return parse_json(file.read_bytes()) if file.exists() else None

    def missing(self, cell: Cell) -> bool:
        """Tell whether a cell has no record, or one of a recipe or peer that has changed since."""
        found = self.record(cell)
        return found is None or found["of"] != of(cell)

    def factor_of(self, cell: Cell) -> float:
        """Return the factor of a cell's learning rates: its own, the given one, or the best of the runs that tune."""
        arm = cell.tuned_as
        if arm is None or cell.factor is not None:
            return cell.factor or 1.0
        if self.factor is not None:
            return self.factor
        runs = tuning(arm)
        errors = {one.factor or 1.0: 0.0 for one in runs}
        for one in runs:
            assert one.factor is not None
            found = self.record(one)
            if found is None or self.missing(one):
                raise InputError(f"{cell.name} needs {one.name} first: it tunes the learning rate")
            errors[one.factor] += found["top1"]
        best = min(errors, key=errors.__getitem__)
        return 1.0 if errors[1.0] - errors[best] <= TIE * len(runs) / len(errors) else best

    def store(self, cell: Cell) -> Store:
        """Prepare the store of a cell, and remove those of other draws."""
        stores, draw = self.out / "stores", f"{cell.set}-{cell.most}-{'un' * cell.unequal}equal-{cell.seed}-"
        for other in stores.iterdir() if stores.exists() else ():
            if not other.name.startswith(draw):
                shutil.rmtree(other)
        return store_of(self.pictures, cell.set, cell.most, cell.unequal, cell.seed, cell.side, stores)

    def start(self, cell: Cell) -> Path:
        """Train the run that fine-tuned runs of a set start from, or go on with it, or find it."""
        name, (pictures, epochs) = STARTS[cell.set], START
        folder, stores = self.out / "starts" / name, self.out / "start-stores"
        if not (folder.exists() and any(line["kind"] == "final" for line in Run(folder).log)):
            each = pictures // SETS[name].classes
            store = store_of(self.pictures, name, each, False, 0, 64, stores)
            folder.parent.mkdir(parents=True, exist_ok=True)
            train(
                store,
                folder,
                named("tiny").replace(epochs=epochs),
                name="tiny",
                resume=True,
                keep=1,
                device="cpu",
                quiet=True,
            )
            shutil.rmtree(stores)
        return folder

    def amount(self, cell: Cell, once: Callable[[int], float], part: float = 1.0) -> float:
        """Compute how much training fills a cell's budget: a number of epochs or steps, not whole.

        The rate is that of earlier runs of the group, so that their mean time nears the budget. First it is measured.

        Args:
            cell: The cell.
            once: Function that trains new weights for a number of epochs or steps, and returns the CPU seconds.
            part: How much of an epoch or step of the cell one of these is.
        """
        rates = []
        for file in (self.out / "records").glob(f"{cell.group}-*.json"):
            found = parse_json(file.read_bytes())
            if found.get("amount") and found["of"] == of(cell) and found["processor"] == environment.processor():
                rates.append(found["amount"] / found["seconds"])
        if rates:
            return 60 * cell.minutes * sum(rates) / len(rates)
        once(1)  # kernels compile, and memory is mapped
        count, first = 2, once(1)
        while (taken := once(count) - first) < READING:
            count *= 2
        each = taken / (count - 1)
        return (60 * cell.minutes - max(0.0, first - each)) / each * part

    def result(self, cell: Cell) -> dict[str, Any]:
        """Make a cell: train, and measure on all held-out pictures."""
        factor, store = self.factor_of(cell), self.store(cell)
        known = {
            "set": cell.set,
            "classes": len(store.classes),
            "each": round(len(store["train"]) / len(store.classes)),
            "most": cell.most,
            "unequal": cell.unequal,
            "train": len(store["train"]),
            "held_out": len(store["val"]),
            "arm": cell.arm,
            "recipe": cell.recipe,
            "of": of(cell),
            "side": store.side,
            "minutes": cell.minutes,
            "seed": cell.seed,
            "lr_factor": factor,
            "store": store.digest[:12],
            "processor": environment.processor(),
        }
        made = self.by_peer(cell, store, factor) if cell.recipe is None else self.by_recipe(cell, store, factor)
        this = environment.this_process()
        return known | {name: this[name] for name in ("threads", "versions", "commit")} | made

    def by_recipe(self, cell: Cell, store: Store, factor: float) -> dict[str, Any]:
        """Train by a recipe as `alexnet train` does, and evaluate with ten views."""
        assert cell.recipe is not None
        name, recipe, start = cell.recipe, named(cell.recipe), None
        if cell.arm == "tuned":
            start = self.start(cell)
            name, recipe = tuned(Run(start), store)
        rates = {"lr": recipe.sgd.lr * factor, "bias_lr": recipe.sgd.bias_lr * factor}
        recipe, folder = recipe.replace(sgd=rates, seed=cell.seed), self.out / "run"

        def once(part: Store, epochs: int) -> float:
            shutil.rmtree(folder, ignore_errors=True)
            held = part.subset(held_out=len(part.classes))  # to validate on after each epoch: no rate depends on it
            begun = time.process_time()
            how: dict[str, Any] = {"quiet": True, "save_every": 1e6, "keep": 1, "device": "cpu"}
            train(held, folder, recipe.replace(epochs=epochs), name=name, from_run=start, **how)
            return time.process_time() - begun

        few = first(store, FEW * recipe.sgd.batch)
        epochs = self.amount(cell, lambda count: once(few, count), len(few["train"]) / len(store["train"]))
        if epochs < 2 / 3:
            return {"why": f"an epoch takes {cell.minutes / epochs:.1f} minutes"}
        seconds = once(store, max(1, round(epochs)))
        run, found = Run(folder), evaluate(store, [folder], device="cpu")
        last = [line for line in run.log if line["kind"] == "epoch"][-1]
        made = {
            "epochs": run.recipe.epochs,
            "steps": last["step"],
            "amount": run.recipe.epochs,
            "seconds": round(seconds, 2),
            "top1": found.errors.top1,
            "one_view": found.one_view.top1,
            "nats": found.errors.nats,
            "training_error": last["train_error"],
            "precision": run.environment["precision"],
            "digest": run.recipe.digest,
            "changed": {f"sgd.{name}": rate for name, rate in rates.items()} if factor != 1 else {},
            "right": packed(found.probabilities.argmax(1) == found.labels),
        }
        shutil.rmtree(folder)
        return made

    def by_peer(self, cell: Cell, store: Store, factor: float) -> dict[str, Any]:
        """Train the peer, and evaluate with as many views."""
        lr, build = peer.LR * factor, peer.NETS[cell.arm]
        net = build(2, store.side)

        def once(steps: int) -> float:
            nonlocal net
            begun = time.process_time()
            torch.manual_seed(cell.seed)  # of the initial weights
            net = build(len(store.classes), store.side)
            peer.train(net, *tensors(store, "train"), steps, lr, cell.seed)
            return time.process_time() - begun

        steps = max(1, round(self.amount(cell, once)))
        seconds = once(steps)
        images, labels = tensors(store, "val")
        ten, one = (peer.probabilities(net, images, views) for views in (10, 1))
        right = (ten.argmax(1) == labels).numpy()
        return {
            "epochs": round(steps * peer.BATCH / len(store["train"]), 2),
            "steps": steps,
            "amount": steps,
            "seconds": round(seconds, 2),
            "top1": float(1 - right.mean()),
            "one_view": float((one.argmax(1) != labels).float().mean()),
            "nats": float(torch.nn.functional.nll_loss(ten.clamp_min(1e-30).log(), labels)),
            "precision": "bf16",
            "lr": lr,
            "right": packed(right),
        }


def of(cell: Cell) -> str:
    """Identify the recipe of a cell, or the peer: records of another one are made again."""
    if cell.recipe is not None:
        return named(cell.recipe).digest
    weights = sum(p.numel() for p in peer.NETS[cell.arm](10, SETS[cell.set].side).parameters())
    return f"{weights} weights, batch {peer.BATCH}, lr {peer.LR:g}"


def tensors(store: Store, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Read a split's pictures, uint8 (N, 3, side, side), and labels."""
    part = store[split]
    return torch.from_numpy(part.read(range(len(part)))).permute(0, 3, 1, 2), torch.from_numpy(part.labels)


def first(store: Store, pictures: int) -> Store:
    """Return a store with some of the training pictures, which says nothing but how long a step takes."""
    part = copy.copy(store)
    count = len(store["train"])
    part.splits = store.splits | {"train": store["train"].take(np.arange(min(pictures, count)) * count // pictures)}
    return part if pictures < count else store


def packed(right: Any) -> str:
    """Pack whether each held-out picture was classified right, eight to a byte, in base 64."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def main(words: list[str] | None = None) -> int:
    """Make what is missing, one cell after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="", metavar="REGEX", help="cells whose name holds this, and those that tune")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--factor", type=float, help="factor of the rates of today and the peer, instead of tuning")
    parser.add_argument("--hours", type=float, default=float("inf"), help="begin no cell that would end later")
    parser.add_argument("--missing", action="store_true", help="print what is missing, and do nothing")
    parser.add_argument("--keep", type=Path, help="write all results to this file")
    asked = parser.parse_args(words)
    work = Work(asked.pictures, asked.out, asked.factor)
    try:
        cells = [cell for cell in grid(asked.seeds) if re.search(asked.only, cell.name)]
        if asked.factor is None:
            arms = dict.fromkeys(cell.tuned_as for cell in cells if cell.tuned_as)
            before = {arm: next(i for i, cell in enumerate(cells) if cell.tuned_as == arm) for arm in arms}
            for arm in reversed(arms):  # the runs that tune an arm come before its first cell
                cells[before[arm] : before[arm]] = tuning(arm)
        missing = [cell for cell in cells if work.missing(cell)]
        if asked.missing:
            print(*(cell.name for cell in missing), sep="\n")
            print(
                f"{len(missing)} of {len(cells)} cells, {sum(c.minutes for c in missing) / 60:.1f} hours",
                file=sys.stderr,
            )
        elif missing:  # with none, --keep works beside another process
            do(work, missing, asked.hours)
        if asked.keep:
            records = [parse_json(file.read_bytes()) for file in sorted((asked.out / "records").glob("*.json"))]
            asked.keep.parent.mkdir(parents=True, exist_ok=True)
            write(asked.keep, [f"{json.dumps(one)}\n".encode() for one in records if "why" not in one])
    except (Stopped, KeyboardInterrupt):
        print("stopped; the cell in hand is not kept, those before it are", file=sys.stderr)
        return 130
    except (InputError, WorkFailed, OSError, re.error) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def do(work: Work, cells: Sequence[Cell], hours: float) -> None:
    """Make cells until their time would be over."""
    ends = time.monotonic() + 3600 * hours
    with lock_file(work.out / ".lock", f"another process works in {work.out}"):
        for cell in cells:
            if time.monotonic() + 60 * cell.minutes > ends:
                break
            found = work.result(cell)
            work.file(cell).parent.mkdir(parents=True, exist_ok=True)
            write(work.file(cell), [json_bytes(found)])
            print(json.dumps({"cell": cell.name} | {n: v for n, v in found.items() if n != "right"}), flush=True)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    keep_pages()
    if hasattr(os, "nice"):
        os.nice(19)
    sys.exit(main())
