"""Write a net's weights by the names of torchvision's AlexNet, if that class can hold them."""

from typing import Any

from torch import Tensor

from alexnet.config.overrides import show
from alexnet.config.recipe import Net, Recipe
from alexnet.core.errors import InputError
from alexnet.interop.torchvision import KEYS
from alexnet.runs.published import Published

# What torchvision's class fixes; it takes any number of classes. Dropout matters only to train on: in testing it does
# nothing there, and here only with dropout_scale "testing".
FIXED: dict[str, Any] = {
    "towers": 1,
    "channels": (64, 192, 384, 256, 256),
    "kernel_sizes": (11, 5, 3, 3, 3),
    "stride": 4,
    "padding": (2, 2, 1, 1, 1),
    "hidden": 4096,
    "activation": "relu",
    "lrn": None,
    "spatial_lrn": None,
    "pool": 3,
    "skip": (),
    "conv6": 0,
    "image_size": 224,
    "dropped": ("pool5", "fc6"),
    "dropout_scale": "training",
}


def check_fits(recipe: Recipe) -> None:
    """Raise InputError, with the first field that differs, unless torchvision's AlexNet computes what the net does."""
    if not isinstance(recipe.net, Net):
        raise InputError(f"--to torchvision takes nets of recipe owt; net is {type(recipe.net).__name__}, not AlexNet")
    for name, wanted in FIXED.items():
        # At 224 pixels every pool ends at the border, so pool_ceil makes no difference.
        if (value := getattr(recipe.net, name)) != wanted and not (name.startswith("drop") and not recipe.net.dropout):
            kind = "a norm" if name in ("lrn", "spatial_lrn") else show(value)
            raise InputError(
                f"net.{name} is {kind}; torchvision's AlexNet has {show(wanted)}. Train recipe owt, or export --to onnx"
            )


def state_dict(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give weights the names of torchvision's AlexNet, in its order."""
    return {
        f"{theirs}.{part}": weights[f"{ours}.{part}"] for ours, theirs in KEYS.items() for part in ("weight", "bias")
    }


def preprocessing(published: Published) -> str:
    """Say in a line what torchvision's users have to do to pictures, before the net."""
    mean, views = published.statistics["mean"], published.recipe.views
    size, side = published.recipe.net.image_size, published.side
    square = {
        "crop": f"Resize({side})",
        "pad": f"Resize to a longer side of {side}, centred on {side} x {side} of gray (128, 128, 128)",
        "warp": f"Resize(({side}, {side}))",
    }
    first = f"{square[published.fit]}, CenterCrop({size}), ToTensor()"
    # (x - mean) * scale / std of pixels up to 255 is (x / 255 - mean / 255) / (std / 255 / scale).
    divisors = [std / 255 / views.scale for std in views.std or (1.0, 1.0, 1.0)]
    centre = mean.mean((0, 1)) / 255
    numbers = ", ".join(f"{value:.6g}" for value in centre.tolist()), ", ".join(f"{value:.6g}" for value in divisors)
    words = f"{first}, Normalize([{numbers[0]}], [{numbers[1]}])"
    if not mean.eq(mean[0, 0]).all():
        words += (
            f"; that mean is the average of a mean picture, which alexnet export --to safetensors keeps (up to "
            f"{(mean / 255 - centre).abs().max():.2g} apart)"
        )
    return words
