"""One connection, from its handshake to its close code: replies find their callers, events go on.

Rule: a request ends in its reply or in the reason why none can come any more; nobody waits for a dead socket.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast, get_args, get_origin

import msgspec
from msgspec import Raw, Struct
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from protocol.codec import encode
from protocol.error import Invalid, Unknown, codes, refusal
from protocol.frame import Event, Failure, Request
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


class Sending:
    """A file on its way: how far it is, and why it goes no further."""

    def __init__(self, offset: int) -> None:
        self.stored = offset
        self._error: Exception | None = None
        self._moved = asyncio.Event()

    def move(self, offset: int) -> None:
        """So much is written."""
        self.stored = offset
        self._moved.set()

    def fail(self, error: Exception) -> None:
        """It goes no further over this connection."""
        self._error = error
        self._moved.set()

    async def moved(self) -> None:
        """Wait until it is further than it was."""
        await self._moved.wait()
        self._moved.clear()
        if self._error is not None:
            raise self._error


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


@dataclass(slots=True)
class _Asked:
    """A request that has no reply yet."""

    decoder: msgspec.json.Decoder[Any]
    first: Callable[[Any], object] | None
    reply: asyncio.Future[Any]

    def read(self, frame: _Incoming) -> Any:
        if bytes(frame.error):
            raise refusal(_failure(frame.error))
        body = self.decoder.decode(frame.ok)
        if self.first is not None:
            self.first(body)
        return body


class Connection:
    """A socket, and what was asked over it and not answered yet."""

    def __init__(self, socket: ClientConnection, owner: Owner) -> None:
        loop = asyncio.get_running_loop()
        self._socket, self._owner = socket, owner
        self._pending: dict[int, _Asked] = {}
        self._numbers = itertools.count(1)
        self._idle, self._deaf = asyncio.Event(), False
        self._patience: float | None = None
        self.held: list[Event] | None = None  # events that wait for the reply which says where streams start
        self.hello: asyncio.Future[SessionHello] = loop.create_future()
        self.over = asyncio.Event()
        self.closed: tuple[int, str] | None = None
        self.sending: dict[int, Sending] = {}  # files on their way, by their numbers
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

    async def ask(self, frame: Request[R], first: Callable[[R], object] | None = None) -> R:
        """Send a request and wait for its reply, which `first` gets before anything that came after it is heard."""
        if self.closed is not None:
            raise self.why()
        number = next(self._numbers)
        data = self._encoded(frame, number)
        reply = asyncio.get_running_loop().create_future()
        self._pending[number] = _Asked(_reply_decoder(type(frame)), first, reply)
        self._idle.clear()
        try:
            with suppress(ConnectionClosed):  # the reader learns why, and tells the future
                await self._socket.send(data, text=True)
            return cast("R", await reply)
        finally:
            del self._pending[number]
            if not self._pending:
                self._idle.set()

    async def send(self, data: bytes) -> None:
        """Send bytes of a file."""
        if self.closed is not None:
            raise self.why()
        try:
            await self._socket.send(data)
        except ConnectionClosed:
            raise self.why() from None

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
        asked = self._pending.get(_number(frame.re))
        if asked is None or asked.reply.done():
            return
        try:
            asked.reply.set_result(asked.read(frame))
        except Exception as error:
            asked.reply.set_exception(error)

    def _end(self) -> None:
        self.closed = (self._socket.close_code or 1006, self._socket.close_reason or "")
        waiting: list[asyncio.Future[Any]] = [self.hello, *(asked.reply for asked in self._pending.values())]
        for future in waiting:
            if not future.done():
                future.set_exception(self.why())
        for one in self.sending.values():
            one.fail(self.why())
        self._idle.set()
        self.leave()

    def leave(self, patience: float | None = None) -> None:
        """No more requests over this one, and those in flight have so many seconds to be answered."""
        self._patience = patience
        self.over.set()
        self._owner.left(self)

    async def close(self) -> None:
        """End it in good order."""
        await self._socket.close()
        await asyncio.wait([self._reading])

    async def close_when_idle(self) -> None:
        """End it once every request has its reply, or has waited long enough."""
        if self._pending:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    await self._idle.wait()
        await self.close()

    def abort(self) -> None:
        """Let go at once, and hear nothing of it any more."""
        self._deaf = True
        self._socket.transport.abort()
