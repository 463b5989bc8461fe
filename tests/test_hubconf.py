"""The entry point for torch.hub, from this folder."""

import runpy
from pathlib import Path

import pytest
import torch

import alexnet
from alexnet.core.errors import InputError

ROOT = Path(__file__).parents[1]
SMALL = {"channels": (8, 8, 8, 8, 8), "hidden": 16, "classes": 3}


def test_torch_hub_makes_nets_of_recipes_and_loads_trained_ones(run: Path) -> None:
    net = torch.hub.load(str(ROOT), "alexnet", source="local", recipe="tiny", **SMALL)
    assert type(net) is alexnet.AlexNet
    assert net(torch.zeros(2, 3, 56, 56)).shape == (2, 3)
    trained = torch.hub.load(str(ROOT), "alexnet", source="local", weights=run)
    assert torch.equal(trained.conv1.weight, alexnet.load(run).conv1.weight)  # type: ignore[union-attr, arg-type]
    found = runpy.run_path(str(ROOT / "hubconf.py"))
    assert [name for name, value in found.items() if callable(value) and not name.startswith("_")] == ["alexnet"]
    assert "Name of a recipe" in found["alexnet"].__doc__


def test_a_wrong_recipe_and_changes_of_a_trained_net_are_refused(run: Path) -> None:
    with pytest.raises(InputError, match="papre"):
        torch.hub.load(str(ROOT), "alexnet", source="local", recipe="papre")
    with pytest.raises(InputError, match="classes: the net of"):
        torch.hub.load(str(ROOT), "alexnet", source="local", weights=run, classes=10)
