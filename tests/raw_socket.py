"""A client that sends exactly the frames of a test, several in one write, and keeps every message that comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import msgspec
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

_WAIT = 10.0


class Reply(NamedTuple):
    """One message, as it came."""

    data: bytes

    @property
    def said(self) -> dict[str, Any]:
        return dict(msgspec.json.decode(self.data))

    @property
    def re(self) -> int | None:
        return self.said.get("re")

    @property
    def code(self) -> str:
        """`ok`, or the code of the refusal."""
        return "ok" if "ok" in self.said else str(self.said["error"]["code"])

    @property
    def body(self) -> bytes:
        """Without the number that it answers."""
        head, comma, rest = self.data.partition(b",")
        assert head.startswith(b'{"re":') and comma
        return b"{" + rest


class RawSocket(asyncio.Protocol):
    """One socket; `messages` is everything that ever came over it, in `received` bytes together with the handshake."""

    transport: asyncio.Transport

    def __init__(self, url: str) -> None:
        self._client = ClientProtocol(parse_uri(url), max_size=None)
        self._arrived = asyncio.Event()
        self._taken = 0
        self.received = 0
        self.messages: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.lost = False

    @classmethod
    async def connect(cls, url: str) -> Self:
        """A socket that has been said hello to."""
        host, port = urlsplit(url).hostname or "", urlsplit(url).port or 0
        _, socket = await asyncio.get_running_loop().create_connection(lambda: cls(url), host, port)
        assert (await socket.next()).said["ev"] == "session.hello"
        return socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._client.send_request(self._client.connect())
        self._write()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._arrived.set()

    def eof_received(self) -> None:
        self._client.receive_eof()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._client.receive_data(data)
        for event in self._client.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self.messages.append(bytes(event.data))
        if self._client.close_rcvd is not None:
            self.closed = (self._client.close_rcvd.code, self._client.close_rcvd.reason)
        self._arrived.set()
        self._write()

    def _write(self) -> None:
        for data in self._client.data_to_send():
            if data:
                self.transport.write(data)
            else:
                self.transport.close()

    def send(self, *messages: bytes) -> None:
        """All of them in one write, so that the server reads them at once."""
        if self.over:
            return
        for message in messages:
            self._client.send_text(message)
        self.transport.write(b"".join(self._client.data_to_send()))

    @property
    def over(self) -> bool:
        """Whether nothing more can come."""
        return self.lost or self.closed is not None

    async def next(self) -> Reply:
        """The next message; `ConnectionError` when none can come any more."""
        async with asyncio.timeout(_WAIT):
            while self._taken >= len(self.messages):
                if self.over:
                    raise ConnectionError(f"closed: {self.closed}")
                self._arrived.clear()
                await self._arrived.wait()
        self._taken += 1
        return Reply(self.messages[self._taken - 1])

    def rest(self) -> list[Reply]:
        """All that has come and was not taken yet."""
        found, self._taken = self.messages[self._taken :], len(self.messages)
        return [Reply(one) for one in found]

    async def caught_up(self, enough: Callable[[], bool]) -> None:
        """Wait until that is so, or nothing more can come."""
        if not (self.over or enough()):
            async with asyncio.timeout(_WAIT):
                while not (self.over or enough()):
                    self._arrived.clear()
                    await self._arrived.wait()

    async def replies(self, count: int) -> list[Reply]:
        """The next messages."""
        return [await self.next() for _ in range(count)]

    async def ask(self, message: bytes) -> Reply:
        """Send one request, and take the next message for its reply."""
        self.send(message)
        return await self.next()

    async def wait_closed(self) -> tuple[int, str]:
        """Code and reason, once the server has closed it."""
        async with asyncio.timeout(_WAIT):
            while not self.over:
                self._arrived.clear()
                await self._arrived.wait()
        return self.closed or (1006, "")

    def abort(self) -> None:
        """Let go."""
        self.transport.abort()
