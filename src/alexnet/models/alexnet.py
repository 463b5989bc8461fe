"""The network of figure 2: five convolutional and three fully connected layers in two towers.

`layer_table.alexnet` lists its layers in order; read it first. The net differs from torchvision's AlexNet in six ways.
Each is in the paper, or in its authors' code:

- Two towers, one for each GPU of 2012, which meet only at conv3, fc6, fc7 and fc8 (section 3.2).
- Response normalisation after conv1 and conv2 (section 3.3).
- 224 pixels without padding: conv1's last window hangs over the edge, where it reads zeros.
- Pools round up, and clip the windows that hang over the edge.
- Dropout does not rescale in training; testing multiplies by 1 - p instead (section 4.2).
- Initial weights with one standard deviation for any fan-in, and some biases of 1 (section 5).
"""

from typing import Never

from torch import nn

from alexnet.config.recipe import Net, Recipe
from alexnet.models.arguments import settings
from alexnet.models.network import Network


class AlexNet(Network):
    """The network of 2012, with random initial weights. It maps views (N, 3, 224, 224) to logits (N, classes).

    Views are float: raw RGB pixels, 0 to 255, minus their mean. `alexnet.load` gives a trained net the attribute
    `transform`, which makes views of pictures, and `classes`, the names of its outputs.

    Its layers are modules, in order: pad1, conv1, relu1, norm1, pool1, ... fc6, relu6, drop6, ... fc8. Each can be
    hooked, and replaced by any module. Channels 0 to C/2 - 1 of every layer are tower 0. The towers meet only at conv3,
    fc6, fc7 and fc8 (section 3.2). So conv2, conv4 and conv5 have two groups, and a norm stays within its tower.

    In training mode, dropout is a function of (`seed`, layer, `step`, position of the picture in the batch). Each
    forward pass in training adds 1 to `step`; a training loop that resumes sets it with `at`.

    Args:
        net: A recipe, or its net settings; the paper's by default.
        seed: Seed of the initial weights and of dropout.
        num_classes: Number of outputs, 2 or more; overrides the number in `net`.

    Raises:
        InputError: The settings are not those of an AlexNet, or an argument is unknown. The message says what to write
            instead.

    Examples:
        >>> net = alexnet.AlexNet(num_classes=10).eval()
        >>> net(torch.zeros(1, 3, 224, 224)).shape
        torch.Size([1, 10])
    """

    net: Net
    conv1: nn.Conv2d
    conv2: nn.Conv2d
    conv3: nn.Conv2d
    conv4: nn.Conv2d
    conv5: nn.Conv2d
    fc6: nn.Linear
    fc7: nn.Linear
    fc8: nn.Linear

    def __init__(
        self, net: Net | Recipe | None = None, seed: int = 0, *, num_classes: int | None = None, **unknown: Never
    ) -> None:
        super().__init__(settings(Net, net, num_classes, unknown), seed)
