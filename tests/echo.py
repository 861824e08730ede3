"""A gateway whose conversation says everything back, without a database: what the tests of the wire talk to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from server.config import Config
from server.conversation import Conversation
from server.gateway import Gateway
from server.http import Site
from server.wire import Socket
from tests.raw import BINARY, Raw

HELLO = b"hello"


class Echo:
    """Says what it hears; `login` is believed, `more:1000` is answered with so many bytes."""

    def __init__(self, socket: Socket) -> None:
        self.socket, self.refused = socket, 0

    def text(self, data: bytes) -> None:
        if data == b"login":
            self.socket.gateway.logged_in(self.socket)
        if data.startswith(b"more:"):
            data = b"." * int(data[5:])
        self.socket.send(data)

    def binary(self, data: bytes) -> None:
        self.socket.send(data, BINARY)

    def flooded(self, data: bytes, retry_after: float) -> None:
        self.refused += 1
        if self.socket.count_refused() > self.socket.gateway.config.frames_in_burst:
            self.socket.close(4429, "flooded")
        else:
            self.socket.send(b"later:%.2f" % retry_after)

    def closed(self) -> None:
        pass


class Plain(Echo):
    """Logged in from the start, and silent until spoken to."""

    def __init__(self, socket: Socket) -> None:
        super().__init__(socket)
        socket.gateway.logged_in(socket)

    def text(self, data: bytes) -> None:
        self.socket.send(data)


class Listening:
    """An open gateway and its port."""

    def __init__(self, gateway: Gateway, port: int) -> None:
        self.gateway, self.port = gateway, port

    @property
    def conversations(self) -> list[Any]:
        """The open ones."""
        return [socket.conversation for socket in self.gateway.sockets if socket.conversation is not None]

    async def raw(self, *headers: tuple[str, str], **options: Any) -> Raw:
        """A socket that has heard the hello."""
        raw = await Raw.connect(self.port, **options)
        reply = await raw.upgrade("/", *headers)
        assert reply.status == 101, reply
        assert await raw.text() == HELLO
        return raw


@asynccontextmanager
async def echoing(
    converse: Callable[[Socket], Conversation] = Echo, site: Site | None = None, **settings: Any
) -> AsyncIterator[Listening]:
    """A gateway on a free port."""
    gateway = Gateway(Config(**{"port": 0, **settings}), site, converse)
    port = await gateway.listen(HELLO if converse is not Plain else b"")
    try:
        yield Listening(gateway, port)
    finally:
        await gateway.stop_listening()
        for socket in gateway.sockets:
            socket.abort()
        await gateway.close(1001, "the test is over")
