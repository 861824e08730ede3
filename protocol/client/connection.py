"""One connection, from its handshake to its close code: replies find their callers, events go on.

Rule: a request ends in its reply or in the reason why none can come any more; nobody waits for a dead socket.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from contextlib import suppress
from typing import Any, Protocol, TypeVar, cast, get_args, get_origin

import msgspec
from msgspec import Raw, Struct
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from protocol.codec import encode
from protocol.error import Invalid, Unknown, codes, refusal
from protocol.frame import Failure, Request
from protocol.session import SessionHello

R = TypeVar("R")

log = logging.getLogger("onesocket.client")


class Disconnected(Exception):
    """The connection went away: whether a request that had no reply yet was done is unknown."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"disconnected ({code}{': ' if reason else ''}{reason})")
        self.code, self.reason = code, reason


class Owner(Protocol):
    """Who hears from a connection."""

    def heard(self, connection: Connection, name: str, data: bytes) -> None:
        """An event came."""

    def left(self, connection: Connection) -> None:
        """It takes no more requests: it ended, or soon will."""


class _Incoming(Struct):
    """As much of a frame as it takes to know whose it is."""

    ev: str = ""
    re: Raw = Raw(b"-1")
    ok: Raw = Raw(b"")
    error: Raw = Raw(b"")


_incoming = msgspec.json.Decoder(_Incoming).decode
_failure = msgspec.json.Decoder(Failure).decode
_number = msgspec.json.Decoder(int).decode
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeError)


@functools.cache
def _reply_decoder(kind: type[Request[Any]]) -> msgspec.json.Decoder[Any]:
    for base in (base for parent in kind.__mro__ for base in parent.__dict__.get("__orig_bases__", ())):
        if get_origin(base) is Request:
            return msgspec.json.Decoder(get_args(base)[0])
    raise TypeError(f"{kind.__name__} does not say what its reply is: derive it from Request[…]")


class Connection:
    """A socket, and what was asked over it and not answered yet."""

    def __init__(self, socket: ClientConnection, owner: Owner) -> None:
        loop = asyncio.get_running_loop()
        self._socket, self._owner = socket, owner
        self._pending: dict[int, asyncio.Future[_Incoming]] = {}
        self._idle, self._deaf = asyncio.Event(), False
        self.hello: asyncio.Future[SessionHello] = loop.create_future()
        self.over = asyncio.Event()
        self.closed: tuple[int, str] | None = None
        self.since, self.back_at, self.forgiven = loop.time(), 0.0, False
        self._reading = asyncio.create_task(self._read())

    @property
    def final(self) -> bool:
        """Whether it was closed for a reason that coming back would not change."""
        return self.closed is not None and 4400 <= self.closed[0] < 4500 and not self.forgiven

    def why(self) -> Exception:
        """Why it ended."""
        code, reason = self.closed or (1006, "")
        if not self.final:
            return Disconnected(code, reason)
        kind = next((kind for kind in codes().values() if kind.close == code), Unknown)
        return kind(f"{code} {reason}" if kind is Unknown else reason or None)

    async def ask(self, frame: Request[R], number: int) -> R:
        """Send a request under this number and wait for its reply."""
        if self.closed is not None:
            raise self.why()
        data, decoder = self._encoded(frame, number), _reply_decoder(type(frame))
        future = self._pending[number] = asyncio.get_running_loop().create_future()
        self._idle.clear()
        try:
            with suppress(ConnectionClosed):  # the reader learns why, and tells the future
                await self._socket.send(data, text=True)
            reply = await future
        finally:
            del self._pending[number]
            if not self._pending:
                self._idle.set()
        if bytes(reply.error):
            raise refusal(_failure(reply.error))
        return cast("R", decoder.decode(reply.ok))

    def _encoded(self, frame: Request[Any], number: int) -> bytes:
        data = encode(msgspec.structs.replace(frame, id=number))
        if self.hello.done() and len(data) > self.hello.result().limits.frame_bytes:
            raise Invalid(f"the frame has {len(data)} bytes, more than the server takes")
        return data

    async def _read(self) -> None:
        try:
            while True:
                data = await self._socket.recv(decode=False)
                frame = _incoming(data)
                if not frame.ev:
                    self._answer(frame)
                elif not self._deaf:
                    self._owner.heard(self, frame.ev, data)
        except ConnectionClosed:
            pass
        except _UNREADABLE as error:
            log.warning("the server sent what is no frame: %s", error)
            await self._socket.close(1002, "that was no frame")
        finally:
            self._end()

    def _answer(self, frame: _Incoming) -> None:
        future = self._pending.get(_number(frame.re))
        if future is not None and not future.done():
            future.set_result(frame)

    def _end(self) -> None:
        self.closed = (self._socket.close_code or 1006, self._socket.close_reason or "")
        waiting: list[asyncio.Future[Any]] = [self.hello, *self._pending.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(self.why())
        self._idle.set()
        self.leave()

    def leave(self) -> None:
        """No more requests over this one."""
        self.over.set()
        self._owner.left(self)

    async def close(self) -> None:
        """End it in good order."""
        await self._socket.close()
        await asyncio.wait([self._reading])

    async def close_when_idle(self) -> None:
        """End it once every request has its reply."""
        if self._pending:
            await self._idle.wait()
        await self.close()

    def abort(self) -> None:
        """Let go at once, and hear nothing of it any more."""
        self._deaf = True
        self._socket.transport.abort()
