import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import prepared

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A function that writes small distinct pictures to folder/<inside>/<class>/0.jpg ...."""

    def make(name: str = "source", inside: str = "", classes: str = "cat dog", each: int = 5, size: int = 40) -> Path:
        for label, kind in enumerate(classes.split()):
            folder = tmp_path / name / inside / kind
            folder.mkdir(parents=True, exist_ok=True)
            for n in range(each):
                colours = np.random.default_rng([label, n]).integers(0, 256, (size, size + 8, 3), np.uint8)
                Image.fromarray(colours).save(folder / f"{n}.jpg", quality=90)
        return tmp_path / name

    return make


@pytest.fixture
def fingerprint() -> Callable[[Path], dict[str, str]]:
    return prepared.fingerprint


@pytest.fixture
def shared() -> Path:
    """The folder of real pictures."""
    folder = Path(os.environ.get("ALEXNET_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"the real pictures are not at {folder}; set ALEXNET_DATA")
    return folder
