"""Protocol buffers from strangers: how many fields a message has, before a decoder makes an object of each.

A decoder takes some hundred bytes of memory for a message that takes two in the file, so a file of a gigabyte could
claim a hundred. Nets have some thousands of fields.
"""

from collections.abc import Mapping
from typing import TypeAlias

from alexnet.core.errors import InputError

MOST_FIELDS = 100_000  # of all messages that are looked at; AlexNet's files have a thousand
MOST_SMALL = 1 << 24  # bytes of all fields together that are neither messages looked at nor data
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# The fields of a message that are looked at: by number, the plan of a message, or None for data of any size.
Plan: TypeAlias = Mapping[int, "Plan | None"]


def check_fields(file: object, data: bytes, plan: Plan) -> None:
    """Raise InputError unless a message has few fields, none longer than its place, and little but data.

    Args:
        file: The file, for messages.
        data: The message.
        plan: The fields that are messages themselves, or data.
    """
    left = [MOST_FIELDS, MOST_SMALL]  # fields, and bytes
    try:
        _check(memoryview(data), plan, left)
    except ValueError as error:
        raise InputError(f"{file} is damaged: {error}; fetch it again") from None


def _check(data: memoryview, plan: Plan, left: list[int]) -> None:
    place = 0
    while place < len(data):
        left[0] -= 1
        if left[0] < 0:
            raise ValueError(f"it has more than {MOST_FIELDS:,} fields")
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            _, place = _varint(data, place)
        elif kind in (FIXED64, FIXED32):
            place += 8 if kind == FIXED64 else 4
        elif kind == BYTES:
            length, place = _varint(data, place)
            if length > len(data) - place:
                raise ValueError(f"field {number} claims {length:,} bytes, and {len(data) - place:,} are left")
            inside = plan.get(number, {})  # None is data
            if inside:
                _check(data[place : place + length], inside, left)
            elif inside is not None:
                left[1] -= length
                if left[1] < 0:
                    raise ValueError(f"it has more than {MOST_SMALL:,} bytes that are not weights")
            place += length
        else:
            raise ValueError(f"a field has the unknown type {kind}")
    if place > len(data):
        raise ValueError("its last field is cut off")


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise ValueError("it is cut off")
        byte = data[place]
        value, place = value | (byte & 127) << shift, place + 1
        if byte < 128:
            return value, place
    raise ValueError("a number has more than ten bytes")
