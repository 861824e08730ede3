"""One stream as this process follows it: where it is, what came last, and who hears it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from server.page import Page
from storage.stream import Place

if TYPE_CHECKING:
    from server.context import Context
    from server.wire import Socket

_RECENT, _RECENT_BYTES = 256, 65536


class Batch(Struct):
    """Facts of one stream in a row, each a finished frame; without frames it only says where the stream is."""

    stream: UUID
    access: int
    first: int
    frames: Sequence[bytes]

    @property
    def last(self) -> int:
        """The seq of the last one."""
        return self.first + len(self.frames) - 1


class Stream:
    """One stream, and who hears it here."""

    __slots__ = (
        "access",
        "alone_since",
        "coming",
        "guard",
        "head",
        "id",
        "key",
        "late",
        "news",
        "page",
        "personal",
        "recent",
        "recent_bytes",
        "repairing",
        "serving",
        "silent",
        "sockets",
        "waiting",
    )

    def __init__(self, place: Place, personal: bool) -> None:
        self.id, self.head, self.access, self.personal = place.id, place.head, place.access, personal
        self.guard = place.guard
        self.key = str(place.id).encode()
        self.sockets: set[Socket] = set()
        self.serving: set[Socket] = set()
        self.silent: set[Context] = set()
        self.late: dict[Context, int] = {}
        self.coming: dict[Context, None] = {}
        self.waiting: list[Batch] = []
        self.news: asyncio.Event | None = None
        self.repairing: asyncio.Task[None] | None = None
        self.recent: deque[bytes] = deque()
        self.recent_bytes = 0
        self.page: Page | None = None
        self.alone_since = time.monotonic()

    # Who hears it

    @property
    def is_space(self) -> bool:
        """Whether it is a space, and not a channel or an account."""
        return self.guard == self.id

    @property
    def audience(self) -> list[Context]:
        """Everybody who hears it now, or will when the head has reached their place; or whom it only concerns."""
        listening = [socket.conversation for socket in self.sockets if socket.conversation is not None]
        return [*listening, *self.late, *self.silent]  # type: ignore[list-item]

    def serve_late(self, frames: Sequence[bytes]) -> None:
        """Who joined ahead of the head gets what is beyond their place, and from now on everything."""
        first = self.head - len(frames) + 1
        for ctx, seq in list(self.late.items()):
            if seq <= self.head:
                del self.late[ctx]
                for one in frames[max(0, seq + 1 - first) :]:
                    ctx.socket.push(one)
                self.sockets.add(ctx.socket)

    def let_go(self, ctx: Context) -> None:
        """A socket hears it no more."""
        ctx.streams.discard(self)
        self.sockets.discard(ctx.socket)
        self.late.pop(ctx, None)
        self.silent.discard(ctx)
        self.serving.discard(ctx.socket)
        if not self.sockets and not self.silent:
            self.alone_since = time.monotonic()

    def wait_for_all(self) -> None:
        """Keep of what waits only how far it goes and what has to be looked at; the facts themselves can be read."""
        access, last = max(one.access for one in self.waiting), max(one.last for one in self.waiting)
        self.waiting = [Batch(self.id, access, last + 1, ())]

    # What came last

    def since(self, cursor: int) -> list[bytes] | None:
        """What came behind a cursor, if all of it is still in memory."""
        count = self.head - cursor
        if count > len(self.recent):
            return None
        return list(self.recent)[-count:] if count > 0 else []

    def forget(self) -> int:
        """Keep nothing of what was delivered; how many bytes that sets free."""
        freed, self.recent_bytes = self.recent_bytes, 0
        self.recent.clear()
        return freed

    def remember(self, frames: Sequence[bytes]) -> int:
        """Keep what was delivered for who comes back soon; by how many bytes that takes more room."""
        before = self.recent_bytes
        self.recent.extend(frames)
        self.recent_bytes += sum(map(len, frames))
        while self.recent_bytes > _RECENT_BYTES or len(self.recent) > _RECENT:
            self.recent_bytes -= len(self.recent.popleft())
        return self.recent_bytes - before
