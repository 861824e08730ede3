"""Heads: the database is asked how far streams are, so that nothing depends on being told.

Rule: the database is right, also when it knows less than was told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from protocol.error import Refusal
from protocol.parts import parts
from server.audience import Batch, Stream
from storage import stream as storage
from storage.pool import Pool
from storage.stream import GONE, Place

_EVERY, _SOON, _AT_ONCE = 1.0, 0.05, 1000


class Heads:
    """Looks after all followed streams every second, and after new ones soon; what has moved is handed to `take`."""

    def __init__(
        self,
        pool: Pool,
        streams: Mapping[UUID, Stream],
        take: Callable[[Batch], None],
        behind: Callable[[Stream], None],
    ) -> None:
        self._pool, self._streams, self._take, self._behind = pool, streams, take, behind
        self._ahead: set[UUID] = set()
        self._new: list[Stream] = []
        self._wake = asyncio.Event()

    def ask_soon(self, stream: Stream) -> None:
        """Ask about this one before the second is over."""
        self._new.append(stream)
        self._wake.set()

    async def run(self, tidy: Callable[[], None]) -> None:
        """Again and again, after tidying up."""
        loop = asyncio.get_running_loop()
        due = loop.time() + _EVERY
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.01, due - loop.time()))
                await asyncio.sleep(_SOON)
            self._wake.clear()
            new, self._new = self._new, []
            if loop.time() >= due:
                due = loop.time() + _EVERY
                tidy()
                new = list(self._streams.values())
            with contextlib.suppress(Refusal):  # who was not asked about now is asked about with all the others
                await self.poll(new)

    async def poll(self, streams: Sequence[Stream]) -> None:
        """Look whether these streams are further on than is known here."""
        for some in parts(streams, _AT_ONCE):
            known = {one.id: Place(one.id, one.head, one.access) for one in some}
            moved = await storage.moved(self._pool, list(known.values()))
            ahead = {place.id for place in moved if place.head < known[place.id].head and place.access != GONE}
            for place in moved:
                if place.id not in ahead:
                    self._take(Batch(place.id, place.access, place.head + 1, ()))
            for id in ahead & self._ahead:  # twice is no accident
                if (stream := self._streams.get(id)) is not None:
                    self._behind(stream)
            self._ahead = (self._ahead - known.keys()) | (ahead - self._ahead)
