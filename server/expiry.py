"""Messages that disappear: each goes at its time, with those of its channel whose time is over as well.

Rule: they go within about a second of their time (within 15 more, where a process is killed at it); until then they can
be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.fact import changing
from server.removal import remove
from storage import due, expiry
from storage.due import Due

if TYPE_CHECKING:
    from server.app import Server

_AT_ONCE, _PAUSE = 500, 1.0


async def fall_due(app: Server, one: Due) -> None:
    """Delete some of a channel, and say when there is something to do there again."""
    async with changing(app, one.stream) as change:
        if not change.holds(one.stream):
            return
        seqs = await expiry.expired(change.tx, one.stream, _AT_ONCE)
        await remove(change, one.stream, seqs)
        pause = 0 if len(seqs) == _AT_ONCE else _PAUSE
        at = await expiry.next_at(change.tx, one.stream, pause)
        await due.set_next(change.tx, "disappearing", one.stream, at)
