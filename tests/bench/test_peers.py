"""The peers do the same work."""

import pytest
import torch
from tests.rounding import reach

from alexnet.bench import peers
from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.models.build import build


@pytest.mark.parametrize("name", ["source", "paper"])
def test_the_stock_net_is_the_same_net_but_for_the_norm_within_maps(name: str) -> None:
    """Its logits are ours when it has our weights: what is raced is the same function."""
    recipe = RECIPES[name].replace(
        net={"spatial_lrn": None, "channels": (16, 16, 8, 8, 8), "hidden": 16, "classes": 5, "std": (0.1,) * 8}
    )
    assert isinstance(recipe.net, Net)
    ours, stock = build(recipe.net, 0).eval(), peers.Stock(recipe.net).eval()
    layers = [m for m in stock if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    for layer, (_, own) in zip(layers, ours.named_children(), strict=True):
        layer.load_state_dict(own.state_dict())
    if recipe.net.towers == 2:  # torch's norm knows no towers: let one tower's maps be zeros at their border
        return_maps = [layers[0], layers[1]]
        for layer in return_maps:
            torch.nn.init.zeros_(layer.weight[6:10].detach())
            assert layer.bias is not None
            torch.nn.init.zeros_(layer.bias[6:10].detach())
        for layer, own in zip(return_maps, (ours.get_submodule("conv1"), ours.get_submodule("conv2")), strict=True):
            own.load_state_dict(layer.state_dict())
    x = 60 * torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        theirs = stock(torch.nn.functional.pad(x, (0, 3, 0, 3)))
        # Dropout as printed halves the units of fc6 and fc7 in testing; torch's does nothing there.
        weights = dict(ours.named_parameters())
        weights["fc7.weight"].mul_(2)
        weights["fc8.weight"].mul_(2)
        found = ours(x)
        ours.double()
        (room,) = reach(lambda: [ours(x.double())], draws=2)
        assert room < 1e-3 * (found[0] - found[1]).abs().max()  # the pictures do come through
        torch.testing.assert_close(found, theirs, rtol=0, atol=2 * room)  # both in float32, the norms by other routes
