"""uvicorn's server, told to stop: whoever had connected by then is still answered.

uvicorn's own closes the listening socket and every connection without a request under way at once. A client whose
connection waited in the kernel's queue, or whose request was still on its way, would be cut off without an answer.
"""

from __future__ import annotations

import asyncio
import socket

import uvicorn

__all__ = ["Server"]

SETTLE = 2.0
"""Seconds that a connection on which nothing was asked yet gets to begin its first request."""


class Server(uvicorn.Server):  # type: ignore[misc]
    """A server that takes on what is connected before it stops listening, and waits for what those clients ask."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening on `sockets`, answer whoever is connected, and close.

        A second SIGINT cuts this short.
        """
        waiting = [connection for listener in sockets or () for connection in _queued(listener)]
        for server in self.servers:  # in the same breath: what connects from here on is refused
            server.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)
        until = loop.time() + SETTLE
        while self._unasked() and loop.time() < until and not self.force_exit:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def _unasked(self) -> bool:
        """Whether a connection is open on which no request has begun."""
        return any(getattr(connection, "cycle", self) is None for connection in self.server_state.connections)


def _queued(listener: socket.socket) -> list[socket.socket]:
    """Accept what waits in the kernel's queue of a listening socket that does not block."""
    queued: list[socket.socket] = []
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # none left, or no file descriptors for more
            return queued
        connection.setblocking(False)
        queued.append(connection)
