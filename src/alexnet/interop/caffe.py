"""Read Caffe's .caffemodel: BVLC's AlexNet and CaffeNet, with the mean picture that they were trained with.

Caffe's pictures are BGR. Here the first convolution's weights and the mean change the order of their channels, which is
exact, and nothing else changes.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.core.text import shorten
from alexnet.interop import chain, foreign
from alexnet.interop.chain import Part, single
from alexnet.interop.foreign import Foreign
from alexnet.interop.wire import check_fields

LICENCE = "unrestricted use, as BVLC's model zoo says of its own nets"
KINDS = ("bvlc", "caffenet")
NEEDS = "reading a .caffemodel needs protobuf, which is not installed; pip install 'alexnet[caffe]'"
LAYERS_V1, LAYERS_V2, BLOBS_V1, BLOBS_V2 = 2, 100, 6, 7  # fields of NetParameter and of its layers
MOST_DIMENSIONS = 1024  # bytes of a blob's shape

# The types of layers in the older wire format are numbers.
TYPES = {
    1: "Accuracy", 3: "Concat", 4: "Convolution", 5: "Data", 6: "Dropout", 8: "Flatten", 9: "HDF5Data",
    12: "ImageData", 14: "InnerProduct", 15: "LRN", 17: "Pooling", 18: "ReLU", 19: "Sigmoid", 20: "Softmax",
    21: "SoftmaxWithLoss", 22: "Split", 23: "TanH", 24: "WindowData", 25: "Eltwise", 29: "MemoryData",
    32: "DummyData", 36: "Silence",
}  # fmt: skip
BESIDE = {  # layers that do not change the logits
    "Data", "HDF5Data", "ImageData", "WindowData", "MemoryData", "DummyData", "Input", "Accuracy", "Softmax",
    "SoftmaxWithLoss", "Split", "Silence", "Flatten",
}  # fmt: skip

# The fields that are read, by message: name, number, type; "+" for repeated ones. A message inside another is bytes
# here, and is decoded by itself, so that a file decides neither how deep nor how much is decoded.
FIELDS: dict[str, list[tuple[str, int, str]]] = {
    "Net": [
        ("name", 1, "bytes"), ("layers", 2, "bytes+"), ("input_dim", 4, "int64+"), ("input_shape", 8, "bytes"),
        ("layer", 100, "bytes+"),
    ],
    "V1": [
        ("old", 1, "bytes"), ("bottom", 2, "bytes+"), ("top", 3, "bytes+"), ("name", 4, "bytes"), ("type", 5, "int64"),
        ("blobs", 6, "bytes+"), ("convolution", 10, "bytes"), ("dropout", 12, "bytes"), ("full", 17, "bytes"),
        ("lrn", 18, "bytes"), ("pooling", 19, "bytes"), ("relu", 30, "bytes"), ("transform", 36, "bytes"),
    ],
    "V2": [
        ("name", 1, "bytes"), ("type", 2, "bytes"), ("bottom", 3, "bytes+"), ("top", 4, "bytes+"),
        ("blobs", 7, "bytes+"), ("transform", 100, "bytes"), ("convolution", 106, "bytes"), ("dropout", 108, "bytes"),
        ("full", 117, "bytes"), ("lrn", 118, "bytes"), ("pooling", 121, "bytes"), ("relu", 123, "bytes"),
        ("input", 143, "bytes"),
    ],
    "Blob": [
        ("num", 1, "int64"), ("channels", 2, "int64"), ("height", 3, "int64"), ("width", 4, "int64"),
        ("data", 5, "float+"), ("shape", 7, "bytes"), ("double_data", 8, "double+"),
    ],
    "Shape": [("dim", 1, "int64+")],
    "Transform": [("scale", 1, "float"), ("crop_size", 3, "int64")],
    "Input": [("shape", 1, "bytes")],
    "Conv": [
        ("pad", 3, "int64+"), ("kernel_size", 4, "int64+"), ("group", 5, "int64"), ("stride", 6, "int64+"),
        ("pad_h", 9, "int64"), ("pad_w", 10, "int64"), ("stride_h", 13, "int64"), ("stride_w", 14, "int64"),
        ("dilation", 18, "int64+"),
    ],
    "Dropout": [("ratio", 1, "float"), ("scale_train", 2, "bool")],
    "Full": [("axis", 5, "int64"), ("transpose", 6, "bool")],
    "LRN": [
        ("local_size", 1, "int64"), ("alpha", 2, "float"), ("beta", 3, "float"), ("norm_region", 4, "int64"),
        ("k", 5, "float"),
    ],
    "Pool": [
        ("pool", 1, "int64"), ("kernel_size", 2, "int64"), ("stride", 3, "int64"), ("pad", 4, "int64"),
        ("kernel_h", 5, "int64"), ("kernel_w", 6, "int64"), ("stride_h", 7, "int64"), ("stride_w", 8, "int64"),
        ("pad_h", 9, "int64"), ("pad_w", 10, "int64"), ("global_pooling", 12, "bool"), ("round_mode", 13, "int64"),
    ],
    "Relu": [("negative_slope", 1, "float")],
}  # fmt: skip

# The messages of FIELDS with a layer's settings.
SETTINGS = {
    "convolution": "Conv",
    "dropout": "Dropout",
    "full": "Full",
    "lrn": "LRN",
    "pooling": "Pool",
    "relu": "Relu",
}
BEFORE = {"transform": "Transform", "input": "Input"}  # the messages of a layer that gives the pictures
LRN_DEFAULTS = {"local_size": 5, "alpha": 1.0, "beta": 0.75, "k": 1.0}  # Caffe's


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of the file: its type, its blobs, and its settings by message where the file has them."""

    name: str
    type: str
    bottom: str
    top: str
    blobs: tuple[Tensor, ...]
    settings: Mapping[str, Any]


def read_caffemodel(file: Path, data: bytes, kind: str = "auto", mean: Path | None = None) -> Foreign:
    """Read a net from the bytes of a .caffemodel.

    Args:
        file: The file, for messages, and for its folder, where the mean may lie.
        data: Its bytes.
        kind: "bvlc", "caffenet", or "auto" for what the file's list of layers says.
        mean: File of the mean picture or pixel; by default the only .binaryproto beside the file.

    Raises:
        InputError: The file is damaged or not such a net, or there is no mean.
    """
    layers, size = read_layers(file, data)
    try:
        kind, parts, notes = as_chain(layers, kind)
        base = RECIPES[kind]
        assert isinstance(base.net, Net)
        net, weights = chain.net_of(parts, base.net, size)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    by_layer = dict(_names(layers))
    weights = foreign.own_tensors(file, weights, 2 * len(data), by_layer.__getitem__)
    weights["conv1.weight"] = weights["conv1.weight"].flip(1)  # BGR to RGB
    recipe = base.replace(net=net)
    foreign.check_net(file, weights, net, by_layer.__getitem__)
    picture, said = find_mean(file, mean, net)
    return Foreign(kind, kind, recipe, weights, picture, licence=LICENCE, fit="warp", notes=(*notes, said))


def read_layers(file: Path, data: bytes) -> tuple[list[Layer], int | None]:
    """Decode the layers of a .caffemodel, of either wire format, and the side of its views if it says that."""
    check_fields(file, data, {LAYERS_V1: {BLOBS_V1: None}, LAYERS_V2: {BLOBS_V2: None}})
    try:
        net = message("Net", data)
        if len(net.layers) and len(net.layer):
            raise InputError("it mixes two wire formats")
        found = [layer("V1", one) for one in net.layers] or [layer("V2", one) for one in net.layer]
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    if not any(one.blobs for one in found):
        raise InputError(f"{file} is not a .caffemodel with weights: none of its {len(found)} layers has any")
    try:
        return found, side_of_views(net, found)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def side_of_views(net: Any, layers: Sequence[Layer]) -> int | None:
    """Find the side of the views in the net's input or its layers of data; None if the file does not say it."""
    shapes = [tuple(net.input_dim[:8]), tuple(message("Shape", net.input_shape).dim[:8])]
    for one in layers:
        if "input" in one.settings:
            shapes.append(tuple(message("Shape", one.settings["input"].shape).dim[:8]))
        own = one.settings.get("transform")
        if own and own.HasField("scale") and own.scale != 1:
            raise InputError(f"layer {one.name} scales its pictures by {single(own.scale)}, as no kind here does")
        if own and own.crop_size:
            return int(own.crop_size)
    return next((shape[3] for shape in shapes if len(shape) == 4 and shape[2] == shape[3] > 0), None)


def layer(version: str, data: bytes) -> Layer:
    """Decode one layer."""
    found = message(version, data)
    if version == "V1" and found.old:
        raise InputError("it is older than Caffe's first layers; upgrade it with Caffe's upgrade_net_proto_binary")
    name = found.name.decode(errors="backslashreplace")
    kind = TYPES.get(found.type, f"type {found.type}") if version == "V1" else found.type.decode(errors="replace")
    there = {field.name for field, _ in found.ListFields()}
    settings = {key: message(of, getattr(found, key)) for key, of in (SETTINGS | BEFORE).items() if key in there}
    bottom, top = (end[0].decode(errors="replace") if end else "" for end in (found.bottom, found.top))
    return Layer(name, kind, bottom, top, tuple(blob(name, one) for one in found.blobs), settings)


def blob(name: str, data: bytes) -> Tensor:
    """Decode one array of weights."""
    found = message("Blob", data)
    if len(found.shape) > MOST_DIMENSIONS:
        raise InputError(f"layer {name} has a shape of {len(found.shape):,} bytes")
    old = (found.num, found.channels, found.height, found.width)
    shape = tuple(message("Shape", found.shape).dim) if found.HasField("shape") else old
    values = np.array(found.data, np.float32) if len(found.data) else np.array(found.double_data, np.float64)
    if min(shape, default=1) < 0 or math.prod(shape) != values.size:
        said = " x ".join(map(str, shape[:8]))
        raise InputError(f"layer {name} has {values.size:,} numbers for the shape {said}")
    return torch.from_numpy(values.reshape(shape))


def as_chain(layers: Sequence[Layer], kind: str) -> tuple[str, list[Part], tuple[str, ...]]:
    """Make a chain of a file's layers, and choose the kind by their order.

    Returns:
        The kind, the chain, and sentences for the user.

    Raises:
        InputError: A layer is not AlexNet's, its input is not the layer before it, or the order does not tell the kind
            or contradicts the one that was given.
    """
    listed = [one for one in layers if one.type not in BESIDE]
    if all(one.blobs for one in listed):  # weights alone
        if kind not in KINDS:
            raise InputError(
                "it lists weights alone, not the order of pools and norms; give --as bvlc (BVLC's AlexNet) or "
                "--as caffenet"
            )
        return kind, list(_stripped(listed, kind)), (f"pools, norms and paddings are those of {kind}, as you said",)
    _check_links(listed)
    order = [one.type for one in listed if one.type in ("LRN", "Pooling")][:2]
    seen = "caffenet" if order == ["Pooling", "LRN"] else "bvlc"
    if kind in KINDS and kind != seen and "LRN" in order:
        raise InputError(f"its layers have the order of {seen}, not of {kind}; leave out --as {kind}")
    kind = kind if kind in KINDS and "LRN" not in order else seen
    bare = not any(SETTINGS.keys() & one.settings.keys() for one in listed)
    parts = list(_stripped_settings(listed, kind) if bare else _with_settings(listed))
    return kind, parts, (f"the order of its layers is that of {kind}",)


def _check_links(layers: Sequence[Layer]) -> None:
    for before, one in itertools.pairwise(layers):
        if one.bottom and before.top and one.bottom != before.top and not one.bottom.startswith(f"{before.top}_"):
            raise InputError(f"layer {one.name} reads {shorten(one.bottom)}, not {before.name}, the layer before it")


def _with_settings(layers: Sequence[Layer]) -> Iterator[Part]:
    """Make a part of each layer by its own settings, with Caffe's defaults."""
    for one in layers:
        if one.type == "Convolution":
            yield _convolution(one)
        elif one.type == "InnerProduct":
            own = one.settings.get("full")
            if own and (own.transpose or own.axis not in (0, 1)):
                raise InputError(f"layer {one.name} has a transposed weight or another axis, which is not read")
            yield _full(one)
        elif one.type == "ReLU":
            if "relu" in one.settings and one.settings["relu"].negative_slope:
                raise InputError(f"layer {one.name} is a leaky ReLU, which AlexNet has nowhere")
            yield chain.Relu(one.name)
        elif one.type == "Dropout":
            own = one.settings.get("dropout")
            if own and own.HasField("scale_train") and not own.scale_train:
                raise InputError(f"layer {one.name} scales its dropout in testing, as no kind of .caffemodel here does")
            yield chain.Drop(one.name, single(own.ratio) if own and own.HasField("ratio") else 0.5)
        elif one.type == "LRN":
            yield _norm(one)
        elif one.type == "Pooling":
            yield _pool(one)
        else:
            raise InputError(f"layer {one.name} is {shorten(one.type)}, which AlexNet lacks")


def _stripped_settings(layers: Sequence[Layer], kind: str) -> Iterator[Part]:
    """Make the parts of a file that lists all layers, but not their settings: those of the kind."""
    net = RECIPES[kind].net
    assert isinstance(net, Net)
    weighted = iter(list(_stripped([one for one in layers if one.blobs], kind, weighted=True)))
    made: dict[str, Callable[[str], Part]] = {
        "ReLU": chain.Relu,
        "LRN": lambda name: _norm_of(name, net),
        "Pooling": lambda name: chain.Pool(name, net.pool, 2, net.pool_ceil),
        "Dropout": lambda name: chain.Drop(name, net.dropout),
    }
    for one in layers:
        if one.blobs:
            yield next(weighted)
        elif one.type in made:
            yield made[one.type](one.name)
        else:
            raise InputError(f"layer {one.name} is {shorten(one.type)}, which AlexNet lacks")


def _stripped(layers: Sequence[Layer], kind: str, weighted: bool = False) -> Iterator[Part]:
    """Make the chain of a kind out of its layers with weights alone."""
    net = RECIPES[kind].net
    assert isinstance(net, Net)
    if len(layers) != 8:
        raise InputError(f"it has {len(layers)} layers with weights, and AlexNet 8")
    inputs = 3
    for i, one in enumerate(layers, 1):
        if i > 5:
            yield _full(one)
        else:
            _check_blobs(one, 4)
            maps, seen, *_ = one.blobs[0].shape
            pad, groups = net.padding[i - 1], max(1, inputs // max(1, seen))
            weight, bias = one.blobs[0], one.blobs[1].flatten()
            yield chain.Convolution(one.name, weight, bias, net.stride if i == 1 else 1, (pad,) * 4, groups)
            inputs = maps
        if weighted:
            continue
        if i < 8:
            yield chain.Relu(f"relu{i}")
        if i in (1, 2, 5):
            pool = chain.Pool(f"pool{i}", net.pool, 2, net.pool_ceil)
            norms = [_norm_of(f"norm{i}", net)] if i < 5 else []
            yield from [pool, *norms] if net.pool_first else [*norms, pool]


def _norm_of(name: str, net: Net) -> chain.Norm:
    assert net.lrn
    return chain.Norm(name, net.lrn.n, net.lrn.k, net.lrn.alpha, net.lrn.beta)


def _convolution(one: Layer) -> chain.Convolution:
    _check_blobs(one, 4)
    own = one.settings.get("convolution")
    if own is None:
        raise InputError(f"layer {one.name} lacks its settings, which other layers have")
    strides, pads = _pair(own, "stride", 1), _pair(own, "pad", 0)
    if strides[0] != strides[1] or pads[0] != pads[1]:
        raise InputError(f"layer {one.name} has other strides or zeros across than down")
    if set(own.dilation) - {1}:
        raise InputError(f"layer {one.name} has a dilation of {own.dilation[0]}, which AlexNet has nowhere")
    groups = own.group if own.HasField("group") else 1
    return chain.Convolution(one.name, one.blobs[0], one.blobs[1].flatten(), strides[0], (pads[0],) * 4, groups)


def _full(one: Layer) -> chain.Full:
    _check_blobs(one, 2)
    return chain.Full(one.name, _matrix(one.blobs[0]), one.blobs[1].flatten())


def _norm(one: Layer) -> chain.Norm:
    own = one.settings.get("lrn", message("LRN", b""))
    if own.norm_region:
        raise InputError(f"layer {one.name} normalises within a map, not across maps as AlexNet does")
    given = {key: getattr(own, key) if own.HasField(key) else default for key, default in LRN_DEFAULTS.items()}
    k, alpha, beta = (single(given[key]) for key in ("k", "alpha", "beta"))
    return chain.Norm(one.name, int(given["local_size"]), k, alpha, beta)


def _pool(one: Layer) -> chain.Pool:
    own = one.settings.get("pooling", message("Pool", b""))
    if own.pool or own.global_pooling:
        raise InputError(f"layer {one.name} is no maximum over windows, which AlexNet's pools are")
    (high, wide), strides, pads = _pair(own, "kernel_size", 0), _pair(own, "stride", 1), _pair(own, "pad", 0)
    if high != wide or strides[0] != strides[1] or any(pads):
        raise InputError(f"layer {one.name} has zeros at its border, or other windows across than down")
    return chain.Pool(one.name, high, strides[0], own.round_mode != 1)


def _pair(own: Any, name: str, default: int) -> tuple[int, int]:
    """Return a setting down and across, which Caffe writes as one number, or as two fields."""
    short = "kernel" if name == "kernel_size" else name
    if any(own.HasField(f"{short}_{axis}") for axis in "hw" if f"{short}_{axis}" in own.DESCRIPTOR.fields_by_name):
        return getattr(own, f"{short}_h"), getattr(own, f"{short}_w")
    value = getattr(own, name)
    if isinstance(value, int):
        value = [value] if own.HasField(name) else []
    return (value[0], value[-1]) if len(value) else (default, default)


def _check_blobs(one: Layer, dimensions: int) -> None:
    """Raise InputError unless a layer has a weight and a bias."""
    wanted = "Convolution" if dimensions == 4 else "InnerProduct"
    if one.type and one.type != wanted:
        raise InputError(f"layer {one.name} is {shorten(one.type)}, where AlexNet has {wanted}")
    if len(one.blobs) != 2:
        raise InputError(f"layer {one.name} has {len(one.blobs)} arrays of weights; a weight and a bias are needed")
    weight = one.blobs[0] if dimensions == 4 else _matrix(one.blobs[0])
    if weight.dim() != dimensions:
        said = " x ".join(map(str, weight.shape))
        raise InputError(f"layer {one.name} has a weight of {said}; {dimensions} dimensions are needed")


def _matrix(weight: Tensor) -> Tensor:
    """Take away the two leading dimensions of 1 that Caffe's older format adds."""
    return weight.flatten(0, 2) if weight.dim() == 4 and weight.shape[:2] == (1, 1) else weight


def _names(layers: Sequence[Layer]) -> Iterator[tuple[str, str]]:
    ours = [f"conv{i}" for i in range(1, 6)] + ["fc6", "fc7", "fc8"]
    for name, one in zip(ours, (one for one in layers if one.blobs), strict=True):
        yield from ((f"{name}.{part}", f"the {part} of layer {one.name}") for part in ("weight", "bias"))


def find_mean(file: Path, mean: Path | None, net: Net) -> tuple[Tensor, str]:
    """Read the mean that belongs to a net, and say where it was found.

    Raises:
        InputError: No file was given and none, or more than one, lies beside the net; or the file does not fit.
    """
    if mean is not None:
        return read_mean(mean, net), f"the mean is {mean}"
    try:
        beside = sorted(p for p in file.parent.iterdir() if p.suffix == ".binaryproto")
    except OSError:
        beside = []
    if len(beside) != 1:
        seen = f"{len(beside)} .binaryproto files lie" if beside else "no .binaryproto lies"
        raise InputError(
            f"{file} needs the mean that it was trained with, and {seen} beside it; give --mean FILE (.binaryproto, or "
            ".npy in BGR)"
        )
    return read_mean(beside[0], net), f"the mean is {beside[0]}, the only .binaryproto beside the file"


def read_mean(file: Path, net: Net) -> Tensor:
    """Read a mean picture (3, side, side) or pixel (3,), BGR, and return a picture (side, side, 3), RGB."""
    if file.suffix == ".npy":
        values = foreign.read_npy(file)
    elif file.suffix == ".binaryproto":
        data = foreign.read_file(file, foreign.MOST_MEAN)
        try:
            values = blob("of the mean", data).numpy()
        except InputError as error:
            raise InputError(f"{file} is not a mean picture: {error}") from None
    else:
        raise InputError(f"{file} has the suffix {file.suffix or '(none)'}; a mean is a .binaryproto or a .npy file")
    values = values[0] if values.ndim == 4 and len(values) == 1 else values
    if values.shape == (3,):
        return foreign.mean_picture(file, values[::-1], foreign.side_of_squares(net.image_size, 227))
    if values.ndim != 3 or values.shape[0] != 3 or values.shape[1] != values.shape[2]:
        said = " x ".join(map(str, values.shape)) or "one number"
        raise InputError(f"{file} is {said}; a mean is 3 x side x side or 3, blue first")
    if values.shape[1] < net.image_size:
        raise InputError(f"{file} has side {values.shape[1]}, less than the {net.image_size} pixels of a view")
    return foreign.mean_picture(file, values[::-1].transpose(1, 2, 0), values.shape[1])


def message(name: str, data: bytes) -> Any:
    """Decode one message of FIELDS."""
    from google.protobuf.message import DecodeError

    found = messages()[name]()
    try:
        found.ParseFromString(data)
    except DecodeError:
        raise InputError("it is not a .caffemodel, or is damaged; fetch it again") from None
    return found


@functools.cache
def messages() -> dict[str, Any]:
    """Make the classes of FIELDS; raise InputError if protobuf is not installed."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError:
        raise InputError(NEEDS) from None
    file = descriptor_pb2.FileDescriptorProto(name="alexnet_caffe.proto", package="alexnet.caffe", syntax="proto2")
    for name, fields in FIELDS.items():
        added = file.message_type.add(name=name)
        for field, number, kind in fields:
            one = added.field.add(name=field, number=number)
            one.type = getattr(one, f"TYPE_{kind.removesuffix('+').upper()}")
            one.label = one.LABEL_REPEATED if kind.endswith("+") else one.LABEL_OPTIONAL
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"alexnet.caffe.{name}")) for name in FIELDS
    }
