"""The size of a measurement, and its pictures."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.core.errors import InputError
from alexnet.data.images.decode import decode
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.sources import drawings


class Job:
    """The size of what is measured: pictures a step, rounds, and a folder of JPEGs, or None for drawn ones.

    `cache` and `workers` are those of the training from end to end, or None for the usual ones.
    """

    def __init__(
        self, batch: int, rounds: int, pictures: Path | None, cache: str | None = None, workers: int | None = None
    ) -> None:
        self.batch, self.rounds, self.folder, self.cache, self.workers = batch, rounds, pictures, cache, workers

    @property
    def whose(self) -> str:
        """The source of the JPEGs, in words."""
        return f"JPEGs of {self.folder}" if self.folder else "drawn JPEGs of 500 x 375"

    def jpegs(self, count: int = 128) -> list[bytes]:
        """Read JPEG files of the folder, or draw pictures with grain, so that they compress like photographs."""
        if self.folder:
            paths = sorted(p for p in self.folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))[:count]
            if not paths:
                raise InputError(f"folder {self.folder} holds no JPEG (.jpg, .jpeg)")
            for path in paths:
                try:
                    decode(path.read_bytes())
                except UnreadablePicture as error:
                    raise InputError(f"picture {path}: {error}; name a folder of undamaged JPEGs") from None
            return [p.read_bytes() for p in paths]
        grain = np.random.Generator(np.random.Philox(1))
        files = []
        for i in range(count):
            drawn = Image.fromarray(drawings.draw(i)).resize((500, 375))
            noisy = np.asarray(drawn) + grain.normal(0, 8, (375, 500, 3))
            out = io.BytesIO()
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=92)
            files.append(out.getvalue())
        return files
