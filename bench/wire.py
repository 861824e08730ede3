"""Raw client sockets: a kilobyte or two each, prepared frames, nothing that a measurement would pay for.

Rule: they speak just enough WebSocket for a server that is trusted: masks are zero, frames from it are whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar, cast
from urllib.parse import urlsplit

from protocol.codec import encode
from protocol.frame import Request
from protocol.session import SessionOpen

_AT_ONCE = 32


def masked(body: bytes, opcode: int = 1) -> bytes:
    """A whole frame from client to server; its mask is zero, so the body stays readable."""
    size = len(body)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + body


def request(frame: Request[object]) -> bytes:
    """A request as bytes for the socket."""
    return masked(encode(frame))


class RawSocket(asyncio.Protocol):
    """One socket; after its login every message goes to `heard`, and what that sends leaves in one write.

    `logged_in` is told the reply to the first request, or why there is none.
    """

    __slots__ = ("_buffer", "_inside", "_logged_in", "_login", "_out", "_upgraded", "heard", "transport")

    transport: asyncio.Transport

    def __init__(self, login: bytes, logged_in: asyncio.Future[bytes]) -> None:
        self.heard: Callable[[RawSocket, bytes], None] | None = None
        self._login: bytes | None = login
        self._logged_in: asyncio.Future[bytes] | None = logged_in
        self._buffer, self._upgraded, self._inside = b"", False, False
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        host, port = transport.get_extra_info("peername")[:2]
        self.transport.write(
            b"GET / HTTP/1.1\r\nHost: %b:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n" % (host.encode(), port)
        )

    def connection_lost(self, error: Exception | None) -> None:
        self.fail("the server closed a socket")

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        if not self._upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            self._upgrade(head)
        self._inside = True
        self._buffer = data[self._frames(data) :]
        self._inside = False
        if self._out:
            self.transport.write(b"".join(self._out))
            self._out.clear()

    def _upgrade(self, head: bytes) -> None:
        self._upgraded = True
        if not head.startswith(b"HTTP/1.1 101"):
            self.fail(head.partition(b"\r\n")[0].decode(errors="replace"))
        elif self._login is not None:
            self.transport.write(self._login)
            self._login = None

    def _frames(self, data: bytes) -> int:
        """Handle whole frames; how many bytes they were."""
        at, size = 0, len(data)
        while size - at >= 2:
            length, head = data[at + 1], 2
            if length >= 126:
                head = 4 if length == 126 else 10
                if size - at < head:
                    break
                length = int.from_bytes(data[at + 2 : at + head], "big")
            if size - at < head + length:
                break
            self._frame(data[at] & 15, data[at + head : at + head + length])
            at += head + length
        return at

    def _frame(self, opcode: int, body: bytes) -> None:
        if opcode == 9:
            self.send(masked(body, 10))
        elif opcode == 8:
            self.fail(f"the server closed a socket: {int.from_bytes(body[:2], 'big')} {body[2:].decode()}")
            self.transport.close()
        elif self.heard is not None:
            self.heard(self, body)
        elif body.startswith(b'{"re":0,'):
            self.welcome(body)

    def welcome(self, body: bytes) -> None:
        """The reply to the first request came."""
        if not body.startswith(b'{"re":0,"ok"'):
            self.fail(body.decode())
        elif self._logged_in is not None and not self._logged_in.done():
            self._logged_in.set_result(body)
            self._logged_in = None

    def fail(self, reason: str) -> None:
        """Something ended it."""
        if self._logged_in is not None and not self._logged_in.done():
            self._logged_in.set_exception(ConnectionError(reason))
        self._logged_in = None

    def send(self, frame: bytes) -> None:
        """Send a prepared frame."""
        if self._inside:
            self._out.append(frame)
        else:
            self.transport.write(frame)


S = TypeVar("S", bound=RawSocket)


async def connected(
    url: str, first: bytes, make: Callable[[bytes, asyncio.Future[bytes]], S], within: float = 60.0
) -> tuple[S, bytes]:
    """A socket that `make` made, and the reply to its first request."""
    loop = asyncio.get_running_loop()
    logged_in: asyncio.Future[bytes] = loop.create_future()
    parts = urlsplit(url)
    async with asyncio.timeout(within):
        _, socket = await loop.create_connection(
            lambda: make(first, logged_in), parts.hostname or "127.0.0.1", parts.port or 80
        )
        try:
            return socket, await logged_in
        except BaseException:
            socket.transport.abort()
            raise


async def open_sockets(url: str, tokens: Iterable[str]) -> list[RawSocket]:
    """Logged-in sockets, one for each access token (the same may come many times)."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(token: str) -> RawSocket:
        async with turns:
            return (await connected(url, request(SessionOpen(token=token)), RawSocket))[0]

    return await asyncio.gather(*[one(token) for token in tokens])


async def close_sockets(sockets: Iterable[RawSocket]) -> None:
    """Close those that are open, in good order."""
    still = [socket for socket in sockets if not socket.transport.is_closing()]
    for socket in still:
        socket.send(masked(b"\x03\xe8", 8))
    for socket in still:
        while not socket.transport.is_closing():  # noqa: ASYNC110 - an event each would be memory each
            await asyncio.sleep(0.01)
