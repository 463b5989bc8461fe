"""Run a trained net with parts of it changed: norms off or moved, a tower silent, units dropped, the picture gray."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch
from torch import Tensor

from alexnet.core import rng
from alexnet.core.errors import InputError
from alexnet.data.transforms import Transform
from alexnet.models.layer_table import Norm
from alexnet.models.layers import Dropout
from alexnet.models.network import Network

MOST_INPUTS = 256  # views in one question
GRAY = (299, 587, 114)  # thousandths of red, green and blue: ITU-R 601, as Pillow's grayscale


@dataclass(frozen=True)
class Settings:
    """Changes of a net and of its input. The defaults change nothing.

    Attributes:
        norms: Whether norm1, and norm2 with the norm within its maps, are on.
        swapped: Whether each norm changes places with the ReLU beside it.
        silent: Towers whose maps and units are zero.
        dropout: Seed of a mask for the layers with dropout, which then drop units as in training; None scales them.
        gray: Whether the picture is gray.
        places: Views of the picture, as indices of `Transform.places`.
        covers: Squares (top, left, side) to cover with the mean, in pixels of a view; each makes another input.
    """

    norms: tuple[bool, bool] = (True, True)
    swapped: bool = False
    silent: tuple[int, ...] = ()
    dropout: int | None = None
    gray: bool = False
    places: tuple[int, ...] = (2,)
    covers: tuple[tuple[int, int, int], ...] = field(default=())

    @classmethod
    def read(cls, text: str, net: Network) -> Self:
        """Read settings from JSON; raise InputError with the field and what it must be."""
        try:
            given = json.loads(text or "{}")
        except (ValueError, RecursionError):
            raise InputError(f"settings {text[:80]!r} is not JSON") from None
        known = [own.name for own in fields(cls)]
        if not isinstance(given, dict) or given.keys() - set(known):
            raise InputError(f"settings {text[:80]!r}; it must be an object with some of {', '.join(known)}")
        places, towers = len(net.transform.places()), towers_of(net)
        rules: dict[str, tuple[str, Callable[[Any], Any]]] = {
            "norms": ("two of true and false", lambda v: _list(v, bool) and len(v) == 2),
            "swapped": ("true or false", lambda v: isinstance(v, bool)),
            "silent": (f"some of 0 to {towers - 1}", lambda v: _list(v, int) and set(v) <= set(range(towers))),
            "dropout": ("null, or 0 to 4294967295", lambda v: v is None or (_whole(v) and 0 <= v < 1 << 32)),
            "gray": ("true or false", lambda v: isinstance(v, bool)),
            "places": (f"some of 0 to {places - 1}", lambda v: _list(v, int) and v and set(v) <= set(range(places))),
            "covers": ("lists of top, left and side", lambda v: _list(v, list) and all(_square(c, net) for c in v)),
        }
        for name, value in given.items():
            words, right = rules[name]
            if not right(value):
                raise InputError(f"{name} {json.dumps(value)[:80]}; it must be {words}")
        made = cls(**{name: _tuples(value) for name, value in given.items()})
        if (inputs := len(made.places) * max(1, len(made.covers))) > MOST_INPUTS:
            raise InputError(f"settings ask for {inputs} inputs; at most {MOST_INPUTS} go into one question")
        return made


def towers_of(net: Network) -> int:
    """Return the number of towers that a net's layers have."""
    return max((layer.groups for layer in net.layers), default=1)


def inputs(net: Network, square: Tensor, settings: Settings, dtype: torch.dtype) -> Tensor:
    """Make the inputs of a net from one picture.

    Args:
        net: The net, with its transform.
        square: The picture, uint8 (side, side, 3).
        settings: Which views, gray or not, and what is covered.
        dtype: Type of the inputs.

    Returns:
        (places * covers, 3, size, size): of each place all covers, or the view itself if there are none.
    """
    transform: Transform = net.transform
    if settings.gray:
        thousandths = (square.to(torch.int64) * torch.tensor(GRAY, device=square.device)).sum(-1)
        levels = ((thousandths + 500) // 1000).to(torch.uint8)  # whole numbers, so that a browser gives the same ones
        square = levels[..., None].expand(-1, -1, 3).contiguous()
    places = transform.places()
    views = transform.crops_at(transform.batch(square[None]), [places[p] for p in settings.places], dtype)[:, 0]
    if not settings.covers:
        return views
    covered = views.repeat_interleave(len(settings.covers), 0)
    for i in range(len(settings.places)):
        for j, (top, left, side) in enumerate(settings.covers):
            covered[i * len(settings.covers) + j, :, top : top + side, left : left + side] = 0  # the mean
    return covered


def order(net: Network, settings: Settings) -> list[str]:
    """List the layers in the order in which they run."""
    names = list(net.order)
    for number, on in zip((1, 2), settings.norms, strict=True):
        relu, norm = f"relu{number}", f"norm{number}"
        if settings.swapped and {relu, norm} <= set(names) and abs(names.index(relu) - names.index(norm)) == 1:
            first, second = sorted((names.index(relu), names.index(norm)))
            names[first], names[second] = names[second], names[first]
        if not on:
            names = [name for name in names if name not in (norm, f"within{number}")]
    return names


@torch.inference_mode()
def walk(net: Network, x: Tensor, settings: Settings) -> dict[str, Tensor]:
    """Run the layers with changes, and return the output of each by its name, in the order in which they ran.

    Args:
        net: The net, in eval mode.
        x: Inputs (N, 3, size, size).
        settings: The changes.
    """
    towers, weighted = towers_of(net), {layer.name for layer in net.layers if layer.weighted}
    made = {}
    for name in order(net, settings):
        layer = net.layer(name)
        if settings.dropout is not None and isinstance(layer, Dropout):
            x = x * mask(layer, x.shape[1], settings.dropout).to(x)
        else:
            x = layer(x)
        if settings.silent and name in weighted and name != net.order[-1]:
            x = x.clone()
            for tower in settings.silent:
                x.chunk(towers, 1)[tower].zero_()
        made[name] = x
    return made


def mask(layer: Dropout, units: int, seed: int) -> Tensor:
    """Draw a mask of a dropout layer: 0 for units that are dropped, and 1, or 1 / (1 - p), for the others."""
    drawn = rng.words(seed, f"lab {layer.layer}", torch.arange(units))[:, 0]
    kept = drawn >= round(layer.p * (1 << 32))
    return kept.float() / (1 - layer.p if layer.scale == "training" else 1)


def switches(net: Network) -> dict[str, Any]:
    """Say which settings change this net, for the page."""
    norms = {layer.name for layer in net.layers if isinstance(layer.op, Norm)}
    moved = order(net, Settings(swapped=True)) != list(net.order)
    dropped = any(isinstance(net.layer(name), Dropout) for name in net.order)
    return {
        "norms": ["norm1" in norms, "norm2" in norms],
        "swapped": moved,
        "towers": towers_of(net),
        "dropout": dropped,
        "places": [list(place) for place in net.transform.places()],
    }


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(type(one) is kind for one in value)


def _square(cover: Sequence[Any], net: Network) -> bool:
    size = net.transform.size
    return len(cover) == 3 and all(map(_whole, cover)) and min(cover) >= 0 and max(cover) <= size


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
