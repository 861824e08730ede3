"""Where new sockets wait for their turn: a crowd at the door must not hold up those who are inside.

Rule: letting in takes a few milliseconds of each turn of the event loop, and no more.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.wire import Socket

_OPEN_SECONDS = 0.005
_MOST_BYTES = 32768


class Door:
    """Bytes of sockets whose conversation has not begun."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Socket, bytes] = {}

    def __contains__(self, socket: Socket) -> bool:
        return socket in self._waiting

    def knock(self, socket: Socket, data: bytes) -> None:
        """Bytes have come; they are taken when it is the socket's turn."""
        if not self._waiting:
            self._loop.call_soon(self._let_in)
        before = self._waiting.get(socket, b"")
        if len(before) > _MOST_BYTES:
            socket.abort()
        else:
            self._waiting[socket] = before + data

    def _let_in(self) -> None:
        end = perf_counter() + _OPEN_SECONDS
        while self._waiting:
            socket = next(iter(self._waiting))
            data = self._waiting.pop(socket)
            if not socket.transport.is_closing():
                socket.take(data)
            if perf_counter() > end:
                break
        if self._waiting:
            self._loop.call_soon(self._let_in)
