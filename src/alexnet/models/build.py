"""Build the net that a recipe describes."""

from alexnet.config.recipe import AnyNet, CifarNet, Net
from alexnet.models.alexnet import AlexNet
from alexnet.models.cifar import Cifar
from alexnet.models.mlp import Mlp
from alexnet.models.shard import ModelShard

AnyModel = AlexNet | Cifar | Mlp


def build(net: AnyNet, seed: int, layout: ModelShard | None = None) -> AnyModel:
    """Build a recipe's net, or the part of it that a layout holds, with its initial weights."""
    if isinstance(net, Net):
        return AlexNet(net, seed, layout)
    return Cifar(net, seed) if isinstance(net, CifarNet) else Mlp(net, seed)
