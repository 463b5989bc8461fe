"""AlexNet as a system: the image classifier of 2012 (Krizhevsky, Sutskever & Hinton), whole, on PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from alexnet.version import __version__

if TYPE_CHECKING:
    from alexnet.config.recipe import Recipe as Recipe
    from alexnet.config.recipes import RECIPES as RECIPES
    from alexnet.data.prepare.prepare import prepare as prepare
    from alexnet.data.store import Store as Store
    from alexnet.inference.evaluate import evaluate as evaluate
    from alexnet.inference.predict import predict as predict
    from alexnet.models.alexnet import AlexNet as AlexNet
    from alexnet.runs.run import Run as Run
    from alexnet.runs.run import load as load
    from alexnet.training.train import train as train

__all__ = [
    "RECIPES",
    "AlexNet",
    "Recipe",
    "Run",
    "Store",
    "__version__",
    "evaluate",
    "load",
    "predict",
    "prepare",
    "train",
]

# Where each public name lives: read on first use, so that importing the package does not import torch.
_HOMES = {
    "AlexNet": "models.alexnet",
    "RECIPES": "config.recipes",
    "Recipe": "config.recipe",
    "Store": "data.store",
    "evaluate": "inference.evaluate",
    "Run": "runs.run",
    "load": "runs.run",
    "predict": "inference.predict",
    "prepare": "data.prepare.prepare",
    "train": "training.train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'alexnet' has no attribute {name!r}")
    value = getattr(import_module(f"alexnet.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
