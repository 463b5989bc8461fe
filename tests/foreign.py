"""Weights of other libraries, small and random: how their nets compute, and files of them, written byte by byte."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

WIDTHS, HIDDEN, CLASSES = (8, 16, 16, 16, 16), 32, 5
CLASS_NAMES = ("zebra", "ant", "n02119789 kit fox, Vulpes macrotis", "mouse", "bee")  # not in alphabetical order
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
THEIRS = (*(f"features.{i}" for i in (0, 3, 6, 8, 10)), *(f"classifier.{i}" for i in (1, 4, 6)))
PIXELS = np.random.Generator(np.random.Philox(18))


@dataclass(frozen=True)
class Kind:
    """How a library's AlexNet computes, for `forward`."""

    size: int  # pixels of a view
    side: int  # pixels of the squares that views are cut from
    groups: int
    pads: tuple[int, ...]
    order: str  # of what follows the ReLUs of conv1 and conv2
    ceil: bool


CAFFE = Kind(67, 75, 2, (0, 2, 1, 1, 1), "norm pool", ceil=True)
CAFFENET = Kind(67, 75, 2, (0, 2, 1, 1, 1), "pool norm", ceil=True)
TORCHVISION = Kind(63, 72, 1, (2, 2, 1, 1, 1), "pool", ceil=False)


def weights(kind: Kind, seed: int = 0, classes: int = CLASSES) -> dict[str, Tensor]:
    """Random weights by our names of layers, that keep a signal of 60 alive to the logits."""
    chance = torch.Generator().manual_seed(seed)
    inputs = (3, *WIDTHS[:4])
    shapes = [
        (maps, seen // (kind.groups if i in (1, 3, 4) else 1), side, side)
        for i, (maps, seen, side) in enumerate(zip(WIDTHS, inputs, (11, 5, 3, 3, 3), strict=True))
    ]
    full = [(HIDDEN, WIDTHS[4]), (HIDDEN, HIDDEN), (classes, HIDDEN)]
    made = {}
    for name, shape in zip(LAYERS, [*shapes, *full], strict=True):
        fan_in = int(np.prod(shape[1:]))
        made[f"{name}.weight"] = torch.randn(shape, generator=chance) * (2 / fan_in) ** 0.5
        made[f"{name}.bias"] = torch.randn(shape[0], generator=chance)
    return made


def forward(kind: Kind, w: Mapping[str, Tensor], x: Tensor) -> tuple[list[Tensor], Tensor]:
    """The five ReLUs of the convolutions and the logits, by torch's functions; dropout is off and scales nothing."""
    taps = []
    for i in range(1, 6):
        stride, groups = (4 if i == 1 else 1), (kind.groups if i in (2, 4, 5) else 1)
        x = F.relu(F.conv2d(x, w[f"conv{i}.weight"], w[f"conv{i}.bias"], stride, kind.pads[i - 1], groups=groups))
        taps.append(x)
        for step in (kind.order if i < 3 else "pool" if i == 5 else "").split():
            if step == "pool":
                x = F.max_pool2d(x, 3, 2, ceil_mode=kind.ceil)
            else:  # torch divides alpha by n, as Caffe does
                x = F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)
    x = x.flatten(1)
    for name in ("fc6", "fc7"):
        x = F.relu(F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"]))
    return taps, F.linear(x, w["fc8.weight"], w["fc8.bias"])


def squares(kind: Kind, count: int = 4) -> np.ndarray:
    """Random pictures, uint8 (count, side, side, 3)."""
    return PIXELS.integers(0, 256, (count, kind.side, kind.side, 3), dtype=np.uint8)


def mean_bgr(kind: Kind) -> np.ndarray:
    """A mean picture as Caffe has it, (3, side, side), whose colours and places differ."""
    places = np.random.Generator(np.random.Philox(1)).normal(0, 12, (3, kind.side, kind.side))
    return (places + np.array([104.0, 117.0, 123.0])[:, None, None]).astype(np.float32)


def caffe_views(kind: Kind, pictures: np.ndarray, top: int | None = None, left: int | None = None) -> Tensor:
    """What Caffe's data layer makes of pictures: BGR, minus the mean, then a crop; the central one by default."""
    bgr = pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) - mean_bgr(kind)
    middle = (kind.side - kind.size) // 2
    top, left = middle if top is None else top, middle if left is None else left
    return torch.from_numpy(bgr[:, :, top : top + kind.size, left : left + kind.size].copy())


def torchvision_views(kind: Kind, pictures: np.ndarray) -> Tensor:
    """What torchvision's transforms make of pictures: ToTensor, CenterCrop, Normalize."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    middle = (kind.side - kind.size) // 2
    x = x[:, :, middle : middle + kind.size, middle : middle + kind.size]
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (x - mean) / std


def torchvisions(w: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Weights by torchvision's names."""
    names = dict(zip(LAYERS, THEIRS, strict=True))
    return {f"{prefix}{names[n.split('.')[0]]}.{n.split('.')[1]}": t for n, t in w.items()}


def off(ours: Tensor, theirs: Tensor) -> float:
    """How far two outputs are apart, as a part of the largest."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


# Caffe's files, in protocol buffers' wire format.


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def single(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value)


def chunk(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


@dataclass(frozen=True)
class Wire:
    """Which of the ways of Caffe's files to write: the older layers or the newer, packed numbers, doubles, shapes."""

    version: int = 2
    packed: bool = True
    doubles: bool = False
    shapes: bool = True
    settings: bool = True  # of convolutions, norms and pools
    listed: bool = True  # layers without weights too
    dropouts: bool = True


def blob(values: np.ndarray, wire: Wire) -> bytes:
    """An array: BlobProto."""
    if wire.shapes:
        head = chunk(7, chunk(1, b"".join(map(varint, values.shape))))
    else:
        shape = (1,) * (4 - values.ndim) + values.shape
        head = b"".join(number(field, n) for field, n in enumerate(shape, 1))
    field, kind = (8, "<f8") if wire.doubles else (5, "<f4")
    data = values.astype(kind)
    if wire.packed:
        return head + chunk(field, data.tobytes())
    tag = varint(field << 3 | (1 if wire.doubles else 5))
    return head + b"".join(tag + one.tobytes() for one in data.reshape(-1))


V1_TYPES = {"Convolution": 4, "ReLU": 18, "LRN": 15, "Pooling": 17, "InnerProduct": 14, "Dropout": 6, "Softmax": 20}
V1_FIELDS = {"Convolution": 10, "LRN": 18, "Pooling": 19, "InnerProduct": 17, "Dropout": 12}
V2_FIELDS = {"Convolution": 106, "LRN": 118, "Pooling": 121, "InnerProduct": 117, "Dropout": 108}


def layer(
    wire: Wire, kind: str, name: str, bottom: str, top: str, settings: bytes = b"", arrays: Iterable[bytes] = ()
) -> bytes:
    """A layer of a net."""
    own = settings if wire.settings else b""
    if wire.version == 1:
        body = chunk(2, bottom.encode()) + chunk(3, top.encode()) + chunk(4, name.encode())
        body += number(5, V1_TYPES.get(kind, 0)) + b"".join(chunk(6, a) for a in arrays)
        return chunk(2, body + (chunk(V1_FIELDS[kind], own) if own else b""))
    body = chunk(1, name.encode()) + chunk(2, kind.encode()) + chunk(3, bottom.encode()) + chunk(4, top.encode())
    body += b"".join(chunk(7, a) for a in arrays)
    return chunk(100, body + (chunk(V2_FIELDS[kind], own) if own else b""))


def caffemodel(kind: Kind, w: Mapping[str, Tensor], wire: Wire = Wire(), **change: bytes) -> bytes:
    """A net as Caffe saves it; `change` replaces the settings of layers, by name."""
    made, below = chunk(1, b"AlexNet"), "data"

    def add(type_: str, name: str, settings: bytes = b"", in_place: bool = False) -> None:
        nonlocal made, below
        top, arrays = below if in_place else name, list[bytes]()
        if f"{name}.weight" in w:
            arrays = [blob(w[f"{name}.{part}"].numpy(), wire) for part in ("weight", "bias")]
        if wire.listed or arrays:
            made += layer(wire, type_, name, below, top, change.get(name, settings), arrays)
        below = top

    for i in range(1, 6):
        settings = number(1, WIDTHS[i - 1]) + number(3, kind.pads[i - 1]) + number(4, (11, 5, 3, 3, 3)[i - 1])
        settings += number(5, kind.groups if i in (2, 4, 5) else 1) + number(6, 4 if i == 1 else 1)
        add("Convolution", f"conv{i}", settings)
        add("ReLU", f"relu{i}", in_place=True)
        for step in (kind.order if i < 3 else "pool" if i == 5 else "").split():
            if step == "pool":
                add("Pooling", f"pool{i}", number(1, 0) + number(2, 3) + number(3, 2))
            else:
                add("LRN", f"norm{i}", number(1, 5) + single(2, 1e-4) + single(3, 0.75))
    for i in (6, 7, 8):
        add("InnerProduct", f"fc{i}", number(1, len(w[f"fc{i}.bias"])))
        if i < 8:
            add("ReLU", f"relu{i}", in_place=True)
            if wire.dropouts:
                add("Dropout", f"drop{i}", single(1, 0.5), in_place=True)
    add("Softmax", "prob")
    return made


def binaryproto(mean: np.ndarray) -> bytes:
    """A mean picture as Caffe saves it."""
    return blob(mean, Wire(shapes=False))


# ONNX graphs, by onnx's own helper.


def onnx_model(
    kind: Kind,
    w: Mapping[str, Tensor],
    *,
    before: Sequence[Any] = (),
    after: Sequence[Any] = (),
    change: Mapping[str, Any] | None = None,
    transposed: bool = False,
    drop: float | None = None,
    size: int | None = None,
    alpha: float = 1e-4,
    k: float = 1.0,
    towers: int = 1,
    pads: Mapping[str, Sequence[int]] | None = None,
    ceil: bool | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Any:
    """A net as a graph; `before` and `after` are (type, constants, attributes) of nodes at its ends."""
    import onnx
    from onnx import TensorProto, numpy_helper
    from onnx import helper as h

    nodes: list[Any] = []
    constants: list[Any] = []
    value = "x"

    def constant(name: str, array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(type_: str, name: str, *more: str, **attributes: Any) -> str:
        nonlocal value
        own = (change or {}).get(name, {})
        nodes.append(
            h.make_node(own.pop("type", type_) if own else type_, [value, *more], [name], name, **(attributes | own))
        )
        value = name
        return name

    def norm(name: str) -> None:
        nonlocal value
        numbers: dict[str, Any] = {"size": 5, "alpha": alpha, "beta": 0.75, "bias": k}
        if towers == 1:
            add("LRN", name, **numbers)
            return
        ends = [f"{name}_{t}" for t in range(towers)]
        nodes.append(h.make_node("Split", [value], [f"{end}_in" for end in ends], f"{name}_split", axis=1))
        nodes.extend(h.make_node("LRN", [f"{end}_in"], [end], end, **numbers) for end in ends)
        nodes.append(h.make_node("Concat", ends, [name], name, axis=1))
        value = name

    for i, (type_, arrays, attributes) in enumerate(before):
        add(type_, f"before{i}", *(constant(f"before{i}_{j}", a) for j, a in enumerate(arrays)), **attributes)
    for i in range(1, 6):
        own = {"strides": [4 if i == 1 else 1] * 2, "group": kind.groups if i in (2, 4, 5) else 1}
        own["pads"] = list((pads or {}).get(f"conv{i}", [kind.pads[i - 1]] * 4))
        add("Conv", f"conv{i}", *(constant(f"c{i}{p}", w[f"conv{i}.{p}"].numpy()) for p in ("weight", "bias")), **own)
        add("Relu", f"relu{i}")
        for step in (kind.order if i < 3 else "pool" if i == 5 else "").split():
            if step == "pool":
                up = kind.ceil if ceil is None else ceil
                sizes = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": list((pads or {}).get(f"pool{i}", [0] * 4))}
                add("MaxPool", f"pool{i}", ceil_mode=int(up), **sizes)
            else:
                norm(f"norm{i}")
    add("Flatten", "flat")
    for i in (6, 7, 8):
        if transposed:
            add("MatMul", f"fc{i}_product", constant(f"f{i}w", w[f"fc{i}.weight"].numpy().T))
            add("Add", f"fc{i}", constant(f"f{i}b", w[f"fc{i}.bias"].numpy()))
        else:
            arrays = (constant(f"f{i}{p}", w[f"fc{i}.{p}"].numpy()) for p in ("weight", "bias"))
            add("Gemm", f"fc{i}", *arrays, transB=1)
        if i < 8:
            add("Relu", f"relu{i}")
            if drop is not None:
                add("Mul", f"drop{i}", constant(f"d{i}", np.array(drop, np.float32)))
    for i, (type_, arrays, attributes) in enumerate(after):
        add(type_, f"after{i}", *(constant(f"after{i}_{j}", a) for j, a in enumerate(arrays)), **attributes)
    side = size or kind.size
    shapes: dict[str, Any] = {"x": ["n", 3, side, side], value: ["n", None]}
    ends = [h.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    graph = h.make_graph(nodes, "alexnet", ends[:1], ends[1:], constants)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    if metadata:
        h.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    return model


def written(folder: Path, name: str, data: bytes) -> Path:
    """A file of some bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name
