"""The multiply-adds behind the bounds of computing."""

from alexnet.bench.computing import products
from alexnet.config.recipes import RECIPES
from alexnet.models import layer_table


def test_products_are_those_of_figure_2() -> None:
    """724.4 million multiply-adds forward; in training three times that, except for the gradient of conv1's input."""
    net = RECIPES["paper"].net
    assert products(net) == 724_406_816
    assert products(net, training=True) == 3 * 724_406_816 - layer_table.layers_of(net)[0].multiply_adds
