"""Text that is safe to show: cut to a length, and free of what a terminal would obey."""

import json
import re

# Of a terminal: the control characters, and those that turn the direction of what follows them.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def escape_control(words: str) -> str:
    """`words` with an escape such as \\u001b for what a terminal would obey and not show: a file's name may hold it."""
    return CONTROL.sub(lambda found: json.dumps(found[0])[1:-1], words)


def shorten(text: str) -> str:
    """`text`, or its beginning where it has more than 80 characters."""
    return text if len(text) <= 80 else text[:77] + "..."


def describe(value: object) -> str:
    """What a value is, for a message: "None", "int", or "float32 Tensor (2, 3, 224, 224)"."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    name = type(value).__name__
    if shape is None or dtype is None:
        return "None" if value is None else name
    return f"{str(dtype).removeprefix('torch.')} {name} ({', '.join(map(str, shape))})"


def percent(rate: float) -> str:
    """A rate 0 to 1 in per cent."""
    return f"{100 * rate:.1f} %"
