"""Listen on a port of this machine."""

import socket

from alexnet.core.errors import InputError


def bind(host: str, port: int) -> socket.socket:
    """Bind a socket and listen; raise InputError with what to try if the address is taken or is not this machine's."""
    try:
        family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listening = socket.socket(family)
    except OSError as error:
        raise InputError(f"--host {host}: {error.strerror or error}; use an address of this machine") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)  # from here on a client waits instead of being refused
    except OSError as error:
        listening.close()
        raise InputError(
            f"--port {port} on {host} cannot be bound ({error.strerror or error}); use another one, or --port 0"
        ) from None
    return listening
