"""The public names of the package."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

import alexnet

NAMES = ["AlexNet", "Recipe", "RECIPES", "recipe", "Store", "Run", "prepare", "train", "evaluate", "predict"]
NAMES += ["features", "similar", "study", "fit", "report", "load", "export", "import_weights"]


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, alexnet; alexnet.recipe('paper'); alexnet.RECIPES; alexnet.Store; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert name in dir(alexnet)
    if name == "Run" and find_spec("alexnet.runs.run") is None:
        pytest.skip("alexnet.runs.run is to come")
    assert getattr(alexnet, name).__doc__


def test_no_other_name_is_there() -> None:
    assert sorted(dir(alexnet)) == sorted([*NAMES, "__version__"])
    assert alexnet.__version__
    assert not hasattr(alexnet, "no_such_name")
