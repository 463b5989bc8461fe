"""Write a net as an ONNX graph, node by node, by the names of its layers; for any number of pictures.

`torch.onnx.export` gives a right graph too (tests/habits.py). This one has the layers' names, takes no compiler of
graphs and 50 times less time, has no paths of the machine that wrote it in it, and is for engines as old as 2022.
"""

import base64
import json
from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor, nn

from alexnet.core.errors import InputError
from alexnet.data.transforms import Transform
from alexnet.models.layers import Dropout, Grouped, Local, ResponseNorm, WithinMapNorm
from alexnet.models.network import Network
from alexnet.runs.published import Published
from alexnet.version import __version__

OPSET, IR = 17, 8
LARGEST = 2_000_000_000  # bytes of weights; a file of ONNX holds less than 2^31 bytes
BATCH = "N"  # the free size of inputs and outputs
VIEWS, LOGITS, PICTURES, PROBABILITIES = "views", "logits", "pictures", "probabilities"


def graph(net: Network) -> Any:
    """Write a net in eval mode: "views", float32 (N, 3, image_size, image_size), to "logits", (N, classes).

    Views are those of `net.transform`. The output of each layer has the name of the layer, except that of the last one.

    Returns:
        An onnx.ModelProto.

    Raises:
        InputError: The package onnx is missing, or a layer was replaced by one that is not of this package.
    """
    nodes = Nodes()
    size, classes = net.net.image_size, net.net.classes
    nodes.layers(net, VIEWS)
    return nodes.model([(VIEWS, "FLOAT", [3, size, size])], [(LOGITS, "FLOAT", [classes])])


def raw_graph(net: Network, views: int) -> Any:
    """Write a net with all that comes before and after it: uint8 "pictures", (N, side, side, 3), to "probabilities".

    The mean, the crops, the mirroring, the softmax and the average over the views are in the graph (section 4.1).

    Args:
        net: A net in eval mode, with its transform.
        views: 10, or 1 for the central view.

    Returns:
        An onnx.ModelProto.

    Raises:
        InputError: As `graph` raises.
    """
    nodes, transform = Nodes(), net.transform
    places = len(transform.places()) if views > 1 else 1
    x = nodes.views(transform, views > 1)
    logits = nodes.layers(net, x)
    if places == 1:
        nodes.node("Softmax", [logits], PROBABILITIES, axis=1)
    else:
        each = nodes.node("Softmax", [logits], "raw.each_view", axis=1)
        shape = nodes.constant("raw.views_first", np.array([places, -1, net.net.classes], np.int64))
        by_view = nodes.node("Reshape", [each, shape], "raw.by_view")
        nodes.node("ReduceMean", [by_view], PROBABILITIES, axes=[0], keepdims=0)
    side = transform.side
    return nodes.model([(PICTURES, "UINT8", [side, side, 3])], [(PROBABILITIES, "FLOAT", [net.net.classes])])


def describe(model: Any, published: Published, **more: str) -> None:
    """Put what a user of the file needs to know into its metadata.

    `alexnet.mean` is the mean picture, float32 (side, side, 3), little-endian, in base64; so are the colour components.
    """
    numbers = {
        f"alexnet.{name}": base64.b64encode(tensor.float().numpy().astype("<f4").tobytes()).decode()
        for name, tensor in published.statistics.items()
    }
    facts = {
        "alexnet.version": __version__,
        "alexnet.name": published.name,
        "alexnet.digest": published.recipe.digest,
        "alexnet.recipe": json.dumps(published.recipe.plain()),
        "alexnet.classes": json.dumps(published.classes),
        "alexnet.fit": published.fit,
        "alexnet.licence": published.licence,
    }
    onnx_or_refuse().helper.set_model_props(
        model, facts | {f"alexnet.{name}": text for name, text in more.items()} | numbers
    )


def onnx_or_refuse() -> Any:
    """Import onnx; raise InputError with the command that installs it if it is missing."""
    try:
        import_module("onnx.helper")
        return import_module("onnx")
    except ImportError:
        raise InputError("--to onnx needs onnx, which is not installed; pip install 'alexnet[onnx]'") from None


class Nodes:
    """The nodes and constants of a graph that is being written."""

    def __init__(self) -> None:
        self.onnx = onnx_or_refuse()
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def node(self, kind: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        """Add a node with the name of its first output, and return that name."""
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, outputs, outputs[0], **attributes))
        return outputs[0]

    def constant(self, name: str, value: np.ndarray | Tensor) -> str:
        """Add a constant, and return its name; tensors become float32."""
        self.constants[name] = value.detach().float().cpu().numpy() if isinstance(value, Tensor) else value
        return name

    def number(self, name: str, value: float) -> str:
        """Add a float32 number, and return its name."""
        return self.constant(name, np.array(value, np.float32))

    def numbers(self, name: str, *values: int) -> str:
        """Add a list of whole numbers, and return its name."""
        return self.constant(name, np.array(values, np.int64))

    def model(self, inputs: list[tuple[str, str, list[int]]], outputs: list[tuple[str, str, list[int]]]) -> Any:
        """Make the model, whose inputs and outputs have (name, type, sizes without the number of pictures)."""
        made, types = self.onnx.helper, self.onnx.TensorProto
        if (size := sum(value.nbytes for value in self.constants.values())) > LARGEST:
            raise InputError(f"the net has {size / 1e9:.1f} GB of weights; an ONNX file holds 2: use --to safetensors")
        given, computed = (
            [made.make_tensor_value_info(name, getattr(types, kind), [BATCH, *sizes]) for name, kind, sizes in values]
            for values in (inputs, outputs)
        )
        weights = [self.onnx.numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in self.constants.items()]
        whole = made.make_graph(self.nodes, "AlexNet", given, computed, weights)
        opsets = [made.make_opsetid("", OPSET)]
        about: dict[str, Any] = {"producer_name": "alexnet", "producer_version": __version__}
        return made.make_model(whole, opset_imports=opsets, ir_version=IR, **about)

    def layers(self, net: Network, x: str) -> str:
        """Add the layers of a net that reads x, and return the name of its logits."""
        pad = [0, 0, 0, 0]  # left, right, top, bottom: of a layer of zeros, which the convolution after it takes over
        for name in net.order:
            layer = net.layer(name)
            if type(layer) is nn.ZeroPad2d:
                pad = list(layer.padding)
                continue
            x = self.layer(name, layer, x, LOGITS if name == net.order[-1] else name, pad)
            pad = [0, 0, 0, 0]
        return x

    def layer(self, name: str, layer: nn.Module, x: str, out: str, pad: list[int]) -> str:
        """Add a layer that reads x, in eval mode, and return the name of its output."""
        kind = type(layer)
        if isinstance(layer, nn.Conv2d) and kind is nn.Conv2d:
            across, down = layer.padding[1], layer.padding[0]
            assert isinstance(across, int)
            assert isinstance(down, int)
            left, right, top, bottom = pad
            sizes = {"kernel_shape": layer.kernel_size, "strides": layer.stride, "group": layer.groups}
            pads = [down + top, across + left, down + bottom, across + right]
            return self.node("Conv", [x, *self.weights(name, layer)], out, pads=pads, **sizes)
        if isinstance(layer, Grouped):
            groups = layer.groups
            towers = [f"{name}.{t}" for t in range(groups)] if groups > 1 else []
            if towers:
                self.node("Split", [x], *(f"{tower}.input" for tower in towers), axis=1)
                parts = zip(layer.weight.chunk(groups), layer.bias.chunk(groups), strict=True)
                for tower, (weight, bias) in zip(towers, parts, strict=True):
                    own = self.constant(f"{tower}.weight", weight), self.constant(f"{tower}.bias", bias)
                    self.node("Gemm", [f"{tower}.input", *own], tower, transB=1)
                return self.node("Concat", towers, out, axis=1)
        if isinstance(layer, nn.Linear) and kind in (nn.Linear, Grouped):
            return self.node("Gemm", [x, *self.weights(name, layer)], out, transB=1)
        if isinstance(layer, ResponseNorm):
            return self.across_maps(name, layer, x, out)
        if isinstance(layer, WithinMapNorm):
            return self.within_maps(name, layer, x, out)
        if isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)):
            clipped = {} if isinstance(layer, nn.MaxPool2d) else {"count_include_pad": 0}
            sizes = {"kernel_shape": [layer.kernel_size] * 2, "strides": [layer.stride] * 2}
            which = "MaxPool" if isinstance(layer, nn.MaxPool2d) else "AveragePool"
            return self.node(which, [x], out, ceil_mode=int(layer.ceil_mode), **sizes, **clipped)
        if isinstance(layer, Local):
            return self.local(name, layer, x, out)
        if isinstance(layer, Dropout):  # section 4.2: testing uses all units, and scales their outputs
            if layer.scale == "training":
                return self.node("Identity", [x], out)
            return self.node("Mul", [x, self.number(f"{name}.kept", 1 - layer.p)], out)
        if kind is nn.Flatten:
            return self.node("Flatten", [x], out, axis=1)
        plain = {nn.ReLU: "Relu", nn.Tanh: "Tanh", nn.Sigmoid: "Sigmoid", nn.Identity: "Identity"}
        if kind not in plain:
            raise InputError(f"layer {name} is a {kind.__name__}, which has no ONNX form here; use torch.onnx.export")
        return self.node(plain[kind], [x], out)

    def weights(self, name: str, layer: nn.Conv2d | nn.Linear) -> list[str]:
        """Add the weight and the bias of a layer, and return their names."""
        return [self.constant(f"{name}.{which}", tensor) for which, tensor in layer.named_parameters()]

    def across_maps(self, name: str, layer: ResponseNorm, x: str, out: str) -> str:
        """Add a response norm (section 3.3). ONNX divides alpha by the window's size; the net of 2012 does not."""
        norm = layer.norm
        numbers: dict[str, Any] = {"size": norm.n, "alpha": norm.a * norm.n, "beta": norm.beta, "bias": norm.k}
        if layer.towers == 1:
            return self.node("LRN", [x], out, **numbers)
        towers = [f"{name}.{t}" for t in range(layer.towers)]  # a window never reaches the other tower
        self.node("Split", [x], *(f"{tower}.input" for tower in towers), axis=1)
        for tower in towers:
            self.node("LRN", [f"{tower}.input"], tower, **numbers)
        return self.node("Concat", towers, out, axis=1)

    def within_maps(self, name: str, layer: WithinMapNorm, x: str, out: str) -> str:
        """Add a norm within each map (2012 code): x / (k + a * sum of squares)^beta, with zeros outside the map."""
        norm = layer.norm
        n = norm.n
        squares = self.node("Mul", [x, x], f"{name}.squares")
        around: dict[str, Any] = {"kernel_shape": [n, n], "pads": [n // 2] * 4, "count_include_pad": 1}
        mean = self.node("AveragePool", [squares], f"{name}.mean", **around)
        scaled = self.node("Mul", [mean, self.number(f"{name}.alpha", norm.a * n * n)], f"{name}.scaled")
        base = self.node("Add", [scaled, self.number(f"{name}.k", norm.k)], f"{name}.base")
        power = self.node("Pow", [base, self.number(f"{name}.beta", norm.beta)], f"{name}.power")
        return self.node("Div", [x, power], out)

    def local(self, name: str, layer: Local, x: str, out: str) -> str:
        """Add a locally connected layer (2012 code): a convolution copies nine units, then a sum at each place."""
        inputs = layer.weight.shape[3]
        one_hot = np.tile(np.eye(9, dtype=np.float32).reshape(9, 1, 3, 3), (inputs // 9, 1, 1, 1))
        copied: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1] * 4, "group": inputs // 9}
        near = self.node("Conv", [x, self.constant(f"{name}.near", one_hot)], f"{name}.patches", **copied)
        weight = self.constant(f"{name}.weight", layer.weight)
        total = self.node("Einsum", [near, weight], f"{name}.sums", equation="nfyx,yxmf->nmyx")
        return self.node("Add", [total, self.constant(f"{name}.bias", layer.bias.permute(2, 0, 1))], out)

    def views(self, transform: Transform, several: bool) -> str:
        """Add what makes views of pictures, as `Transform.ten_crop` or `center_crop`; return the name of the views."""
        size, d, own = transform.size, transform.margin, transform.views
        mean = transform.mean.permute(2, 0, 1)[None]  # 1, 3, side, side
        x = self.node("Cast", [PICTURES], "raw.floats", to=self.onnx.TensorProto.FLOAT)
        x = self.node("Transpose", [x], "raw.maps", perm=[0, 3, 1, 2])
        if own.mean == "place":
            x = self.node("Sub", [x, self.constant("raw.mean", mean)], "raw.minus_mean")
        five = [place[:2] for place in transform.places() if not place[2]] if several else [(d // 2, d // 2)]
        axes = self.numbers("raw.rows_and_columns", 2, 3)
        crops = []
        for i, (top, left) in enumerate(five):
            ends = (
                self.numbers(f"raw.crop{i}.from", top, left),
                self.numbers(f"raw.crop{i}.to", top + size, left + size),
            )
            crops.append(self.node("Slice", [x, *ends, axes], f"raw.crop{i}"))
        if several:
            x = self.node("Concat", crops, "raw.crops", axis=0)
            last, before = self.numbers("raw.last_column", -1), self.numbers("raw.before_the_first", -(2**31))
            across, back = self.numbers("raw.columns", 3), self.numbers("raw.backwards", -1)
            mirrored = self.node("Slice", [x, last, before, across, back], "raw.mirrored")
            x = self.node("Concat", [x, mirrored], "raw.places", axis=0)
        else:
            x = crops[0]
        if own.mean == "centre":
            centre = mean[:, :, d // 2 : d // 2 + size, d // 2 : d // 2 + size]
            x = self.node("Sub", [x, self.constant("raw.mean", centre)], "raw.minus_mean")
        if own.scale != 1:
            x = self.node("Mul", [x, self.number("raw.scale", own.scale)], "raw.scaled")
        if own.std:
            x = self.node(
                "Div", [x, self.constant("raw.std", np.array(own.std, np.float32).reshape(1, 3, 1, 1))], "raw.divided"
            )
        return x
