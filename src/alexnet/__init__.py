"""AlexNet as a system: the image classifier of 2012 (Krizhevsky, Sutskever & Hinton), whole, on PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from alexnet.version import __version__

if TYPE_CHECKING:
    from alexnet.config.recipe import Recipe as Recipe
    from alexnet.config.recipes import RECIPES as RECIPES
    from alexnet.config.recipes import named as recipe
    from alexnet.data.prepare.prepare import prepare as prepare
    from alexnet.data.store import Store as Store
    from alexnet.inference.evaluate import evaluate as evaluate
    from alexnet.inference.features import features as features
    from alexnet.inference.features import similar as similar
    from alexnet.inference.predict import predict as predict
    from alexnet.models.alexnet import AlexNet as AlexNet
    from alexnet.reporting.report import report as report
    from alexnet.runs.run import Run as Run
    from alexnet.runs.run import load as load
    from alexnet.studies.run import study as study
    from alexnet.training.train import train as train

__all__ = [
    "RECIPES",
    "AlexNet",
    "Recipe",
    "Run",
    "Store",
    "__version__",
    "evaluate",
    "features",
    "load",
    "predict",
    "prepare",
    "recipe",
    "report",
    "similar",
    "study",
    "train",
]

# Where each public name lives: read on first use, so that importing the package does not import torch.
_HOMES = {
    "AlexNet": "models.alexnet.AlexNet",
    "RECIPES": "config.recipes.RECIPES",
    "Recipe": "config.recipe.Recipe",
    "Run": "runs.run.Run",
    "Store": "data.store.Store",
    "evaluate": "inference.evaluate.evaluate",
    "features": "inference.features.features",
    "load": "runs.run.load",
    "predict": "inference.predict.predict",
    "prepare": "data.prepare.prepare.prepare",
    "recipe": "config.recipes.named",
    "report": "reporting.report.report",
    "similar": "inference.features.similar",
    "study": "studies.run.study",
    "train": "training.train.train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'alexnet' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].rpartition(".")
    value = getattr(import_module(f"alexnet.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
