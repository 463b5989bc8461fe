"""Names of layers."""

from alexnet.models.build import AnyModel
from alexnet.models.layer_table import Dropout, Flatten


def last_hidden(net: AnyModel) -> str:
    """Name the layer by which section 6.1 compares pictures: the last hidden one, with 4096 activations in AlexNet."""
    return [layer.name for layer in net.layers[:-1] if not isinstance(layer.op, (Dropout, Flatten))][-1]
