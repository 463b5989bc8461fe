"""Build the net that a recipe describes."""

from alexnet.config.recipe import AnyNet, CifarNet, Net
from alexnet.models.alexnet import AlexNet
from alexnet.models.cifar import Cifar
from alexnet.models.mlp import Mlp
from alexnet.models.network import Network


def build(net: AnyNet, seed: int) -> Network:
    """Build a recipe's net with its initial weights."""
    if isinstance(net, Net):
        return AlexNet(net, seed)
    return Cifar(net, seed) if isinstance(net, CifarNet) else Mlp(net, seed)
