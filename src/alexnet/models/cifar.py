"""The small nets of the 2012 code for CIFAR-10, with locally connected layers (section 3.3 names two of them)."""

from typing import Never

from alexnet.config.recipe import CifarNet, Recipe
from alexnet.models.arguments import settings
from alexnet.models.network import Network


class Cifar(Network):
    """A small net of the 2012 code for CIFAR-10. It maps views (N, 3, 24, 24), or 32 a side, to logits (N, 10).

    Views are float: raw RGB pixels, 0 to 255, minus their mean. The net has no dropout. `layer_table.cifar` lists its
    layers: conv1, relu1, pool1, norm1, ... local3, relu3, ... fc.

    Args:
        net: A recipe, or its net settings; those of cifar-13 by default.
        seed: Seed of the initial weights.
        num_classes: Number of outputs, 2 or more; overrides the number in `net`.

    Raises:
        InputError: The settings are not those of a Cifar, or an argument is unknown. The message says what to write
            instead.
    """

    net: CifarNet

    def __init__(
        self, net: CifarNet | Recipe | None = None, seed: int = 0, *, num_classes: int | None = None, **unknown: Never
    ) -> None:
        super().__init__(settings(CifarNet, net, num_classes, unknown), seed)
