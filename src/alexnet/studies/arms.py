"""Arms that depend on the base recipe: each function takes the base and returns the changes to make in it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from alexnet.config.recipe import MlpNet, Net, Recipe
from alexnet.core.errors import InputError
from alexnet.models import layer_table
from alexnet.studies.claim import Changes

CENTRE = {"crops": False, "mirror": False}
PRINTED, ONES = (0.01,) * 8, (2, 4, 5, 6, 7)  # section 5: std of all layers; layers whose biases start at 1


def half(base: Recipe) -> Mapping[str, Any]:
    """Build section 3.2's net for one GPU: one tower with half the kernels, except in conv5, which stays whole."""
    kernels = net_of(base).channels
    return {"net": {"towers": 1, "channels": (*(k // 2 for k in kernels[:4]), kernels[4])}}


def net_150(base: Recipe) -> Mapping[str, Any]:
    """Build net 150 of the 2012 code: towers that never talk, conv2 wider by a quarter, fc6 and fc7 twice as wide.

    Net 145 has 128 maps a tower in conv2, and 2,048 units a tower in fc6 and fc7; net 150 has 160 and 4,096.
    """
    net = net_of(base)
    conv1, conv2, *others = net.channels
    wider = net.towers * (conv2 * 5 // 4 // net.towers)
    return {"net": {"cross_tower": False, "channels": (conv1, wider, *others), "hidden": 2 * net.hidden}}


def pooled(pool: int) -> Callable[[Recipe], Mapping[str, Any]]:
    """Set the pools' side, and an input side at which pools of any side have equal outputs (see `even_input`)."""
    return lambda base: {"net": {"pool": pool, "image_size": even_input(net_of(base))}}


def even_input(net: Net) -> int:
    """Find the input side, nearest to the net's, at which pools of side 2 and of side 3 have equal outputs.

    A pool of stride 2 halves an even side whether its own side is 2 or 3. All three pools see an even side if the
    output side of conv1 is a multiple of 8.
    """
    side = layer_table.layers_of(net)[0].side
    if side % 8 == 0:
        return net.image_size
    return (max(8, 8 * round(side / 8)) - 1) * net.stride + net.kernel_sizes[0]


def wider_hidden(base: Recipe) -> Mapping[str, Any]:
    """Make fc6 and fc7 four times as wide, and halve the std of fc7 and fc8 to keep the size of their outputs."""
    net = net_of(base)
    return {"net": {"hidden": 4 * net.hidden, "std": (*net.std[:6], net.std[6] / 2, net.std[7] / 2)}}


def decayed(times: float) -> Callable[[Recipe], Mapping[str, Any]]:
    """Multiply the base's weight decay, in all layers."""

    def change(base: Recipe) -> Mapping[str, Any]:
        sgd = base.sgd
        return {
            "sgd": {
                "weight_decay": times * sgd.weight_decay,
                "bias_weight_decay": times * sgd.bias_weight_decay,
                "layer_weight_decay": {name: times * value for name, value in sgd.layer_weight_decay.items()},
            }
        }

    return change


def unhurried(times: float) -> Callable[[Recipe], Mapping[str, Any]]:
    """Remove momentum and multiply the base's learning rates."""
    return lambda base: {"sgd": {"momentum": 0.0, "lr": times * base.sgd.lr, "bias_lr": times * base.sgd.bias_lr}}


def activated(activation: str, rate: float) -> Changes:
    """Set the activation and the learning rate; the biases' rate is twice the weights', as in 2012."""
    return {"net": {"activation": activation}, "sgd": {"lr": rate, "bias_lr": 2 * rate}}


def six(base: Recipe) -> Mapping[str, Any]:
    """Add a sixth convolution after pool5, as wide as conv5: table 2's CNN* (2012 code, net 146)."""
    return {"net": {"conv6": net_of(base).channels[4]}}


def tuned(base: Recipe) -> Mapping[str, Any]:
    """Fine-tune the net of `six` as in net 146-2012-2011 of the 2012 code.

    The weights' learning rate is a tenth of the base's, in conv1 a hundredth, and in fc8 the full rate. The biases keep
    their rate. conv1 is frozen at epoch 7 of 54, and the colour noise ends at epoch 38.
    """
    epoch = base.schedule.of_epochs / 54
    return {
        **six(base),
        "sgd": {"lr": base.sgd.lr / 10, "layer_lr": {"conv1": 0.1, "fc8": 10.0}, "layer_lr_biases": False},
        "late": {"conv1_slow": None, "conv1_frozen": 7 * epoch, "colour_off": 38 * epoch},
    }


def dense(times: float) -> Callable[[Recipe], Mapping[str, Any]]:
    """Replace the net by two equal hidden layers with as many weights, and multiply the learning rates.

    The three layers start like the base's first, second last and last: std times the root of the number of inputs is
    the same, which keeps the size of the outputs, and the biases have the same value. Raises InputError if no such net
    has the base's number of weights.
    """

    def change(base: Recipe) -> Mapping[str, Any]:
        made, sgd = mlp_like(base), base.sgd
        decay = {name: value for name, value in sgd.layer_weight_decay.items() if name in made.layers}
        return {
            "net": made,
            "sgd": replace(sgd, layer_weight_decay=decay, lr=times * sgd.lr, bias_lr=times * sgd.bias_lr),
            "late": {"conv1_slow": None, "conv1_frozen": None},
        }

    return change


def mlp_like(base: Recipe) -> MlpNet:
    """Build the net of `dense`; raise InputError if the nearest is more than 1 % off in weights."""
    net, layers = base.net, [layer for layer in layer_table.layers_of(base.net) if layer.weights]
    wanted = sum(layer.weights for layer in layers)

    def wide(width: int) -> MlpNet:
        return MlpNet(net.image_size, net.classes, (width, width), net.activation, getattr(net, "dropout", 0.0))

    def weights(net: MlpNet) -> int:
        return sum(layer.weights for layer in layer_table.layers_of(net))

    half = (3 * net.image_size**2 + net.classes + 2) / 2  # the net has width^2 + 2 half width + classes weights
    width = max(1, math.floor(math.sqrt(half**2 + wanted - net.classes) - half))
    made = min((wide(width), wide(width + 1)), key=lambda net: abs(weights(net) - wanted))
    if isinstance(net, MlpNet) or abs(weights(made) / wanted - 1) > 0.01:
        raise InputError(
            f"claim fc-conv needs two nets with as many weights: the base's {type(net).__name__} has {wanted:,}, and "
            f"the nearest fully connected net has {weights(made):,}; give --recipe tiny, source or cifar-13"
        )
    std = [
        net.std[i] * math.sqrt(fan_in(layers[i]) / fan_in(layer))
        for i, layer in zip((0, -2, -1), layer_table.layers_of(made), strict=True)
    ]
    firsts = getattr(net, "bias_one_layers", ())
    ones = [i for i, like in enumerate((1, len(layers) - 1, len(layers)), 1) if like in firsts]
    return replace(made, std=tuple(std), bias_one_layers=tuple(ones))


def fan_in(layer: layer_table.Layer) -> int:
    """Count the inputs of a unit."""
    return layer.multiply_adds // layer.units


def started(std: tuple[float, ...] | None, ones: tuple[int, ...], scale: float) -> Changes:
    """Set one corner of the factorial design of claim `init`; a std of None keeps the base recipe's."""
    return {"net": ({"std": std} if std else {}) | {"bias_one_layers": ones}, "views": {"scale": scale}}


def net_of(base: Recipe) -> Net:
    """Return the base's net, which has AlexNet's layers, since `designs.base_of` refuses any other."""
    assert isinstance(base.net, Net)
    return base.net
