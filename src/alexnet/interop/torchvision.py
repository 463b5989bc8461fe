"""Read the weights of torchvision's AlexNet from a .pth or .safetensors file, and our own from a .safetensors file.

A .pth file is a pickle, which can run any code when it is loaded by an ordinary unpickler. Here `torch.load` reads it
with `weights_only`, after `check_pickle` has found only the few names that tensors need.
"""

import io
import pickletools
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from alexnet.config.recipe import Net, Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.core.text import shorten
from alexnet.interop import foreign
from alexnet.interop.foreign import Foreign
from alexnet.interop.own import read_own

# The names of torchvision's AlexNet for the layers with weights.
KEYS = {
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3": "features.6",
    "conv4": "features.8",
    "conv5": "features.10",
    "fc6": "classifier.1",
    "fc7": "classifier.4",
    "fc8": "classifier.6",
}
FIRST, OURS = "features.0.weight", "conv1.weight"
MEAN = (123.675, 116.28, 103.53)  # of red, green and blue: torchvision's (0.485, 0.456, 0.406) times 255
LICENCE = "torchvision's code is BSD-3-Clause; its weights carry no licence of their own"
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")  # keys under which training scripts save a state dict

# A state dict needs no other names. `weights_only` alone would also accept bytearray, which allocates any number.
NEEDED = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch.nn.parameter Parameter",
    "torch Size",
    "torch device",
    *(f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Byte", "Bool")),
    "torch.storage UntypedStorage",
    *(f"torch {kind}" for kind in ("float16", "float32", "float64", "bfloat16", "int64", "int32", "uint8", "bool")),
}
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the first of the five pickles of PyTorch before 1.6
MOST_PICKLE = 1 << 24  # bytes of a pickle without its tensors
MOST_STEPS = 1_000_000  # operations of a pickle; AlexNet's has some hundreds
MOST_MEMBERS = 10_000  # of a zip
MOST_HEADER = 1 << 24  # bytes of the header of a .safetensors file


def read_pth(file: Path, data: bytes) -> Foreign:
    """Read torchvision's weights from the bytes of a .pth or .pt file; raise InputError if they are something else."""
    return torchvision(file, load_pth(file, data), len(data))


def load_pth(file: Path, data: bytes) -> Any:
    """Decode a .pth file of tensors without running code; raise InputError for any other file."""
    if data[:4] == b"PK\x03\x04":
        check_pickles(file, [zipped_pickle(file, data)])
    elif data.startswith(LEGACY):
        check_pickles(file, [data] * 5)
    elif data[257:262] == b"ustar":
        raise InputError(f"{file} has the tar format of PyTorch 0.1; load it with PyTorch 2.5 and save it again")
    elif data[:1] == b"\x80":
        check_pickles(file, [data])
        raise InputError(f"{file} is a pickle that torch.save did not write; nothing in it was run")
    else:
        raise InputError(f"{file} is not a file that torch.save wrote; nothing in it was run")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files make PyTorch warn of its own internals
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (MemoryError, RecursionError):
        raise InputError(f"{file} claims more than fits in memory; nothing in it was run") from None
    except Exception as error:  # a damaged file can raise anything
        said = shorten(" ".join(str(error).split()))
        raise InputError(f"{file} is damaged ({said}); fetch it again") from None


def zipped_pickle(file: Path, data: bytes) -> bytes:
    """Return the pickle in a zip of torch.save, whose members must lie plainly in the file, uncompressed."""
    if data.count(b"PK\x01\x02") > MOST_MEMBERS:
        raise InputError(f"{file} has more than {MOST_MEMBERS:,} members, too many for a net")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if any(m.filename.endswith("/constants.pkl") for m in members):
                raise InputError(f"{file} is a TorchScript program, not weights; save the net's state_dict()")
            if any(m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size for m in members):
                raise InputError(f"{file} has compressed members, which torch.save never writes; it may be a bomb")
            if sum(m.file_size for m in members) > len(data):
                raise InputError(f"{file} has members that claim more bytes than the file has; it may be a bomb")
            if len({m.filename.lower() for m in members}) < len(members):
                raise InputError(f"{file} has two members of one name, which torch.save never writes")
            pickles = [m for m in members if m.filename.endswith("data.pkl")]
            if len(pickles) != 1:
                raise InputError(f"{file} is a zip, but torch.save did not write it; nothing in it was run")
            if pickles[0].file_size > MOST_PICKLE:
                raise InputError(f"{file} has a pickle of {pickles[0].file_size:,} bytes, too many for a net's names")
            return archive.read(pickles[0])
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} is a damaged zip ({shorten(str(error))}); fetch it again") from None


def check_pickles(file: Path, pickles: list[bytes]) -> None:
    """Raise InputError if pickles name anything that tensors do not need; they are decoded, never run.

    Several equal ones mean pickles one after another in one file.
    """
    stream, steps = io.BytesIO(pickles[0]), 0
    try:
        for _ in pickles:
            for opcode, argument, _place in pickletools.genops(stream):
                steps += 1
                if steps > MOST_STEPS or stream.tell() > MOST_PICKLE:
                    raise InputError(f"{file} has a pickle too long for a net's names; nothing in it was run")
                if opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
                    name = str(argument or opcode.name)
                    if opcode.name != "GLOBAL" or name not in NEEDED:
                        raise InputError(
                            f"{file} needs code to load ({shorten(name.replace(' ', '.'))}); nothing in it was run. "
                            "Save a plain state dict instead: torch.save(net.state_dict(), FILE)"
                        )
    except InputError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        said = shorten(" ".join(str(error).split()))
        raise InputError(f"{file} is a damaged pickle ({said}); nothing in it was run") from None


def read_safetensors(file: Path, data: bytes) -> Foreign:
    """Read torchvision's weights or our own from the bytes of a .safetensors file; raise InputError for others."""
    tensors = load_safetensors(file, data)
    return read_own(file, len(data)) if OURS in tensors else torchvision(file, tensors, len(data))


def load_safetensors(file: Path, data: bytes) -> dict[str, Tensor]:
    """Decode the tensors of a .safetensors file."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, MOST_HEADER):
        raise InputError(f"{file} is not a .safetensors file: its header claims {length:,} bytes")
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
        said = shorten(" ".join(str(error).split()))
        raise InputError(f"{file} is not a .safetensors file ({said})") from None


def torchvision(file: Path, found: Any, size: int) -> Foreign:
    """Make a net of torchvision's weights. Classes and widths are as the shapes say.

    Raises:
        InputError: The tensors are not those of an AlexNet; the message names the first that does not fit.
    """
    own = foreign.own_tensors(file, _renamed(file, found), size, theirs)
    recipe = recipe_for(file, own)
    foreign.check_net(file, own, recipe.net, theirs)
    side = foreign.side_of_squares(recipe.net.image_size, 224)
    notes = ("the mean and the divisors of the colours are torchvision's constants",)
    mean = foreign.mean_picture(file, MEAN, side)
    return Foreign("torchvision", "owt", recipe, own, mean, licence=LICENCE, notes=notes)


def theirs(name: str) -> str:
    """Return torchvision's name of a weight."""
    layer, _, part = name.partition(".")
    return f"{KEYS[layer]}.{part}" if layer in KEYS else name


def recipe_for(file: Path, weights: Mapping[str, Tensor]) -> Recipe:
    """Describe torchvision's net with the widths, hidden units and classes that the shapes of its weights say."""
    owt = RECIPES["owt"]
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for layer in KEYS:
        dims = 4 if layer.startswith("conv") else 2
        if len(shapes[f"{layer}.weight"]) != dims:
            said = " x ".join(map(str, shapes[f"{layer}.weight"])) or "one number"
            raise InputError(f"{file}: {theirs(f'{layer}.weight')} is {said}; {dims} dimensions are needed")
    channels = tuple(shapes[f"conv{i}.weight"][0] for i in range(1, 6))
    inputs = shapes["fc6.weight"][1]
    side = round((inputs / channels[-1]) ** 0.5) if channels[-1] else 0
    widths = {"channels": channels, "hidden": shapes["fc6.weight"][0], "classes": shapes["fc8.weight"][0]}

    def of(size: int) -> Recipe:
        return owt.replace(net=widths | {"image_size": size})

    try:
        of(224)  # raises for what no size of view would mend
        size = foreign.image_size_for(lambda size: _net(of(size)), side, 224)
        if size is None or side * side * channels[-1] != inputs:
            raise InputError(f"{theirs('fc6.weight')} reads {inputs} units, not a square of {channels[-1]} maps")
        return of(size)
    except InputError as error:
        raise InputError(f"{file} is not an AlexNet: {error}") from None


def _renamed(file: Path, found: Any) -> dict[str, Any]:
    """Find the state dict, under the usual wrappers and prefixes, and give its tensors our names."""
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        raise InputError(f"{file} holds no state dict, but {shorten(type(found).__name__)}")
    first = next((key for key in found if key.endswith(FIRST)), None)
    if first is None:
        known = ", ".join(shorten(key) for key in list(found)[:3]) or "nothing"
        raise InputError(f"{file} is not torchvision's AlexNet: it lacks {FIRST}; it has {known} ...")
    prefix = first.removesuffix(FIRST)  # "module." of DataParallel, "_orig_mod." of torch.compile
    named = {f"{prefix}{key}.{part}": f"{layer}.{part}" for layer, key in KEYS.items() for part in ("weight", "bias")}
    for key in named:
        if key not in found:
            raise InputError(f"{file} is not torchvision's AlexNet: it lacks {shorten(key)}")
    for key in found:
        if key not in named:
            raise InputError(f"{file} is not torchvision's AlexNet: it has {shorten(key)} too")
    return {ours: found[key] for key, ours in named.items()}


def _net(recipe: Recipe) -> Net:
    assert isinstance(recipe.net, Net)
    return recipe.net
