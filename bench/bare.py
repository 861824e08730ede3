"""The least a Python WebSocket server can do for a request: the yardstick of `bench ping`.

Sans-I/O core, typed decoding, a reply, one write per read. No limits, no sessions, no deadlines, no metrics.
"""

import asyncio
from datetime import UTC, datetime
from typing import cast

import msgspec
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol

from bench import process, runner


class Open(msgspec.Struct, kw_only=True, tag_field="op", tag="session.open"):
    """Answered without a look at the token."""

    id: int = 0
    token: str


class Ping(msgspec.Struct, kw_only=True, tag_field="op", tag="session.ping"):
    """Answered with the time."""

    id: int = 0


class Close(msgspec.Struct, kw_only=True, tag_field="op", tag="session.close"):
    """Here because a union of one is no union."""

    id: int = 0


class Answer(msgspec.Struct):
    """What a reply contains."""

    time: datetime


class Reply(msgspec.Struct):
    """A reply."""

    re: int
    ok: Answer


_decode = msgspec.json.Decoder(Open | Ping | Close).decode
_encode = msgspec.json.Encoder().encode


class Socket(asyncio.Protocol):
    """A connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.protocol = ServerProtocol(extensions=None)

    def data_received(self, data: bytes) -> None:
        out = []
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                if event.opcode == 1:
                    frame = _decode(event.data)
                    body = _encode(Reply(frame.id, Answer(datetime.now(UTC))))
                    out.append(bytes((0x81, len(body))) + body)
            elif isinstance(event, Request):
                self.protocol.send_response(self.protocol.accept(event))
        out.extend(self.protocol.data_to_send())
        if out:
            self.transport.write(b"".join(out))


async def main() -> None:
    """Listen on a free port until terminated."""
    await asyncio.get_running_loop().create_server(Socket, "127.0.0.1", 0, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    process.allow_many_files()
    runner.run(main())
