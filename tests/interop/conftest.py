"""What the tests of imports share: one run of each kind, made of random weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.foreign import (
    CAFFE,
    CAFFENET,
    TORCHVISION,
    Kind,
    binaryproto,
    caffe_views,
    caffemodel,
    mean_bgr,
    torchvision_views,
    torchvisions,
    weights,
    written,
)

from alexnet.interop.importing import import_weights

KINDS = {"torchvision": TORCHVISION, "bvlc": CAFFE, "caffenet": CAFFENET}


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a run of a kind; the same one each time."""
    made: dict[str, Path] = {}

    def one(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            kind = KINDS[name]
            if name == "torchvision":
                file = folder / "net.pth"
                torch.save(torchvisions(weights(kind)), file)
            else:
                file = written(folder, "net.caffemodel", caffemodel(kind, weights(kind)))
                written(folder, "mean.binaryproto", binaryproto(mean_bgr(kind)))
            import_weights(file, folder / "run")
            made[name] = folder / "run"
        return made[name]

    return one


def views(kind: Kind, pictures: object) -> torch.Tensor:
    """The central views as the kind's own library makes them."""
    return (torchvision_views if kind is TORCHVISION else caffe_views)(kind, pictures)  # type: ignore[arg-type]
