"""Messages of protocol buffers: those with too many fields, or with lengths that lie, are refused before decoding."""

import pytest
from tests.foreign import chunk, number, varint

from alexnet.core.errors import InputError
from alexnet.interop import wire
from alexnet.interop.wire import check_fields

PLAN: wire.Plan = {2: {6: None}}


@pytest.mark.parametrize(("data", "said"), [
    (chunk(2, b"")[:-1] + b"\x05", "field 2 claims 5 bytes, and 0 are left"),
    (varint(2 << 3 | 2) + varint(1 << 62), "field 2 claims 4,611,686,018,427,387,904 bytes"),
    (b"\xff" * 11, "a number has more than ten bytes"),
    (b"\x80", "it is cut off"),
    (varint(1 << 3 | 5) + b"abc", "its last field is cut off"),
    (varint(1 << 3 | 3), "a field has the unknown type 3"),
    (chunk(2, chunk(6, b"abc")[:-1]), "field 6 claims 3 bytes, and 2 are left"),
    (number(1, 1) * (wire.MOST_FIELDS + 1), "it has more than 100,000 fields"),
    (chunk(2, b"") * (wire.MOST_FIELDS + 1), "it has more than 100,000 fields"),
    (chunk(1, bytes(wire.MOST_SMALL + 1)), "it has more than 16,777,216 bytes that are not weights"),
    (chunk(1, bytes(wire.MOST_SMALL // 4)) * 5, "it has more than 16,777,216 bytes that are not weights"),
])  # fmt: skip
def test_a_message_that_lies_or_swarms_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(InputError) as refused:
        check_fields("net", data, PLAN)
    assert str(refused.value) == f"net is damaged: {said}; fetch it again" or said in str(refused.value)


def test_a_message_with_large_data_is_not_refused() -> None:
    check_fields("net", chunk(2, chunk(6, bytes(wire.MOST_SMALL + 1)) + number(1, 1 << 63)), PLAN)
    check_fields("net", b"", PLAN)
