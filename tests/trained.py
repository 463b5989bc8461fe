"""What tests look at in a run, what they alter in it, and the command that makes one."""

import json
from pathlib import Path

import torch
from torch import Tensor

from alexnet.config.recipe import Recipe
from alexnet.core.files import sign, write
from alexnet.runs import checkpoint, log
from alexnet.runs.run import Run


def training(store: Path, run: Path, recipe: Path, every: int = 0, keep: int = 2) -> list[object]:
    """The command, which saves after each step, or so many seconds."""
    always = ["--precision", "fp32", "--save-every", every, "--keep", keep, "--resume", "--json"]
    return ["train", store, run, "--recipe", recipe, *always]


def weights(run: Path) -> dict[str, Tensor]:
    """Weights and velocities of the newest checkpoint, and the best weights so far."""
    newest = checkpoint.list_checkpoints(run)[-1]
    found = {f"{f}:{n}": t for f in checkpoint.FILES for n, t in checkpoint.read_tensors(newest, f).items()}
    return found | {f"best.safetensors:{n}": t for n, t in best(run).items()}


def best(run: Path) -> dict[str, Tensor]:
    """The best weights that the newest checkpoint names; none before the first epoch's end."""
    opened = Run(run)
    name = checkpoint.read_state(opened.checkpoints[-1], opened.identity).best
    return checkpoint.read_tensors(run / "checkpoints" / name, checkpoint.FILES[0]) if name else {}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether all bits are."""
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def alike(a: Path, b: Path) -> bool:
    """Whether two runs have come to the same bits."""
    return same(weights(a), weights(b))


def epochs(run: Path) -> list[dict[str, object]]:
    """The log's epochs without the clock."""
    return [line | {"seconds": None} for line in log.read(run) if line["kind"] == "epoch"]


def step(run: Path) -> int:
    """The newest checkpoint's, if there is one."""
    try:
        return max((checkpoint.step_and_attempt(path)[0] for path in checkpoint.list_checkpoints(run)), default=0)
    except FileNotFoundError:  # going just now
        return 0


def past(run: Path, before: int) -> bool:
    """Whether there is a checkpoint of a later step."""
    return step(run) > before


class Whole:
    """Recipes of so many epochs, of four steps each; and runs of them that nothing happens to."""

    def __init__(self, folder: Path, small: Recipe, store: Path) -> None:
        self.folder, self.small, self.store = folder, small, store

    def recipe(self, epochs: int) -> Path:
        """Its file."""
        path = self.folder / f"{epochs}.json"
        path.write_text(json.dumps(self.small.replace(epochs=epochs).plain()))
        return path

    def run(self, epochs: int) -> Path:
        """Its folder."""
        from alexnet.training.train import train

        folder = self.folder / str(epochs)
        if not folder.exists():
            train(self.store, folder, self.small.replace(epochs=epochs), precision="fp32", quiet=True)
        return folder


def resign(path: Path, **change: object) -> None:
    """Change a signed record, and make its checksum fit, as anyone can."""
    record = {key: value for key, value in json.loads(path.read_bytes()).items() if key not in ("format", "signature")}
    write(path, [json.dumps(sign(record | change)).encode()])


def put(run: Path, file: str, data: bytes) -> None:
    """Put something else in the place of a file of a run, or of its newest checkpoint; the checksums fit."""
    path = run / file if (run / file).exists() else checkpoint.list_checkpoints(run)[-1] / file
    digest = write(path, [data])
    record = run / "recipe.json" if path.parent == run else path.parent / "state.json"
    sums = json.loads(record.read_bytes()).get("sha256", {}) if path != record else {}
    if file in sums:
        resign(record, sha256=sums | {file: digest})
