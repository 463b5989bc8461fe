"""Read the names of layers, also as torchvision and Caffe write them."""

import difflib
from collections.abc import Sequence

from alexnet.core.errors import InputError
from alexnet.core.text import shorten
from alexnet.models.layer_table import Dropout, Flatten
from alexnet.models.network import Network

# Modules of torchvision's AlexNet, by their place in the net: features.2 is its first pool, as pool1 is here.
TORCHVISION = {
    **{f"features.{i}": f"{kind}1" for i, kind in enumerate(("conv", "relu", "pool"))},
    **{f"features.{i}": f"{kind}2" for i, kind in enumerate(("conv", "relu", "pool"), 3)},
    **{f"features.{6 + i}": f"{kind}{3 + i // 2}" for i, kind in enumerate(("conv", "relu") * 3)},
    "features.12": "pool5",
    **{f"classifier.{i}": name for i, name in ((1, "fc6"), (2, "relu6"), (4, "fc7"), (5, "relu7"), (6, "fc8"))},
}
# Names that other packages have and that are no layer here: what each is there, and what to take instead.
ELSEWHERE = {
    "avgpool": "in torchvision it averages pool5, and changes nothing at 224 pixels; name pool5",
    "classifier.0": "in torchvision it is a dropout, which changes nothing in testing; name pool5",
    "classifier.3": "in torchvision it is a dropout, which changes nothing in testing; name relu6, or drop6 for "
    "relu6 times 1 - p",
    "data": "in Caffe it is the input; net.transform.center_crop(pictures) computes it",
    "prob": "in Caffe it is the softmax of fc8; name fc8",
}


def find_layer(name: str, layers: Sequence[str]) -> str:
    """Return the layer that a name stands for.

    Args:
        name: A layer's own name in any case ("conv1", "FC7"), or in a net with fc8 one of torchvision's
            ("features.0"). Caffe's names are our own.
        layers: The net's layers.

    Returns:
        The layer's own name.

    Raises:
        InputError: The net has no such layer. The message has the nearest names, and lists all of them.
    """
    own = {layer.lower(): layer for layer in layers}
    known = own | ({theirs: own[ours] for theirs, ours in TORCHVISION.items() if ours in own} if "fc8" in own else {})
    asked = name.strip().lower()
    if asked in known:
        return known[asked]
    hint = ""
    if asked in ELSEWHERE and "fc8" in own:
        hint = f"{ELSEWHERE[asked]}; "
    elif len(asked) < 100 and (near := sorted(difflib.get_close_matches(asked, known, 3, 0.6))):
        *others, last = near
        hint = f"did you mean {', '.join(others)}{' or ' * bool(others)}{last}? "
    raise InputError(f"no layer {shorten(name)}; {hint}this net has {', '.join(layers)}")


def find_layers(names: Sequence[str], layers: Sequence[str]) -> list[str]:
    """Return the layers that several names stand for, each once, in the order of the names; see `find_layer`."""
    if not names:
        raise InputError("no layer is named; name one or more")
    return list(dict.fromkeys(find_layer(name, layers) for name in names))


def last_hidden(net: Network) -> str:
    """Name the layer by which section 6.1 compares pictures: the last hidden one, with 4096 activations in AlexNet."""
    return [layer.name for layer in net.layers[:-1] if not isinstance(layer.op, (Dropout, Flatten))][-1]
