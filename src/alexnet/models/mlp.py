"""A fully connected net, for comparison with convolutions (study `fc-conv`; not in the paper)."""

from typing import Never

from alexnet.config.recipe import MlpNet, Recipe
from alexnet.models.arguments import settings
from alexnet.models.network import Network


class Mlp(Network):
    """A fully connected net. It maps views (N, 3, side, side) to logits (N, classes).

    Views are float: raw RGB pixels, 0 to 255, minus their mean. The layers are fc1, relu1, drop1, fc2 and so on; the
    last has neither activation nor dropout. Dropout is that of AlexNet (section 4.2).

    Args:
        net: A recipe, or its net settings; two hidden layers of 1,000 units by default.
        seed: Seed of the initial weights and of dropout.
        num_classes: Number of outputs, 2 or more; overrides the number in `net`.

    Raises:
        InputError: The settings are not those of an Mlp, or an argument is unknown. The message says what to write
            instead.
    """

    net: MlpNet

    def __init__(
        self, net: MlpNet | Recipe | None = None, seed: int = 0, *, num_classes: int | None = None, **unknown: Never
    ) -> None:
        super().__init__(settings(MlpNet, net, num_classes, unknown), seed)
