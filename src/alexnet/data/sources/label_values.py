"""Checks of one label and one weight, for tables and for items from Python."""

import math

import numpy as np

from alexnet.core.errors import InputError
from alexnet.core.text import shorten

FREE_CLASSES = 20  # with more, there must be two pictures of each, on average: captions and measures are no classes
MOST_LABEL = 1000  # characters
MOST_WEIGHT = float(np.finfo(np.float32).max)


def checked_label(label: object, at: str) -> str:
    """Return a label as the name of its class; raise InputError if it is empty or not a text or a whole number."""
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise InputError(f"{at}: the label is {quote(label)}; give a text or a whole number")
    if isinstance(label, int) and abs(label) >= 1 << 63:
        raise InputError(f"{at}: the label is a number of more than 64 bits; give a smaller one")
    name = str(label).strip()
    if not name or name.lower() == "nan":
        raise InputError(
            f"{at}: the label is {'empty' if not name else repr(name)}; label the picture, or leave it out"
        )
    if len(name) > MOST_LABEL or "\0" in name:
        raise InputError(f"{at}: the label {quote(name)} is no name of a class; check the column")
    return name


def checked_weight(weight: object, at: str) -> float:
    """Return a weight rounded to float32; raise InputError unless it is a finite number of 0 or more."""
    try:
        if isinstance(weight, bool) or "_" in str(weight)[:100]:
            raise ValueError
        value = float(weight)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not 0 <= value <= MOST_WEIGHT:
        raise InputError(f"{at}: the weight is {quote(weight)}; give a finite number of 0 or more")
    return float(np.float32(value))


def quote(value: object) -> str:
    """Quote a value for a message, at most 80 characters of it."""
    if isinstance(value, int) and value.bit_length() > 200:
        return "a number of more than 200 bits"
    if value is None or isinstance(value, int | float | np.generic):
        return str(value)
    if not isinstance(value, str):
        return f"a {type(value).__name__}"
    return repr(shorten(value))
