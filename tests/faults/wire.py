"""One socket of a client that does everything itself: requests find their replies, events go to whoever listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from protocol.codec import encode
from protocol.frame import Request

PATIENCE = 1.5  # seconds for a reply, after which nobody knows
TEMPORARY = {"unavailable", "overloaded", "internal", "going_away", "rate_limited", "too_slow"}


class GoneError(Exception):
    """The socket went away, or nothing came in time: whether a request was done is unknown."""


class RefusedError(Exception):
    """The server said no; `temporary` when that tells nothing about whether it was or will be done."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code, self.temporary = code, code in TEMPORARY


def _deaf(_: dict[str, Any]) -> None:
    return None


class Wire:
    """A connection, from its hello on."""

    def __init__(self, socket: ClientConnection, heard: Callable[[dict[str, Any]], None]) -> None:
        self._socket, self._heard = socket, heard
        self._numbers = 0
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._at_once: dict[int, Callable[[dict[str, Any]], None]] = {}
        self.closed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, url: str, heard: Callable[[dict[str, Any]], None] = _deaf, patience: float = PATIENCE) -> Wire:
        """Connect."""
        try:
            async with asyncio.timeout(patience):
                socket = await connect(url, compression=None, ping_interval=None, max_size=None, close_timeout=0.2)
        except (OSError, WebSocketException, TimeoutError) as error:
            raise GoneError(str(error)) from error
        return cls(socket, heard)

    async def ask(
        self, frame: Request[Any], patience: float = PATIENCE, at_once: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """Send a request and wait for its reply; `at_once` has it before any event that came behind it."""
        return await self.replied(await self.begin(frame, at_once), patience)

    async def begin(self, frame: Request[Any], at_once: Callable[[dict[str, Any]], None] | None = None) -> int:
        """Send a request; `replied` waits for what becomes of it."""
        if self.closed.is_set():
            raise GoneError("closed before")
        self._numbers += 1
        number = self._numbers
        self._pending[number] = asyncio.get_running_loop().create_future()
        if at_once is not None:
            self._at_once[number] = at_once
        try:
            await self._socket.send(encode(msgspec.structs.replace(frame, id=number)), text=True)
        except (OSError, WebSocketException) as error:
            self._pending.pop(number, None)
            raise GoneError(str(error)) from error
        return number

    async def replied(self, number: int, patience: float = PATIENCE) -> dict[str, Any]:
        """The reply to a request that was begun."""
        future = self._pending[number]
        try:
            async with asyncio.timeout(patience):
                reply = await future
        except TimeoutError:
            raise GoneError("no reply in time") from None
        finally:
            self._pending.pop(number, None)
        if "error" in reply:
            raise RefusedError(reply["error"]["code"])
        ok: dict[str, Any] = reply["ok"]
        return ok

    async def _read(self) -> None:
        decode = msgspec.json.decode
        try:
            while True:
                frame = decode(await self._socket.recv(decode=False))
                if "ev" in frame:
                    self._heard(frame)
                else:
                    self._answer(frame)
        except (OSError, WebSocketException):
            pass
        finally:
            self._end()

    def _answer(self, frame: dict[str, Any]) -> None:
        at_once = self._at_once.pop(frame["re"], None)
        if at_once is not None and "ok" in frame:
            at_once(frame["ok"])
        future = self._pending.get(frame["re"])
        if future is not None and not future.done():
            future.set_result(frame)

    def _end(self) -> None:
        self.closed.set()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(GoneError(f"closed with {self._socket.close_code}"))
                future.exception()  # nobody may be waiting any more

    @property
    def why(self) -> int | None:
        """The close code."""
        return self._socket.close_code

    async def close(self) -> None:
        """Let go at once: what comes later is not heard."""
        self._reading.cancel()
        self._socket.transport.abort()
        await asyncio.wait([self._reading])
