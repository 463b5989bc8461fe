"""Text that is safe to print: cut to a length, without control characters."""

import html
import json
import re
from collections.abc import Sequence

# Control characters of a terminal, and those that reverse the direction of the text after them.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def escape_control(words: str) -> str:
    """Escape the characters that a terminal would obey instead of show, as \\u001b; file names may hold them."""
    return CONTROL.sub(lambda found: json.dumps(found[0])[1:-1], words)


def markdown(value: object) -> str:
    """Escape words for a cell of a Markdown table, so that nothing in them is markup."""
    words = escape_control(" ".join(html.escape(str(value), quote=False).split()))
    return re.sub(r"([\\`*_|\[\]~])", r"\\\1", words)


def shorten(text: str) -> str:
    """Cut a text to 80 characters."""
    return text if len(text) <= 80 else text[:77] + "..."


def split_names(words: Sequence[str]) -> tuple[str, ...]:
    """Split words at commas, so that "conv1,fc7" names two things; an empty name stays one."""
    return tuple(name for word in words for name in word.split(","))


def listed(names: Sequence[str]) -> str:
    """Name the first five of some things, and count the others."""
    more = len(names) - 5
    return ", ".join(names[:5]) + (f" and {more:,} more" if more > 0 else "")


def describe(value: object) -> str:
    """Describe a value for a message: "None", "int", or "float32 Tensor (2, 3, 224, 224)"."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    name = type(value).__name__
    if shape is None or dtype is None:
        return "None" if value is None else name
    return f"{str(dtype).removeprefix('torch.')} {name} ({', '.join(map(str, shape))})"


def percent(rate: float) -> str:
    """Format a rate from 0 to 1 as a percentage."""
    return f"{100 * rate:.1f} %"
