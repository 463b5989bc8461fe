"""Which net a recipe describes."""

from alexnet.cifar import Cifar
from alexnet.mlp import Mlp
from alexnet.network import AlexNet, Layout
from alexnet.recipe import AnyNet, CifarNet, Net

Network = AlexNet | Cifar | Mlp


def build(net: AnyNet, seed: int, layout: Layout | None = None) -> Network:
    """The net that a recipe describes, or what a layout has of it, with its initial weights."""
    if isinstance(net, Net):
        return AlexNet(net, seed, layout)
    return Cifar(net, seed) if isinstance(net, CifarNet) else Mlp(net, seed)
