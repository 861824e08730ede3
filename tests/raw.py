"""A client without manners: it sends any bytes, and shows every frame and every end as it comes."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from protocol.codec import encode
from protocol.frame import Request

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = b"\x11\x22\x33\x44"
UPGRADE = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ("Sec-WebSocket-Version", "13"),
)


class Reply(NamedTuple):
    """An HTTP response, whole."""

    status: int
    headers: dict[str, str]
    body: bytes


class Frame(NamedTuple):
    """A frame from the server."""

    opcode: int
    body: bytes


def masked(body: bytes, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0, size: int | None = None) -> bytes:
    """A frame from client to server; `size` may lie about its length."""
    length = len(body) if size is None else size
    head = bytes(((0x80 if fin else 0) | rsv << 4 | opcode,))
    if length < 126:
        head += bytes((0x80 | length,))
    elif length < 65536:
        head += b"\xfe" + length.to_bytes(2, "big")
    else:
        head += b"\xff" + length.to_bytes(8, "big")
    key = int.from_bytes((KEY * (len(body) // 4 + 1))[: len(body)], "big")
    return head + KEY + (int.from_bytes(body, "big") ^ key).to_bytes(len(body), "big")


def head(method: str, path: str, headers: Iterable[tuple[str, str]], version: str = "HTTP/1.1") -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} {version}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int, *, limit: int = 1 << 20, unix: str | None = None, **options: Any) -> Raw:
        """To this machine's port, or to a Unix socket."""
        if unix is not None:
            return cls(*await asyncio.open_unix_connection(unix, limit=limit))
        if isinstance(options.get("ssl"), ssl.SSLContext):
            options.setdefault("server_hostname", "localhost")
        host = None if "sock" in options else options.pop("host", "127.0.0.1")
        return cls(*await asyncio.open_connection(host, None if host is None else port, limit=limit, **options))

    def send(self, data: bytes) -> None:
        """Any bytes."""
        self.writer.write(data)

    def say(self, body: bytes, opcode: int = TEXT, **shape: Any) -> None:
        """One frame."""
        self.send(masked(body, opcode, **shape))

    def ask(self, *frames: Request[Any]) -> None:
        """Requests, in one piece."""
        self.send(b"".join(masked(encode(one)) for one in frames))

    async def upgrade(self, path: str = "/", *headers: tuple[str, str]) -> Reply:
        """Ask for a WebSocket; the response."""
        self.send(head("GET", path, (("Host", "localhost"), *UPGRADE, *headers)))
        return await self.reply()

    async def reply(self) -> Reply:
        """The next HTTP response: a body goes on until the end of the stream."""
        async with asyncio.timeout(8):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            status = int(lines[0].split(" ")[1])
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            assert len(headers) == len([line for line in lines[1:] if line]), "a header came twice"
            if status == 101:
                return Reply(status, headers, b"")
            body = await self.reader.read()
        self.writer.close()
        return Reply(status, headers, body)

    async def frame(self, timeout: float = 8) -> Frame:
        """The next frame."""
        async with asyncio.timeout(timeout):
            first, second = await self.reader.readexactly(2)
            assert first & 0x80, "the server does not fragment"
            assert first & 0x70 == 0, "nothing is compressed"
            assert second & 0x80 == 0, "a server does not mask"
            size = second
            if size >= 126:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            return Frame(first & 15, await self.reader.readexactly(size))

    async def text(self) -> bytes:
        """The next text message."""
        one = await self.frame()
        assert one.opcode == TEXT, one
        return one.body

    async def json(self) -> dict[str, Any]:
        """The next text message as an object."""
        found: dict[str, Any] = json.loads(await self.text())
        return found

    async def closed(self, timeout: float = 8) -> int:
        """The code of the close frame that ends it, 1006 where there is none; everything before is skipped.

        Like any client it answers the close frame, and ends its side of the stream when the server has ended its own.
        """
        code = 1006
        async with asyncio.timeout(timeout):
            try:
                while True:
                    one = await self.frame(timeout)
                    if one.opcode == CLOSE:
                        code = int.from_bytes(one.body[:2], "big")
                        self.say(one.body[:2], CLOSE)
                        break
                while await self.reader.read(65536):
                    pass
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
        self.writer.close()
        return code

    async def over(self, timeout: float = 8) -> bytes:
        """What comes until the end of the stream, however it ends."""
        found = bytearray()
        async with asyncio.timeout(timeout):
            try:
                while part := await self.reader.read(65536):
                    found += part
            except ConnectionError:
                pass
        self.writer.close()
        return bytes(found)

    def abort(self) -> None:
        """Gone without a word."""
        transport: Any = self.writer.transport
        transport.abort()


async def until(condition: Callable[[], object], timeout: float = 8) -> None:
    """Wait for something that is seen, not signalled."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)
