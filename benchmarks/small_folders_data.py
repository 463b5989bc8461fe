"""The small folders of small_folders.py: draws from three public sets, prepared as a user would prepare them."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.core import rng
from alexnet.core.errors import InputError
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store import Store
from alexnet.studies.designs import TUNING_SEED

Pictures = dict[str, list[Path | np.ndarray]]  # the pictures of each class: files, or arrays of height x width x 3
RECORD = 1 + 3 * 32 * 32  # bytes of a picture of CIFAR-10's binary files, after its label
HELD_OUT = 250  # pictures a class to judge on, where the set has as many; the same for all seeds
PARTS = (1, 2, 4, 8, 16)  # unequal counts: classes have these parts of the largest, in turn
FEWEST = 3  # pictures of a class, at least


@dataclass(frozen=True)
class PictureSet:
    """A public set: its folder, its pictures' side in pixels, and that of its store for nets of small pictures."""

    folder: str
    classes: int
    pixels: int
    side: int


SETS = {
    "imagenette": PictureSet("imagenette", 10, 224, 64),
    "cifar10": PictureSet("cifar-10-batches-bin", 10, 32, 32),
    "tiny-imagenet": PictureSet("tiny-imagenet-50", 50, 64, 64),
}


def pictures_of(root: Path, name: str) -> tuple[Pictures, Pictures]:
    """List the training and the held-out pictures of a set."""
    folder = root / SETS[name].folder
    if not folder.is_dir():
        raise InputError(f"{folder} is missing: the set {name} belongs there")
    if name == "cifar10":
        train, test = cifar([folder / f"data_batch_{i}.bin" for i in range(1, 6)]), cifar([folder / "test_batch.bin"])
        return train, test
    train, val = (
        {one.name: list[Path | np.ndarray](sorted(one.iterdir())) for one in sorted((folder / part).iterdir())}
        for part in ("train", "val")
    )
    return train, val


def cifar(files: Sequence[Path]) -> Pictures:
    """Read pictures of CIFAR-10's binary files, by class."""
    rows = np.concatenate([np.fromfile(file, np.uint8).reshape(-1, RECORD) for file in files])
    pixels = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return {f"class {label}": list(pixels[rows[:, 0] == label]) for label in range(10)}


def counts_of(classes: Sequence[str], most: int, unequal: bool, seed: int) -> dict[str, int]:
    """Give each class its number of training pictures; of unequal numbers, the next seed turns them by one class."""
    parts = PARTS if unequal else (1,)
    return {name: max(min(FEWEST, most), most // parts[(i + seed) % len(parts)]) for i, name in enumerate(classes)}


def drawn(root: Path, name: str, most: int, unequal: bool, seed: int) -> tuple[Pictures, Pictures]:
    """Draw the training pictures of a seed, and the held-out pictures.

    A run that chooses a learning rate, with TUNING_SEED, is judged on training pictures that it did not see.
    """
    train, held = pictures_of(root, name)
    counts, tuning = counts_of(list(train), most, unequal, seed), seed >= TUNING_SEED
    for of, files in train.items():
        if counts[of] + tuning > len(files):
            raise InputError(f"class {of} of {name} has {len(files)} pictures; {counts[of]} were asked for")
    order = {of: rng.permutation(len(files), seed, f"draw {of}").tolist() for of, files in train.items()}
    if tuning:
        held = {of: [files[i] for i in order[of][counts[of] :]] for of, files in train.items()}
    first = {of: rng.permutation(len(files), 0, f"held out {of}").tolist()[:HELD_OUT] for of, files in held.items()}
    return (
        {of: [files[i] for i in order[of][: counts[of]]] for of, files in train.items()},
        {of: [files[i] for i in sorted(first[of])] for of, files in held.items()},
    )


def make_folder(parts: dict[str, Pictures], out: Path) -> None:
    """Write a folder of train/CLASS/ and val/CLASS/: hard links or copies of files, PNGs of arrays."""
    for part, classes in parts.items():
        for of, pictures in classes.items():
            place = out / part / of
            place.mkdir(parents=True)
            for i, picture in enumerate(pictures):
                if isinstance(picture, np.ndarray):
                    Image.fromarray(picture).save(place / f"{i:05}.png", compress_level=1)
                    continue
                try:
                    os.link(picture, place / picture.name)
                except OSError:  # on another disk
                    shutil.copyfile(picture, place / picture.name)


def store_of(root: Path, name: str, most: int, unequal: bool, seed: int, side: int, out: Path) -> Store:
    """Prepare the store of a draw at a side, or find it."""
    kind = "unequal" if unequal else "equal"
    store = out / f"{name}-{most}-{kind}-{seed}-{side}"
    if not (store / "meta.json").exists():
        folder = out / "draw"
        shutil.rmtree(folder, ignore_errors=True)
        train, val = drawn(root, name, most, unequal, seed)
        make_folder({"train": train, "val": val}, folder)
        prepare(folder, store, side=side, jobs=1)
        shutil.rmtree(folder)
    return Store(store)
