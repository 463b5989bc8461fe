"""The package as a stranger meets it."""

import subprocess
import sys

import alexnet


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, alexnet; alexnet.RECIPES; alexnet.Store; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_public_name_is_there() -> None:
    for name in ("AlexNet", "Recipe", "RECIPES", "Store", "prepare", "train", "evaluate", "predict", "load"):
        assert name in dir(alexnet)
        assert getattr(alexnet, name) is not None
    assert alexnet.__version__
    assert not hasattr(alexnet, "no_such_name")
