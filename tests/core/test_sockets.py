"""Ports: one that is taken is a line, and 0 finds one that is free."""

import pytest

from alexnet.core.errors import InputError
from alexnet.core.sockets import bind


def test_a_free_port_is_found_and_one_in_use_or_a_strange_host_is_refused_in_a_line() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=rf"--port {port} on 127.0.0.1 cannot be bound .*; use another one"):
            bind("127.0.0.1", port)
    with bind("127.0.0.1", port) as again:
        assert again.getsockname()[1] == port
    with pytest.raises(InputError, match="use an address of this machine"):
        bind("no such host", 0)
