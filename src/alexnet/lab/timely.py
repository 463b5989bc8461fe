"""HTTP connections that are given up if no whole request comes."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

SILENCE = 30.0  # seconds that a client may take for the lines before a body


class Timely(H11Protocol):
    """uvicorn's protocol, which waits without end for the first request of a connection and for the rest of a line."""

    late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and wait on if they are not a whole request's lines."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._rest()

    def _watch(self) -> None:
        # Between requests uvicorn closes an idle connection itself.
        if self.cycle is not None and not self.cycle.response_complete:
            self._rest()
        elif self.late is None:
            self.late = self.loop.call_later(SILENCE, self.transport.close)

    def _rest(self) -> None:
        if self.late is not None:
            self.late.cancel()
            self.late = None
