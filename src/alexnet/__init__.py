"""AlexNet as a system: the image classifier of 2012 (Krizhevsky, Sutskever & Hinton), whole, on PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet.checkpoint import load as load
    from alexnet.data.prepare import prepare as prepare
    from alexnet.data.store import Store as Store
    from alexnet.evaluation import evaluate as evaluate
    from alexnet.network import AlexNet as AlexNet
    from alexnet.prediction import predict as predict
    from alexnet.recipe import RECIPES as RECIPES
    from alexnet.recipe import Recipe as Recipe
    from alexnet.training import train as train

__version__ = "0.1.0"
__all__ = ["RECIPES", "AlexNet", "Recipe", "Store", "__version__", "evaluate", "load", "predict", "prepare", "train"]

# Where each public name lives: read on first use, so that importing the package does not import torch.
_HOMES = {
    "AlexNet": "network",
    "RECIPES": "recipe",
    "Recipe": "recipe",
    "Store": "data.store",
    "evaluate": "evaluation",
    "load": "checkpoint",
    "predict": "prediction",
    "prepare": "data.prepare",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'alexnet' has no attribute {name!r}")
    value = getattr(import_module(f"alexnet.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
