"""AlexNet, the image classifier of 2012, rebuilt end to end in PyTorch.

The package prepares pictures, trains the two-tower network, evaluates it with ten views, and
tests the claims of the paper: A. Krizhevsky, I. Sutskever and G. E. Hinton, "ImageNet
Classification with Deep Convolutional Neural Networks", 2012.

    import alexnet
    alexnet.prepare("photographs", "store")  # photographs/ has a folder for each class
    alexnet.train("store", "run", alexnet.recipe("source").replace(epochs=30))
    alexnet.predict("run", ["holiday.jpg"])

Settings
    recipe      look up a recipe by name, or read one from a JSON file
    RECIPES     the named recipes: "paper", "source", "tiny", ...
    Recipe      every number that decides a result, with its section of the paper

From a folder to an answer
    fit         choose a recipe for your pictures and minutes, then prepare, train, evaluate and report

Data
    prepare     turn folders, archives, ImageNet or CIFAR-10 into a store
    Store       a prepared dataset; store["val"] is a torch Dataset

Training and results
    train       train a recipe's net on a store, into a run folder
    Run         a run folder: its recipe, log, checkpoints and classes
    evaluate    measure the error rates of one run, or of several as an ensemble
    report      write one HTML page about runs and studies
    study       test a claim of the paper by training and comparing nets

The network
    AlexNet     the network as a torch.nn.Module, with random weights
    load        load the trained net of a run, or one that was exported
    predict     name the likeliest classes of pictures
    features    compute the outputs of layers
    similar     find the most similar pictures of a store

Weights of other libraries
    import_weights  make a run of weights of torchvision, Caffe or ONNX
    export          write a trained net for ONNX, safetensors, torchvision or the hub

Most functions are also commands: see `alexnet --help`. A bad argument raises InputError, a
ValueError whose one line says what to do.
"""

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
    from alexnet.inference.predict import predict as predict
    from alexnet.inference.similar import similar as similar
    from alexnet.interop.exporting import export as export
    from alexnet.interop.importing import import_weights as import_weights
    from alexnet.models.alexnet import AlexNet as AlexNet
    from alexnet.reporting.fit import fit as fit
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
    "export",
    "features",
    "fit",
    "import_weights",
    "load",
    "predict",
    "prepare",
    "recipe",
    "report",
    "similar",
    "study",
    "train",
]

# The home of each public name. It is imported on first use, so that importing the package does not import torch.
_HOMES = {
    "AlexNet": "models.alexnet.AlexNet",
    "RECIPES": "config.recipes.RECIPES",
    "Recipe": "config.recipe.Recipe",
    "Run": "runs.run.Run",
    "Store": "data.store.Store",
    "evaluate": "inference.evaluate.evaluate",
    "export": "interop.exporting.export",
    "features": "inference.features.features",
    "fit": "reporting.fit.fit",
    "import_weights": "interop.importing.import_weights",
    "load": "runs.run.load",
    "predict": "inference.predict.predict",
    "prepare": "data.prepare.prepare.prepare",
    "recipe": "config.recipes.named",
    "report": "reporting.report.report",
    "similar": "inference.similar.similar",
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
