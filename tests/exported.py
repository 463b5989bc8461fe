"""Trained nets to export: one of each family of recipes, small, with weights that keep a signal alive."""

from pathlib import Path
from typing import Any

import torch
from tests.twins import enliven

from alexnet.config.recipe import LRN, MlpNet, Recipe, SpatialLRN
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute
from alexnet.data.store import Store
from alexnet.models.build import build
from alexnet.runs import checkpoint, folder
from alexnet.runs.published import Published
from alexnet.runs.run import Run

NARROW: dict[str, Any] = {"channels": (12, 16, 24, 24, 16), "hidden": 32, "classes": 7}
LARGE = NARROW | {"image_size": 63}
CIFAR: dict[str, Any] = {"image_size": 16, "classes": 7}
FAMILIES: dict[str, Recipe] = {
    **{name: RECIPES[name].replace(net=LARGE) for name in ("paper", "source", "one-gpu", "owt")},
    **{name: RECIPES[name].replace(net=LARGE | {"image_size": 67}) for name in ("bvlc", "caffenet")},
    "tiny": RECIPES["tiny"].replace(net=NARROW | {"image_size": 44}),
    "cifar-11": RECIPES["cifar-11"].replace(net=CIFAR | {"channels": (12, 12), "local": (8, 6)}),
    "cifar-18": RECIPES["cifar-18"].replace(net=CIFAR | {"channels": (8, 8, 12)}),
    "mlp": RECIPES["paper"].replace(net=MlpNet(image_size=20, hidden=(16, 12), classes=7, std=(0.01,) * 3)),
    "columns": RECIPES["paper"].replace(
        net=LARGE | {"cross_tower": False, "skip": (4,), "conv6": 8, "activation": "tanh", "pool": 2},
        views={"scale": 0.5, "std": (58.0, 57.0, 56.0)},
    ),
}
FAMILIES["columns"] = FAMILIES["columns"].replace(net={"lrn": LRN(n=3), "spatial_lrn": SpatialLRN(n=3)})


def published(name: str, margin: int = 8) -> Published:
    """The net of a family, with a mean picture that is larger by `margin` than its views."""
    recipe, chance = FAMILIES[name], torch.Generator().manual_seed(5)
    net = build(recipe.net, 3)
    enliven(net, 7)
    side = recipe.net.image_size + margin
    statistics = {
        "mean": 255 * torch.rand(side, side, 3, generator=chance),
        "eigenvalues": torch.tensor([900.0, 90.0, 9.0]),
        "eigenvectors": torch.eye(3),
    }
    classes = [f"class {i}" for i in range(recipe.net.classes)]
    return Published(name, recipe, classes, dict(net.state_dict()), statistics, "crop", "")


def pictures(count: int, side: int, seed: int = 1) -> torch.Tensor:
    """Pictures of noise, uint8."""
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=chance)


def made_run(path: Path, recipe: Recipe, store: Path) -> Path:
    """A run with random weights, as training would leave it before its first step."""
    opened = Store(store)
    recipe = recipe.replace(net={"classes": len(opened.classes)})
    path.mkdir()
    folder.create(path, "made", recipe, opened, Compute(torch.device("cpu"), "fp32"))
    net = build(recipe.net, 3)
    enliven(net, 7)
    weights = dict(net.named_parameters())
    checkpoint.save(path, weights, weights, checkpoint.State(0, (), 0.0), Run(path).identity, 1)
    return path
