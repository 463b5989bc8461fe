import pytest
import torch
from tests.figures.drawn import written

from alexnet.config.recipes import RECIPES
from alexnet.figures.architecture import architecture
from alexnet.models.build import build
from alexnet.models.layer_table import layers_of


@pytest.mark.parametrize("name", ["paper", "source", "one-gpu", "tiny", "cifar-13", "cifar-11", "cifar-18"])
def test_the_architecture_has_every_layer_with_the_weights_of_the_live_net(name: str) -> None:
    with torch.device("meta"):
        net = build(RECIPES[name].net, 0)
    texts = written(architecture(net))
    for child, module in net.named_children():
        if not dict(module.named_parameters()):
            continue
        assert child in texts
        assert f"{sum(p.numel() for p in module.parameters()):,}" in texts
    towers = getattr(net.net, "towers", 1)
    for layer in layers_of(net.net)[:-1]:
        size = f"{layer.maps // towers} × {layer.side}²" if layer.side > 1 else f"{layer.maps // towers:,}"
        assert layer.name.startswith("pool") or texts.count(size) >= towers


def test_towers_meet_where_the_layers_see_both() -> None:
    """Each join has two dashed lines: conv3, fc6 and fc7. fc8 belongs to no tower, so its two lines are solid."""
    with torch.device("meta"):
        nets = [build(RECIPES[name].net, 0) for name in ("paper", "one-gpu")]
    for net, joins in zip(nets, (3, 0), strict=True):
        (axes,) = architecture(net).axes
        arrows = [arrow for text in axes.texts if (arrow := getattr(text, "arrow_patch", None))]
        assert sum(arrow.get_linestyle() != "-" for arrow in arrows) == 2 * joins
