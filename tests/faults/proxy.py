"""A network that can be broken: one TCP port that leads to one server, with faults put in while it runs.

Rule 1: bytes that pass are never changed, dropped from the middle or reordered: a connection that lost some is over.
Rule 2: what is held passes after healing, as TCP sends again what a short partition dropped.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from pathlib import Path
from typing import Literal, Self, cast

Target = tuple[str, int] | Path
State = Literal["open", "held", "swallowing", "refusing"]
Way = Literal["up", "down"]

_WINDOW = 1 << 20  # bytes that one direction keeps before it stops reading, as a full TCP window would
_TICK = 0.01
_RESET = struct.pack("ii", 1, 0)  # closing with this SO_LINGER sends RST


class _Side(asyncio.Protocol):
    """One socket of a pair: what it says goes to the other one, when the link lets it."""

    def __init__(self, pair: _Pair) -> None:
        self.pair = pair
        self.transport: asyncio.Transport | None = None
        self.other: _Side = self
        self.left: int | None = None  # bytes until the cut
        self._waiting: deque[tuple[float, bytes | None]] = deque()  # None is the end
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are none by class
        self.pair.made(self)

    def data_received(self, data: bytes) -> None:
        link = self.pair.link
        if self.pair.broken or link.state == "swallowing":
            self.pair.broken = True
            return
        if link.plain and not self._waiting and self.other.transport is not None:
            self._write(data)
            return
        self._size += len(data)
        if self._size > _WINDOW and self.transport is not None:
            self.transport.pause_reading()
        self._put(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if not self.pair.broken:
            self._put(None)

    def pause_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.resume_reading()

    def _put(self, data: bytes | None) -> None:
        self._waiting.append((self.pair.link.now() + self.pair.link.latency, data))
        self.flow()

    def flow(self) -> None:
        """Pass on what is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        link = self.pair.link
        while self._waiting and link.state == "open" and not self.pair.broken:
            due, data = self._waiting[0]
            if due > link.now():
                self._later(due - link.now())
                return
            if data is None:
                self.pair.close()
                return
            if self.other.transport is None:
                return
            self._waiting.popleft()
            piece = data[: max(1, int(link.rate * _TICK))] if link.rate else data
            self._size -= len(piece)
            self._write(piece)
            if len(piece) < len(data):
                self._waiting.appendleft((due, data[len(piece) :]))
            if link.rate:
                self._later(len(piece) / link.rate)
                return
        if self.transport is not None and not self._waiting:
            self.transport.resume_reading()

    def _later(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self.flow)

    def _write(self, data: bytes) -> None:
        if self.left is not None:
            data, self.left = data[: self.left], self.left - len(data)
        if self.other.transport is not None:
            self.other.transport.write(data)
            self.pair.link.passed += len(data)
        if self.left is not None and self.left <= 0:
            self.pair.broken = True
            asyncio.get_running_loop().call_later(_TICK, self.pair.reset)  # what was let through leaves first

    def end(self, *, reset: bool) -> None:
        """Close this socket."""
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        if self.transport is None:
            return
        if reset:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
        else:
            self.transport.close()


class _Pair:
    """A client's socket and ours to the server."""

    def __init__(self, link: Link) -> None:
        self.link, self.broken = link, False
        self.down, self.up = _Side(self), _Side(self)
        self.down.other, self.up.other = self.up, self.down
        self._connecting: asyncio.Task[None] | None = None

    def made(self, side: _Side) -> None:
        """One of the two is there."""
        if side is self.up:
            self.down.flow()
            return
        self.link.pairs.add(self)
        if self.link.state == "refusing":
            self.reset()
        elif self.link.state != "swallowing":
            self._connecting = asyncio.create_task(self._connect())
        self.down.left, self.up.left = self.link.cuts["up"], self.link.cuts["down"]

    async def _connect(self) -> None:
        loop, target = asyncio.get_running_loop(), self.link.target
        try:
            if isinstance(target, Path):
                await loop.create_unix_connection(lambda: self.up, str(target))
            else:
                await loop.create_connection(lambda: self.up, *target)
        except OSError:
            self.reset()

    def close(self) -> None:
        """Both ends, in good order."""
        self._end(reset=False)

    def reset(self) -> None:
        """Both ends, with RST."""
        self._end(reset=True)

    def _end(self, *, reset: bool) -> None:
        self.broken = True
        if self._connecting is not None and not self._connecting.done() and asyncio.current_task() != self._connecting:
            self._connecting.cancel()
        self.down.end(reset=reset)
        self.up.end(reset=reset)
        self.link.pairs.discard(self)


class Link:
    """A port that leads to a target. Every fault lasts until `heal`, but for `reset` and `cut_after`'s cuts."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.state: State = "open"
        self.latency, self.rate = 0.0, 0.0
        self.cuts: dict[Way, int | None] = {"up": None, "down": None}
        self.pairs: set[_Pair] = set()
        self.passed = 0
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Pair(self).down, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and everything that went through it."""
        if self._server is not None:
            self._server.close()
        self.reset()

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    @property
    def plain(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.state == "open" and not self.latency and not self.rate

    def delay(self, seconds: float) -> None:
        """Everything takes this much longer, each way."""
        self.latency = seconds

    def throttle(self, bytes_per_second: float) -> None:
        """No more than this passes, each way of each connection."""
        self.rate = bytes_per_second

    def hold(self) -> None:
        """Nothing passes; after healing it does."""
        self.state = "held"

    def blackhole(self) -> None:
        """Connections are taken, what comes is swallowed; whoever lost something is reset at healing."""
        self.state = "swallowing"

    def refuse(self) -> None:
        """Connections are reset, those that are and those that come."""
        self.state = "refusing"
        self.reset()

    def reset(self) -> None:
        """RST to both ends of every connection."""
        for pair in list(self.pairs):
            pair.reset()

    def half_open(self) -> None:
        """The server's ends are gone, and the clients' ends don't know."""
        for pair in list(self.pairs):
            pair.broken = True
            pair.up.end(reset=True)

    def cut_after(self, size: int, way: Way = "down") -> None:
        """Reset each connection, also each new one, when this much more has passed; `down` is toward the client."""
        self.cuts[way] = size
        for pair in self.pairs:
            (pair.up if way == "down" else pair.down).left = size

    def heal(self) -> None:
        """Nothing is wrong any more; connections that lost something are reset."""
        self.state, self.latency, self.rate = "open", 0.0, 0.0
        self.cuts = {"up": None, "down": None}
        for pair in list(self.pairs):
            pair.down.left = pair.up.left = None
            if pair.broken:
                pair.reset()
            else:
                pair.down.flow()
                pair.up.flow()
