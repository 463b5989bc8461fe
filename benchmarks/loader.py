"""Decoding and training views from JPEGs of 256 x 256, against a folder dataset with transforms in a DataLoader."""

import sys
import tempfile
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import peers
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from alexnet.bench.feeding import transform_for
from alexnet.bench.job import Job
from alexnet.bench.peers import recoded
from alexnet.bench.timing import Clock, Line, Work, compared, malloc
from alexnet.config.recipes import RECIPES
from alexnet.core.device import keep_pages
from alexnet.data.images.decode import FAST
from alexnet.data.loader import batches_in_order, training_batches
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store import Store

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # the usual normalisation of such pipelines
VIEW = 224


class Pictures(Sized, Protocol):
    """A dataset for a DataLoader."""

    def __getitem__(self, i: int) -> tuple[Tensor, int]: ...


class Folder(Dataset[tuple[Tensor, int]]):
    """Class folders read with Pillow, with random crop, random mirror and normalisation, as in torchvision."""

    def __init__(self, root: Path) -> None:
        classes = sorted(p for p in root.iterdir() if p.is_dir())
        self.files = [(path, label) for label, folder in enumerate(classes) for path in sorted(folder.iterdir())]
        self.mean, self.std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        path, label = self.files[i]
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        left, top = (int(torch.randint(0, margin + 1, ())) for margin in (image.width - VIEW, image.height - VIEW))
        image = image.crop((left, top, left + VIEW, top + VIEW))
        if torch.rand(()) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        return x.sub_(self.mean).div_(self.std), label


def dataset(root: Path) -> tuple[str, Pictures]:
    """Build torchvision's folder dataset, or the one of this file if it is missing, and name it."""
    try:
        vision, datasets, transforms = (peers.torchvision(part) for part in ("", "datasets", "transforms"))
    except peers.MissingError:
        return "torchvision-style folder (Pillow)", Folder(root)
    steps: list[Any] = [transforms.RandomCrop(VIEW), transforms.RandomHorizontalFlip()]
    steps += [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    folder: Pictures = datasets.ImageFolder(root, transforms.Compose(steps))
    return f"torchvision {vision.__version__.split('+')[0]} ImageFolder", folder


def folders(job: Job, root: Path, pictures: int) -> None:
    """Write JPEGs of 256 x 256, quality 90, in two classes: `pictures` to `root`/train and a few to `root`/val.

    They repeat a batch of the job's pictures.
    """
    small = [recoded(data) for data in job.jpegs(job.batch)]
    for split, count in (("train", pictures), ("val", 2)):
        for i in range(count):
            path = root / split / str(i % 2) / f"{i:06d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(small[i % len(small)])


def epochs(clock: Clock, job: Job, root: Path) -> Iterator[Line]:
    """Time an epoch of training views in random order. Bound: decoding with as many threads."""
    source = root / "pictures"
    folders(job, source, job.batch * max(2, 2 * clock.threads))  # enough batches for all workers
    prepare(source, root / "store", format="jpeg", jobs=1)
    store = Store(root / "store")
    split, transform = store["train"], transform_for(RECIPES["source"], store)
    dtype, cpu, alone = clock.compute.dtype, clock.compute.device, clock.threads == 1
    buffer = np.empty((job.batch, 256, 256, 3), np.uint8)

    def plan() -> list[np.ndarray]:
        return np.array_split(np.random.permutation(len(split)), len(split) // job.batch)

    def ours() -> None:
        if alone:
            for ids in plan():
                images = torch.from_numpy(split.read(ids, buffer[: len(ids)]))
                transform.augment(images, torch.from_numpy(ids), seed=0, epoch=1, dtype=dtype)
            return
        for batch in training_batches(
            split, job.batch, epochs=1, seed=0, reshuffle=True, first_step=0, device=cpu, workers=clock.threads
        ):
            transform.augment(batch.images, batch.ids, seed=0, epoch=1, first=batch.first, dtype=dtype)

    def decoding() -> None:
        if alone:
            for ids in plan():
                split.read(ids, buffer[: len(ids)])
        else:
            for _ in batches_in_order(split, job.batch, device=cpu, workers=clock.threads):
                pass

    name, data = dataset(source / "train")
    workers = 0 if alone else clock.threads
    a, bound, peer = clock.medians([ours, decoding, epoch(data, job.batch, workers)], job.rounds)
    whose = f"JPEGs of {job.folder}" if job.folder else "drawn JPEGs"
    decoder = "simplejpeg" if FAST else "Pillow"
    what = (
        f"decode ({decoder}) and views, {len(split)} {whose} at 256 x 256, batch {job.batch}, {clock.compute.precision}"
    )
    # The peer does less than ours: it has no colour noise and no mean image.
    name += f", PIL transforms (crop, mirror, normalise; no colour noise; fp32), DataLoader with {workers} workers"
    yield compared(what, a, peer, f"{name}, {malloc(True)}", clock, amount=len(split), bound=bound)


def epoch(data: Pictures, batch: int, workers: int) -> Work:
    """Make an epoch of a DataLoader, whose workers stay alive between epochs."""
    options: dict[str, Any] = {"persistent_workers": True, "worker_init_fn": settle} if workers else {}
    batches: DataLoader[Any] = DataLoader(data, batch, shuffle=True, num_workers=workers, **options)  # type: ignore[arg-type]

    def read() -> None:
        for _ in batches:
            pass

    return read


def settle(worker: int) -> None:
    """Set malloc in a worker, whatever its start method."""
    keep_pages()


def lines(batch: int, rounds: int, threads: int | None, pictures: Path | None) -> Iterator[Line]:
    """Time an epoch by each clock."""
    for clock in peers.clocks(threads):
        with tempfile.TemporaryDirectory() as folder:
            yield from epochs(clock, Job(batch, rounds, pictures), Path(folder))


def main() -> int:
    """Measure and print."""
    parser = peers.parser(__doc__, 128, "pictures per batch")
    parser.add_argument("--pictures", type=Path, help="folder of JPEGs, resized to 256 x 256 (default: drawn pictures)")
    flags = parser.parse_args()
    try:
        peers.torchvision("datasets")
    except peers.MissingError as missing:
        peers.say(f"{missing}; a short copy of its dataset is measured instead")
    return peers.show(lines(flags.batch, flags.rounds, flags.threads, flags.pictures), flags.json)


if __name__ == "__main__":
    sys.exit(main())
