"""Queues: telling moderators that the queue of reports in one of their spaces has changed.

Rule 1: that it has is asked of the database, so it does not matter on which process somebody reported something.
Rule 2: who is told is decided when it is told, and nobody is told of what they do not see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.codec import encode
from protocol.parts import parts
from protocol.permission import bits
from protocol.report import ReportChanged
from server.core import frame
from storage import report as reports
from storage.pool import Pool
from storage.report import Heap

if TYPE_CHECKING:
    from server.audience import Stream
    from server.context import Context
    from server.structure import Structures

_AT_ONCE = 500
_MANAGE = bits(["manage_reports"])


class Queues:
    """What is open in the spaces that sockets of this process hear of."""

    def __init__(self, pool: Pool, structures: Structures) -> None:
        self._pool, self._structures = pool, structures
        self._moved: dict[UUID, int] = {}
        self._heaps: dict[UUID, set[Heap]] = {}

    async def look(self, followed: Sequence[Stream], moved: Mapping[UUID, int]) -> None:
        """Tell what has changed; `moved` says how often each queue has."""
        self._moved = {id: one for id, one in self._moved.items() if id in moved}
        changed = [stream for stream in followed if moved.get(stream.id, 0) != self._moved.get(stream.id, 0)]
        if not changed:
            return
        heaps = await reports.heaps(self._pool, [stream.id for stream in changed])
        for stream in changed:
            was, now = self._heaps.pop(stream.id, set()), heaps[stream.id]
            await self._tell(stream, was ^ now, now)
            self._moved[stream.id], self._heaps[stream.id] = moved.get(stream.id, 0), now
        self._heaps = {id: one for id, one in self._heaps.items() if id in self._moved}

    async def _tell(self, stream: Stream, changed: set[Heap], now: set[Heap]) -> None:
        for some in parts([ctx for ctx in stream.audience if _may(ctx, stream.id)], _AT_ONCE):
            accounts = [ctx.user for ctx in some]
            found = await self._structures.residents(self._pool, [stream.id] * len(some), accounts)
            for ctx, account, resident in zip(some, accounts, found, strict=True):
                if resident is None or not resident.allowed & _MANAGE:
                    continue
                eyes = resident.eyes
                if any(map(eyes.see, changed)) and ctx.session is not None and ctx.session.account == account:
                    count = sum(heap.open for heap in now if eyes.see(heap))
                    ctx.socket.push(frame(1, encode(ReportChanged(space=stream.id, open=count))))


def _may(ctx: Context, space: UUID) -> bool:
    """Whether a socket was told of a space in which it may look at reports: that is looked at again."""
    seen = ctx.outlines.get(space) if ctx.outlines is not None and ctx.session is not None else None
    return seen is not None and bool(seen.allowed & _MANAGE) and _allows(ctx)


def _allows(ctx: Context) -> bool:
    return ctx.session is not None and ctx.session.allows("report.list")
