"""Read an AlexNet from an ONNX graph: five convolutions, three fully connected layers, norms and pools as found.

Nothing is computed: the graph is walked from its input to its logits, and the first node that is not AlexNet's is
named. A graph of `alexnet export --to onnx` also says how its input is made, in its metadata. Other graphs do not, so
the user has to.
"""

import base64
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, cast, get_args

import numpy as np
import torch
from torch import Tensor

from alexnet.config.recipe import Net, Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.core.files import parse_json
from alexnet.core.text import shorten
from alexnet.data.images.resize import Fit
from alexnet.interop import caffe, chain, foreign
from alexnet.interop.chain import Part, single
from alexnet.interop.foreign import Foreign
from alexnet.interop.torchvision import MEAN
from alexnet.interop.wire import check_fields

NEEDS = "reading an .onnx file needs onnx, which is not installed; pip install 'alexnet[onnx]'"
TENSOR: Any = {4: None, 9: None, 10: None}  # fields of a TensorProto that are data
MODEL: Any = {7: {1: {5: {5: TENSOR}}, 5: TENSOR}, 14: {2: None}}  # of a ModelProto: nodes, weights, metadata
FLOATS = {1: np.float32, 10: np.float16, 11: np.float64}  # ONNX's numbers of types
EXTERNAL = 1  # of TensorProto.data_location
INPUTS = (
    "its graph does not say how its input is made; give --as torchvision (RGB, torchvision's mean and divisors), --as "
    "bvlc or caffenet with --mean FILE (BGR minus a mean), or --as onnx with --mean FILE (RGB minus a mean)"
)
ATTRIBUTES: dict[str, tuple[type, tuple[int, ...]]] = {  # the type of each that is read, and the lengths of lists
    **dict.fromkeys(("kernel_shape", "strides", "dilations"), (int, (2,))),
    **dict.fromkeys(("group", "axis", "ceil_mode", "size", "transA", "transB", "to"), (int, ())),
    **dict.fromkeys(("alpha", "beta", "bias", "ratio"), (float, ())),
    **dict.fromkeys(("auto_pad", "mode"), (bytes, ())),
    "pads": (int, (4, 8)),
}
NORMALISES = {"Sub", "Add", "Mul", "Div"}


@dataclass
class Graph:
    """A decoded graph, by the names of its values."""

    file: Path
    nodes: list[Any]
    tensors: dict[str, Any]
    readers: dict[str, list[Any]]
    outputs: set[str]
    size: int = 0  # bytes of the file and of what it read beside it
    beside: dict[str, bytes] = field(default_factory=dict)  # files of external data that were read


@dataclass
class Front:
    """The steps from a graph's input to its first convolution: x * a + b, in the order of the channels it takes."""

    a: np.ndarray
    b: np.ndarray
    used: bool = False


def read_onnx(
    file: Path, data: bytes, kind: str = "auto", mean: Path | None = None
) -> tuple[Foreign, Mapping[str, bytes]]:
    """Read a net from the bytes of an .onnx file.

    Args:
        file: The file, for messages, and for the folder of its external data.
        data: Its bytes.
        kind: How the graph's input is made: "torchvision", "bvlc", "caffenet", "onnx" (RGB minus the mean), or "auto"
            for what its metadata says.
        mean: File of the mean, where the graph does not have it.

    Returns:
        The net, and the files of external data that were read, by name.

    Raises:
        InputError: The file is damaged, the graph is not an AlexNet's, or the way to make its input is not known.
    """
    model = decode(file, data)
    try:
        graph, source, size = _graph(file, model, len(data))
        parts, front = walk(graph, source)
        base = _base(parts)
        settings = RECIPES[base].net
        assert isinstance(settings, Net)
        net, weights = chain.net_of(parts, settings, size)
        weights = foreign.own_tensors(file, weights, 2 * graph.size)
        about = {p.key.removeprefix("alexnet."): p.value for p in model.metadata_props if p.key.startswith("alexnet.")}
        if "recipe" in about and kind == "auto" and not front.used:
            found = _own(net, weights, about)
        else:
            licence = next(
                (p.value for p in model.metadata_props if "licen" in p.key.lower()), "its metadata does not say"
            )
            found = _others(file, kind, base, net, weights, front, mean, licence)
    except (IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        if not isinstance(error, InputError):  # a node without the inputs that ONNX says it has, and the like
            raise InputError(f"{file}: its graph is not sound ({shorten(str(error))}); fetch it again") from None
        words = str(error)
        raise error if words.startswith(str(file)) else InputError(f"{file}: {words}") from None
    foreign.check_net(file, found.weights, found.recipe.net)
    return found, graph.beside


def decode(file: Path, data: bytes) -> Any:
    """Decode a ModelProto, after its fields were counted."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise InputError(NEEDS) from None
    check_fields(file, data, MODEL)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise InputError(f"{file} is not an .onnx file, or is damaged; fetch it again") from None
    if not model.graph.node:
        raise InputError(f"{file} is not an .onnx file with a graph")
    return model


def _graph(file: Path, model: Any, size: int) -> tuple[Graph, str, int | None]:
    """Index a graph, and return it with the name of its input and the side of the views that it takes."""
    own = model.graph
    tensors = {t.name: t for t in own.initializer}
    for node in own.node:
        if node.op_type == "Constant":
            tensors |= dict.fromkeys(node.output[:1], next((a.t for a in node.attribute if a.name == "value"), None))
    nodes = [node for node in own.node if node.op_type != "Constant"]
    for node in nodes:
        if node.domain not in ("", "ai.onnx"):
            raise InputError(f"{_named(node)} is of {shorten(node.domain)}, not of ONNX itself")
    readers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    inputs = [value for value in own.input if value.name not in tensors]
    if len(inputs) != 1:
        raise InputError(f"its graph has {len(inputs)} inputs; an AlexNet has one")
    kind = inputs[0].type.tensor_type
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    if kind.elem_type not in FLOATS or len(sizes) != 4 or sizes[1] not in (3, None) or sizes[2] != sizes[3]:
        said = " x ".join("?" if n is None else str(n) for n in sizes)
        raise InputError(f"its input {shorten(inputs[0].name)} is {said}; floating-point N x 3 x side x side is needed")
    graph = Graph(file, nodes, tensors, readers, {value.name for value in own.output}, size)
    return graph, inputs[0].name, sizes[2]


def walk(graph: Graph, value: str) -> tuple[list[Part], Front]:
    """Follow a graph from its input to its logits.

    Returns:
        The layers in order, and what is done to the input before them.

    Raises:
        InputError: A node is not AlexNet's, or the graph forks.
    """
    parts: list[Part] = []
    front = Front(np.ones((1, 1, 1)), np.zeros((1, 1, 1)))
    pads, ended = [0, 0, 0, 0], False
    for _ in range(len(graph.nodes) + 1):
        readers = [node for node in graph.readers.get(value, []) if node.op_type != "Shape"]
        if not readers:
            return parts, front
        if len(readers) > 1:
            names = " and ".join(_named(node) for node in readers[:2])
            raise InputError(f"{names} both read {shorten(value)}, where AlexNet has one layer after another")
        node, kind = readers[0], readers[0].op_type
        if ended:
            raise InputError(f"{_named(node)} comes after the softmax")
        value, last = node.output[0], parts[-1] if parts else None
        if any(pads) and kind != "Conv":
            raise InputError(f"{_named(node)} comes after a Pad, where AlexNet has a convolution")
        if kind in ("Identity", "Flatten", "Reshape", "Cast", "AveragePool", "Squeeze"):
            _check_same(node)
        elif kind in NORMALISES and last is None:
            _normalise(graph, node, front)
        elif kind == "Pad":
            pads = _padded(graph, node)
        elif kind == "Conv":
            parts.append(_convolution(graph, node, pads))
            pads = [0, 0, 0, 0]
        elif kind == "Relu":
            parts.append(chain.Relu(_named(node)))
        elif kind == "LRN":
            parts.append(_norm(node, 1))
        elif kind == "Split":
            norm, value = _norm_of_towers(graph, node)
            parts.append(norm)
        elif kind == "MaxPool":
            parts.append(_pool(node))
        elif kind == "Dropout":
            parts.append(chain.Drop(_named(node), _probability(graph, node)))
        elif kind == "Mul" and not isinstance(last, (chain.Convolution, chain.Norm)):
            parts.append(chain.Drop(_named(node), None, _scale(graph, node)))
        elif kind in ("Gemm", "MatMul"):
            full, value = _full(graph, node)
            parts.append(full)
        elif kind in ("Softmax", "LogSoftmax"):
            ended = True
        else:
            raise InputError(f"{_named(node)} is not a layer of AlexNet")
    raise InputError("its graph runs in a circle")


def _named(node: Any) -> str:
    name = node.name or (node.output[0] if node.output else "")
    return f"node {shorten(name)} ({shorten(node.op_type)})"


def _attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes by name; raise InputError if one has another type or length than ONNX says."""
    import onnx

    found = {}
    for one in node.attribute:
        try:
            value = onnx.helper.get_attribute_value(one)
        except ValueError:
            value = None
        kind, lengths = ATTRIBUTES.get(one.name, (object, ()))
        of_kind = all(isinstance(part, kind) for part in value) if lengths and value else isinstance(value, kind)
        if value is None or not of_kind or (lengths and len(value) not in lengths):
            raise InputError(f"{_named(node)} has an attribute {shorten(one.name)} that ONNX does not allow there")
        found[one.name] = value
    return found


def _constant(graph: Graph, node: Any, name: str, floats: bool = True) -> np.ndarray:
    """Read a constant; raise InputError if a value is computed, of another type, or not as long as its shape says."""
    tensor = graph.tensors.get(name)
    if tensor is None:
        raise InputError(f"{_named(node)} reads {shorten(name)}, which is computed, not a constant")
    types = FLOATS if floats else {7: np.int64, 6: np.int32}
    if tensor.data_type not in types:
        raise InputError(f"{_named(node)} reads {shorten(name)}, whose type ({tensor.data_type}) is not read here")
    dtype, dims = np.dtype(types[tensor.data_type]).newbyteorder("<"), tuple(tensor.dims)
    if min(dims, default=1) < 0:
        raise InputError(f"{shorten(name)} has a negative size")
    if tensor.data_location == EXTERNAL:
        body = _external(graph, tensor)
    elif tensor.HasField("raw_data"):
        body = tensor.raw_data
    else:
        lists = {1: tensor.float_data, 11: tensor.double_data, 7: tensor.int64_data, 6: tensor.int32_data}
        if tensor.data_type not in lists:
            raise InputError(f"{shorten(name)} holds its numbers in a form that is not read here")
        body = np.array(lists[tensor.data_type], dtype).tobytes()
    if len(body) != math.prod(dims) * dtype.itemsize:
        said = " x ".join(map(str, dims[:8]))
        raise InputError(f"{shorten(name)} has {len(body):,} bytes for the shape {said}")
    return np.frombuffer(body, dtype).reshape(dims).astype(types[tensor.data_type])


def _external(graph: Graph, tensor: Any) -> bytes:
    """Read a tensor's bytes from a file beside the model; raise InputError for any other place."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    folder = graph.file.parent
    parts = PurePosixPath(location).parts
    outside = not parts or PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive
    if outside or ".." in parts or "\\" in location or "\0" in location:
        raise InputError(
            f"its data lie in {shorten(location)!r}, outside the model's folder; nothing was read from there"
        )
    path = folder.joinpath(*parts)
    if any(folder.joinpath(*parts[:n]).is_symlink() for n in range(1, len(parts) + 1)):
        raise InputError(f"its data lie in {shorten(location)!r}, a link; copy the file into the model's folder")
    if location not in graph.beside:
        graph.beside[location] = foreign.read_file(path, foreign.MOST - graph.size)
        graph.size += len(graph.beside[location])
    data = graph.beside[location]
    try:
        offset, length = (int(entries.get(key) or default) for key, default in (("offset", 0), ("length", len(data))))
    except ValueError:
        raise InputError(f"{shorten(tensor.name)} has an offset or a length that is not a number") from None
    if "length" not in entries:
        length -= offset
    if offset < 0 or length < 0 or offset + length > len(data):
        raise InputError(
            f"{shorten(tensor.name)} lies at bytes {offset} to {offset + length} of {shorten(location)}, "
            f"which has {len(data)}"
        )
    return data[offset : offset + length]


def _check_same(node: Any) -> None:
    """Raise InputError if a node changes more than the shape: values, or which belong to one picture."""
    own, kind = _attributes(node), node.op_type
    if kind == "AveragePool":  # torchvision's mean over 1 x 1 units, at the size that it was trained for
        if list(own["kernel_shape"]) != [1, 1] or any(own.get("pads", [])) or set(own.get("strides", [1])) != {1}:
            raise InputError(f"{_named(node)} is not a layer of AlexNet")
    elif kind == "Cast" and own.get("to") not in FLOATS:
        raise InputError(f"{_named(node)} makes whole numbers")
    elif kind == "Flatten" and own.get("axis", 1) != 1:
        raise InputError(f"{_named(node)} flattens from axis {own['axis']} on, not from 1")
    elif kind == "Squeeze":
        raise InputError(f"{_named(node)} is not a layer of AlexNet")
    # A Reshape keeps the order of the numbers. The fully connected layer after it takes the units of one picture as a
    # row, so the rows are those of Flatten whenever the layer's inputs are as many as the maps' units.


def _normalise(graph: Graph, node: Any, front: Front) -> None:
    """Apply a node with a constant to what is done to the input."""
    first, second = (name in graph.tensors for name in node.input)
    if first == second or (first and node.op_type in ("Sub", "Div")):
        raise InputError(f"{_named(node)} does to the input what no recipe does")
    c = _constant(graph, node, node.input[0 if first else 1]).astype(np.float64)
    c = c[0] if c.ndim == 4 and len(c) == 1 else c
    if c.ndim > 3 or (c.ndim == 3 and len(c) not in (1, 3)) or (c.ndim in (1, 2) and c.size != 1):
        raise InputError(f"{_named(node)} has a constant of another shape than 3 x 1 x 1 or 3 x side x side")
    c = c.reshape(1, 1, 1) if c.ndim < 3 else c
    if not np.isfinite(c).all() or (node.op_type == "Div" and not c.all()):
        raise InputError(f"{_named(node)} has a constant that is 0, NaN or infinite")
    if node.op_type in ("Add", "Sub"):
        front.b = front.b + (c if node.op_type == "Add" else -c)
    else:
        c = c if node.op_type == "Mul" else 1 / c
        front.a, front.b = front.a * c, front.b * c
    front.used = True


def _padded(graph: Graph, node: Any) -> list[int]:
    """Return the zeros that a Pad adds: top, left, bottom, right."""
    own = _attributes(node)
    pads = own.get("pads") or (
        _constant(graph, node, node.input[1], floats=False).tolist() if len(node.input) > 1 else []
    )
    if len(node.input) > 2 and node.input[2]:
        value = _constant(graph, node, node.input[2])
        zero = not value.any()
    else:
        zero = not own.get("value", 0)
    if own.get("mode", b"constant") != b"constant" or not zero or len(pads) != 8 or any((*pads[:2], *pads[4:6])):
        raise InputError(f"{_named(node)} adds something else than zeros around the maps")
    return [pads[2], pads[3], pads[6], pads[7]]


def _convolution(graph: Graph, node: Any, pads: Sequence[int]) -> chain.Convolution:
    own = _attributes(node)
    weight = _constant(graph, node, node.input[1])
    if weight.ndim != 4:
        raise InputError(f"{_named(node)} has weights of {weight.ndim} dimensions; 4 are needed")
    strides, dilations = own.get("strides", [1, 1]), own.get("dilations", [1, 1])
    if own.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or strides[0] != strides[1] or set(dilations) != {1}:
        raise InputError(f"{_named(node)} has automatic paddings, a dilation, or other strides across than down")
    here = own.get("pads", [0, 0, 0, 0])
    top, left, bottom, right = (a + b for a, b in zip(here, pads, strict=True))
    bias = _constant(graph, node, node.input[2]) if len(node.input) > 2 else np.zeros(len(weight), np.float32)
    return chain.Convolution(
        _named(node), _tensor(weight), _tensor(bias), strides[0], (top, left, bottom, right), own.get("group", 1)
    )


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _norm(node: Any, towers: int) -> chain.Norm:
    own = _attributes(node)
    k, alpha, beta = (single(own.get(name, other)) for name, other in (("bias", 1), ("alpha", 1e-4), ("beta", 0.75)))
    return chain.Norm(_named(node), own.get("size", 0), k, alpha, beta, towers)


def _norm_of_towers(graph: Graph, node: Any) -> tuple[chain.Norm, str]:
    """Read a norm of each tower: Split, LRN of each part, Concat in the same order."""
    norms, ends = [], []
    for part in node.output:
        readers = graph.readers.get(part, [])
        if len(readers) != 1 or readers[0].op_type != "LRN":
            raise InputError(f"{_named(node)} parts what no LRN reads, where AlexNet's towers are together")
        norms.append(_norm(readers[0], len(node.output)))
        ends.append(readers[0].output[0])
    joined = [reader for end in ends for reader in graph.readers.get(end, [])]
    whole = joined and all(reader is joined[0] for reader in joined) and joined[0].op_type == "Concat"
    axes = {_attributes(one).get("axis", 0 if one is node else None) for one in (node, *joined[:1])}
    sizes = _attributes(node).get("split") or (
        _constant(graph, node, node.input[1], floats=False).tolist() if len(node.input) > 1 else [1]
    )
    if not whole or list(joined[0].input) != ends or axes != {1} or len(set(sizes)) != 1:
        raise InputError(f"{_named(node)} does not cut maps in equal parts that a Concat joins again")
    if any(norm.name != norms[0].name and _numbers(norm) != _numbers(norms[0]) for norm in norms):
        raise InputError(f"{norms[1].name} differs from {norms[0].name}; both towers need the same numbers")
    return norms[0], joined[0].output[0]


def _numbers(norm: chain.Norm) -> tuple[float, ...]:
    return norm.n, norm.k, norm.alpha, norm.beta


def _pool(node: Any) -> chain.Pool:
    own = _attributes(node)
    shape, strides, pads = own.get("kernel_shape", []), own.get("strides", [1, 1]), own.get("pads", [0, 0, 0, 0])
    even = len(set(shape)) == len(set(strides)) == 1 and set(own.get("dilations", [1])) == {1}
    if not even or own.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or any(pads[:2]) or max(pads) > 1:
        raise InputError(f"{_named(node)} has windows that AlexNet's pools do not have")
    if pads[2] != pads[3] or (pads[2] and strides[0] != 2):
        raise InputError(f"{_named(node)} has windows that AlexNet's pools do not have")
    # One column of padding on the right gives the windows that rounding up gives, at stride 2. Without a full window
    # more it gives none.
    return chain.Pool(_named(node), shape[0], strides[0], bool(own.get("ceil_mode", 0)) or bool(pads[2]))


def _probability(graph: Graph, node: Any) -> float | None:
    own = _attributes(node)
    if "ratio" in own:
        return single(own["ratio"])
    if len(node.input) > 1 and node.input[1] in graph.tensors:
        return single(_constant(graph, node, node.input[1]).reshape(-1)[0])
    return None


def _scale(graph: Graph, node: Any) -> float:
    """Return the factor of dropout in testing."""
    constants = [name for name in node.input if name in graph.tensors]
    value = _constant(graph, node, constants[0]) if len(constants) == 1 else np.zeros(2)
    if value.size != 1 or not 0 < value.reshape(-1)[0] < 1:
        raise InputError(f"{_named(node)} is not a layer of AlexNet, nor the factor of its dropout")
    return single(value.reshape(-1)[0])


def _full(graph: Graph, node: Any) -> tuple[chain.Full, str]:
    """Read a fully connected layer: Gemm, or MatMul and Add."""
    own, value = _attributes(node), node.output[0]
    weight = _constant(graph, node, node.input[1])
    if weight.ndim != 2 or own.get("alpha", 1.0) != 1 or own.get("beta", 1.0) != 1 or own.get("transA", 0):
        raise InputError(f"{_named(node)} is not a plain fully connected layer")
    if not own.get("transB", 0):
        weight = weight.T
    bias = None
    if node.op_type == "Gemm" and len(node.input) > 2:
        bias = _constant(graph, node, node.input[2])
    readers = graph.readers.get(value, [])
    if node.op_type == "MatMul" and len(readers) == 1 and readers[0].op_type == "Add":
        bias = _constant(graph, readers[0], next((n for n in readers[0].input if n != value), ""))
        value = readers[0].output[0]
    bias = np.zeros(len(weight), np.float32) if bias is None else bias.reshape(-1)
    if len(bias) != len(weight):
        raise InputError(f"{_named(node)} has {len(bias)} biases for {len(weight)} units")
    return chain.Full(_named(node), _tensor(weight), _tensor(bias)), value


def _base(parts: Sequence[Part]) -> str:
    """Choose the recipe whose training settings to take, by the order of pools and norms."""
    order = [type(part) for part in parts if isinstance(part, (chain.Norm, chain.Pool))][:2]
    if chain.Norm not in order:
        return "owt"
    return "caffenet" if order[0] is chain.Pool else "bvlc"


def _own(net: Net, weights: dict[str, Tensor], about: Mapping[str, str]) -> Foreign:
    """Make the net of a graph that `alexnet export` wrote, after checking that its graph computes its recipe's net."""
    try:
        recipe = Recipe.of(parse_json(about["recipe"].encode()))
        listed = parse_json(about["classes"].encode()) if "classes" in about else None
        sizes = {"mean": (-1, 3), "eigenvalues": (3,), "eigenvectors": (3, 3)}
        numbers = {
            name: torch.from_numpy(
                np.frombuffer(base64.b64decode(about[name], validate=True), "<f4").reshape(size).copy()
            )
            for name, size in sizes.items()
        }
    except InputError:
        raise
    except (KeyError, ValueError) as error:
        raise InputError(f"its metadata cannot be read ({shorten(str(error))})") from None
    if not isinstance(recipe.net, Net):
        raise InputError("its metadata's recipe is not of an AlexNet")
    for here, said in itertools.zip_longest(chain.behaviour(net), chain.behaviour(recipe.net)):
        if here != said:
            raise InputError(f"its graph computes {here}, where its metadata's recipe says {said}")
    fit = about.get("fit", "crop")
    if fit not in get_args(Fit):
        raise InputError(f"its metadata's fit is {shorten(fit)}, not one of {', '.join(get_args(Fit))}")
    side = math.isqrt(len(numbers["mean"]))
    if side * side != len(numbers["mean"]) or side < net.image_size:
        raise InputError(
            f"its metadata's mean has {len(numbers['mean']):,} pixels, not those of a square for its views"
        )
    for name, tensor in numbers.items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"its metadata's {name} has NaN or infinite values")
    return Foreign(
        "onnx",
        about.get("name", "own"),
        recipe,
        weights,
        numbers["mean"].view(side, side, 3),
        classes=None if listed is None else foreign.classes_of(listed, "its metadata's classes", exact=True),
        licence=about.get("licence") or "its metadata does not say",
        fit=cast(Fit, fit),
        notes=("recipe, classes and mean are those of its metadata",),
        eigenvalues=numbers["eigenvalues"],
        eigenvectors=numbers["eigenvectors"],
    )


def _others(
    file: Path,
    kind: str,
    base: str,
    net: Net,
    weights: dict[str, Tensor],
    front: Front,
    mean: Path | None,
    licence: str,
) -> Foreign:
    """Make the net of another library's graph, whose input is made as the user says."""
    if kind == "auto":
        raise InputError(INPUTS)
    if kind != "onnx" and base != ("owt" if kind == "torchvision" else kind):
        raise InputError(
            f"its layers are those of {base}, not of {kind}; give the --as of what made its input, or onnx"
        )
    bgr = kind in caffe.KINDS
    view = 227 if bgr else 224
    side = foreign.side_of_squares(net.image_size, view)
    std: tuple[float, ...] = ()
    place = "place"
    if front.used:
        if mean is not None:
            raise InputError("its graph subtracts a mean itself; leave out --mean")
        picture, std, place = _front(front, net, side, bgr)
        notes = ("the mean and the divisors of the colours are those of its first nodes",)
    elif kind == "torchvision":
        picture, std = np.asarray(MEAN, np.float32), RECIPES["owt"].views.std
        notes = ("the mean and the divisors of the colours are torchvision's constants, as you said",)
        if mean is not None:
            raise InputError("--as torchvision has its own mean; leave out --mean")
    elif mean is None:
        raise InputError(INPUTS)
    elif bgr:
        picture, notes = caffe.read_mean(mean, net).numpy(), (f"the mean is {mean}",)
        side = len(picture)
    elif mean.suffix != ".npy":
        raise InputError(
            f"{mean} is not a .npy file; a .binaryproto is Caffe's, in BGR, and belongs to --as bvlc or caffenet"
        )
    else:
        picture, notes = _rgb(mean), (f"the mean is {mean}, in RGB",)
        side = len(picture) if picture.ndim == 3 else side
        if side < net.image_size:
            raise InputError(f"{mean} has side {side}, less than the {net.image_size} pixels of a view")
    if bgr:
        weights = weights | {"conv1.weight": weights["conv1.weight"].flip(1)}
    order = "BGR" if bgr else "RGB"
    recipe = RECIPES[base].replace(net=net, views={"std": std, "mean": place})
    return Foreign(
        "onnx",
        base,
        recipe,
        weights,
        foreign.mean_picture(mean or file, picture, side),
        licence=shorten(licence),
        fit="warp" if bgr else "crop",
        notes=(*notes, f"its input is {order}"),
    )


def _rgb(file: Path) -> np.ndarray:
    """Read a mean (3, side, side) or (3,), RGB, and return it as (side, side, 3) or (3,)."""
    values = foreign.read_npy(file)
    if values.shape != (3,) and (values.ndim != 3 or values.shape[0] != 3 or values.shape[1] != values.shape[2]):
        said = " x ".join(map(str, values.shape)) or "one number"
        raise InputError(f"{file} is {said}; a mean is 3 x side x side or 3, red first")
    return values if values.ndim == 1 else values.transpose(1, 2, 0)


def _front(front: Front, net: Net, side: int, bgr: bool) -> tuple[np.ndarray, tuple[float, ...], str]:
    """Return the mean, the divisors and the place of the mean that say what the first nodes do to raw pixels."""
    if front.a.shape[1:] != (1, 1) or (front.a <= 0).any():
        raise InputError("its first nodes multiply the input by something else than a positive factor for each colour")
    divisor, mean = 1 / front.a, -front.b / front.a
    if np.abs(mean).max() <= 1.5 and divisor.max() <= 1.5:  # of pixels from 0 to 1
        divisor, mean = divisor * 255, mean * 255
    divisor, mean = np.broadcast_to(divisor, (3, 1, 1)), np.broadcast_to(mean, (3, *mean.shape[1:]))
    if bgr:
        divisor, mean = divisor[::-1], mean[::-1]
    std = () if (divisor == 1).all() else tuple(single(d) for d in divisor.reshape(-1))
    if mean.shape[1:] == (1, 1):
        return mean.reshape(3), std, "place"
    if mean.shape[1:] != (net.image_size, net.image_size):
        raise InputError(f"its first nodes subtract {mean.shape[1]} x {mean.shape[2]} pixels of {net.image_size}")
    whole = np.empty((side, side, 3), np.float32)
    whole[:] = mean.mean((1, 2))
    first = (side - net.image_size) // 2
    whole[first : first + net.image_size, first : first + net.image_size] = mean.transpose(1, 2, 0)
    return whole, std, "centre"
