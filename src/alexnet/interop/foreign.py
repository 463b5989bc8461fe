"""Weights of another library, once read: what an importer found, and the checks that all importers share."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.config.recipe import AnyNet, Net, Recipe
from alexnet.core.errors import InputError
from alexnet.core.files import parse_json, read_bytes
from alexnet.core.text import shorten
from alexnet.data.images.resize import Fit
from alexnet.data.store import Class
from alexnet.models.build import build
from alexnet.models.layer_table import Convolution, Pad, Pool, describe

MOST = 2 << 30  # bytes of a file of weights; AlexNet's takes 244 MB, a training checkpoint of it three times as much
MOST_MEAN = 1 << 28  # bytes of a file with a mean
MOST_CLASSES = 1 << 24  # bytes of a list of class names
MOST_SIDE = 1024  # pixels, of the views that a net without a stated size may take
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
TYPES = {"name": str, "wnid": str, "ilsvrc_id": int, "words": str}  # of a class's record
WNID = re.compile(r"(n\d{8})(?:\s+(.+))?")


@dataclass(frozen=True, eq=False)
class Foreign:
    """A net of another library in our terms.

    Attributes:
        kind: Kind of the file: torchvision, bvlc, caffenet, onnx or alexnet.
        name: Name of the recipe.
        recipe: The recipe that describes the net.
        weights: The weights by our names, float32, with the values of the file.
        mean: Mean picture, float32 (side, side, 3), RGB, 0 to 255.
        classes: The classes, or None if the file does not name them.
        licence: What the file or its publisher says about its use.
        fit: How pictures become squares: "crop", "pad" or "warp".
        notes: Sentences about what was assumed or found, for the user.
        eigenvalues: Of the colours of the training pictures, (3,); None if the file has none.
        eigenvectors: Likewise, (3, 3), one per column.
    """

    kind: str
    name: str
    recipe: Recipe
    weights: Mapping[str, Tensor]
    mean: Tensor
    classes: tuple[Class, ...] | None = None
    licence: str = "the file does not say"
    fit: Fit = "crop"
    notes: tuple[str, ...] = ()
    eigenvalues: Tensor | None = None
    eigenvectors: Tensor | None = None


def read_file(file: Path, most: int = MOST) -> bytes:
    """Read a whole file; raise InputError if it is missing, too large, or not a regular file.

    It is read once, so that the same bytes are checked, hashed and decoded even if the file changes meanwhile.
    """
    try:
        return read_bytes(file, most)
    except FileNotFoundError:
        raise InputError(f"{file} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{file} is a folder; give a file") from None
    except MemoryError:
        raise InputError(f"{file} does not fit in memory") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from None


def own_tensors(
    file: Path,
    weights: Mapping[str, Any],
    size: int,
    named: Callable[[str], str] = str,
    dtype: torch.dtype | None = torch.float32,
) -> dict[str, Tensor]:
    """Copy weights as float32 tensors, in order; values that are float32 keep their bits.

    Args:
        file: The file, for messages.
        weights: Tensors by our names.
        size: Bytes of the file. Tensors of more bytes together are refused before they are copied: a stride of 0
            makes a vast tensor out of one number.
        named: Function that gives the file's own name of a weight, for messages.
        dtype: Another dtype than float32; None leaves each tensor its own.

    Raises:
        InputError: A weight is not a plain tensor of finite floating-point numbers, or claims more of them than the
            file holds.
    """
    total, own = 0, {}
    for name, tensor in weights.items():
        plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
        if not plain or tensor.device.type != "cpu":
            raise InputError(f"{file}: {named(name)} is not a plain tensor")
        if tensor.dtype not in FLOATS:
            what = str(tensor.dtype).removeprefix("torch.")
            raise InputError(f"{file}: {named(name)} holds {what} numbers; float16, float32 or float64 is needed")
        total += tensor.numel() * tensor.element_size()
        if total > size:
            raise InputError(f"{file}: {named(name)} claims more numbers than the file holds")
    for name, tensor in weights.items():
        own[name] = tensor.detach().to(dtype or tensor.dtype).contiguous().clone()
        if not bool(torch.isfinite(own[name]).all()):
            raise InputError(f"{file}: {named(name)} has NaN or infinite values, so the net is of no use")
    return own


def check_net(file: Path, weights: Mapping[str, Tensor], net: AnyNet, named: Callable[[str], str] = str) -> None:
    """Raise InputError unless the weights are those of a net; the message names the first that does not fit."""
    with torch.device("meta"):
        like = build(net, 0).state_dict()
    for name, tensor in like.items():
        if name not in weights:
            raise InputError(f"{file} lacks {named(name)}")
        if weights[name].shape != tensor.shape:
            seen, wanted = (" x ".join(map(str, t.shape)) or "()" for t in (weights[name], tensor))
            raise InputError(f"{file}: {named(name)} is {seen}, and this net needs {wanted}")
    for name in weights:
        if name not in like:
            raise InputError(f"{file} has {named(name)}, which this net lacks")


def side_of_maps(net: Net) -> int:
    """Compute the side of pool5's maps, which fc6 reads."""
    return next(layer.side for layer in describe(net) if layer.name == "pool5")


def image_size_for(change: Callable[[int], Net], wanted: int, usual: int) -> int | None:
    """Find the size of views for which pool5 has maps of a side.

    It is the usual size if that fits, else the smallest at which no window hangs over, else the smallest.
    """
    sizes = []
    for size in (usual, *range(2, MOST_SIDE + 1)):
        try:
            net = change(size)
        except InputError:  # too small for the pools
            continue
        if side_of_maps(net) == wanted:
            if size == usual or _exact(net):
                return size
            sizes.append(size)
        elif sizes and side_of_maps(net) > wanted:
            break
    return min(sizes, default=None)


def _exact(net: Net) -> bool:
    """Tell whether the windows of conv1 and of the pools end where the maps do."""
    for layer in describe(net):
        if isinstance(layer.op, Pad):
            return False
        if isinstance(layer.op, Convolution) and (layer.width + 2 * layer.op.padding - layer.op.size) % layer.op.stride:
            return False
        if isinstance(layer.op, Pool) and (layer.width - layer.op.size) % 2:
            return False
    return True


def side_of_squares(image_size: int, view: int) -> int:
    """Return the side of the squares that views are cut from: 256 for the `view` of the publisher, and in proportion.

    `view` is 224 for torchvision and 227 for Caffe.
    """
    return max(image_size, image_size * 256 // view)


def mean_picture(file: Path, rgb: Any, side: int) -> Tensor:
    """Make a mean picture, (side, side, 3), of one or of a colour; raise InputError unless its values are finite."""
    mean = torch.from_numpy(np.broadcast_to(np.asarray(rgb, np.float32), (side, side, 3)).copy())
    if not bool(torch.isfinite(mean).all()):
        raise InputError(f"{file} has NaN or infinite values, so it is no mean")
    return mean


def read_npy(file: Path) -> np.ndarray:
    """Read an array of floating-point numbers or bytes from a .npy file, never a pickled one."""
    data = read_file(file, MOST_MEAN)
    try:
        return npy(data)
    except (
        ValueError,
        TypeError,
        SyntaxError,
        EOFError,
        KeyError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as error:
        said = shorten(" ".join(str(error).split()))
        raise InputError(f"{file} is not a .npy file of numbers ({said})") from None


def npy(data: bytes) -> np.ndarray:
    """Decode a .npy file. Its size is checked before anything is allocated."""
    import io

    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of the format")
    shape, by_columns, dtype = read(stream)
    if dtype.kind not in "fu" or dtype.itemsize > 8:
        raise ValueError(f"numbers of type {dtype}")
    body = data[stream.tell() :]
    count = 1
    for length in shape:
        count *= length
    if count * dtype.itemsize != len(body):
        raise ValueError(f"it holds {len(body)} bytes, and its shape {shape} needs {count * dtype.itemsize}")
    return np.frombuffer(body, dtype).reshape(shape, order="F" if by_columns else "C")


def read_classes(file: Path) -> tuple[Class, ...]:
    """Read a list of classes, in the order of a net's outputs.

    The file is JSON, a list of names or a dict of them by number, as in Keras's imagenet_class_index.json; or text, one
    class a line. A line "n01440764 tench, Tinca tinca" is a WordNet id with words.

    Raises:
        InputError: The file cannot be read, is not UTF-8, or holds something else.
    """
    data = read_file(file, MOST_CLASSES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    if text.lstrip()[:1] in ("[", "{"):
        try:
            found = parse_json(text.encode())
        except ValueError as error:
            raise InputError(f"{file} is not JSON ({error})") from None
        return classes_of(found, str(file))
    return tuple(class_of_line(line.strip()) for line in text.splitlines() if line.strip())


def class_of_line(line: str) -> Class:
    """Make a class from a name, a WordNet id, or a WordNet id with words."""
    found = WNID.fullmatch(line)
    return Class(found[1], wnid=found[1], words=found[2]) if found else Class(line)


def classes_of(value: Any, whose: str, exact: bool = False) -> tuple[Class, ...]:
    """Make classes of JSON: a list of names, a list of our records, or a dict by number.

    Args:
        value: The JSON value.
        whose: Name of its source, for messages.
        exact: Whether names are names alone, as we write them, even if they look like WordNet ids with words.
    """
    if isinstance(value, dict):
        if set(value) != {str(n) for n in range(len(value))}:
            raise InputError(f'{whose}: a dict of classes needs the keys "0", "1", ...')
        value = [value[str(n)] for n in range(len(value))]
    if not isinstance(value, list) or not value:
        raise InputError(f"{whose}: a list of class names is needed")
    return tuple(Class(one) if exact and isinstance(one, str) else _class(one, whose) for one in value)


def _class(one: Any, whose: str) -> Class:
    if isinstance(one, str) and one.strip():
        return class_of_line(one.strip())
    if isinstance(one, list) and len(one) == 2 and all(isinstance(part, str) for part in one):
        wnid, words = one
        return Class(wnid, wnid=wnid if WNID.fullmatch(wnid) else None, words=words)
    record = isinstance(one, dict) and isinstance(one.get("name"), str) and one.keys() <= TYPES.keys()
    if record and all(value is None or type(value) is TYPES[key] for key, value in one.items()):
        return Class(**one)
    raise InputError(f"{whose}: {shorten(str(one))!r} is not a class's name")


def default_classes(count: int) -> tuple[Class, ...]:
    """Name classes by their number: "class 0", "class 1", ..."""
    return tuple(Class(f"class {n}") for n in range(count))
