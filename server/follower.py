"""Followers: telling those who follow threads that there is something new, whether they hear them or not.

Rule 1: where something was said is asked of the database, once a second: the tail has noted it (`Followed`).
Rule 2: only accounts with sockets here are looked for, however many follow a thread.
Rule 3: who does not see a thread's channel is told nothing of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.codec import encode
from protocol.parts import parts
from protocol.thread import ThreadLast, ThreadMoved
from server.core import frame
from storage import thread as threads
from storage.pool import Database, Transaction
from storage.tail import Portion
from storage.thread import Moved

if TYPE_CHECKING:
    from server.context import Context

_MOST, _AT_ONCE = 500, 500

Following = Mapping[UUID, Collection[UUID]]  # threads, by account


async def note(tx: Transaction, portions: Sequence[Portion]) -> None:
    """Works behind messages, after whoever holds streams: a thread's row is held last."""
    channels = [one.span.channel for one in portions if one.created]
    if channels:
        await threads.move(tx, channels)


class Followers:
    """What the sockets of this process were told of threads."""

    def __init__(self, pool: Database) -> None:
        self._pool = pool
        self._known: dict[UUID, int] = {}

    async def look(self, spaces: Sequence[UUID], seconds: float) -> dict[UUID, list[Moved]]:
        """What is new in threads of spaces since the last look, which was not so many seconds ago."""
        found = await threads.moved(self._pool, spaces, seconds, _MOST)
        news: dict[UUID, list[Moved]] = {}
        for one in found:
            if self._known.get(one.last.thread, 0) < one.last.seq:
                news.setdefault(one.space, []).append(one)
        self._known = {one.last.thread: one.last.seq for one in found}
        return news

    async def tell(self, space: UUID, news: Sequence[Moved], audience: Sequence[Context]) -> None:
        """Sockets that have the outline of a space are told of the threads that their accounts follow and see."""
        allowed = [ctx for ctx in audience if ctx.session is not None and ctx.session.allows("thread.followed")]
        for some in parts(allowed, _AT_ONCE):
            following = await self._following(news, some)
            for ctx in some if following else ():
                self._tell(ctx, space, news, following)

    async def _following(self, news: Sequence[Moved], some: Sequence[Context]) -> Following:
        accounts = list({ctx.session.account for ctx in some if ctx.session is not None})
        found = defaultdict[UUID, set[UUID]](set)
        for account, thread in await threads.followers(self._pool, [one.last.thread for one in news], accounts):
            found[account].add(thread)
        return found

    @staticmethod
    def _tell(ctx: Context, space: UUID, news: Sequence[Moved], following: Following) -> None:
        seen = ctx.outlines.get(space) if ctx.outlines is not None else None
        mine = following.get(ctx.session.account, ()) if ctx.session is not None else ()
        if seen is None or not mine:
            return
        lasts: list[ThreadLast] = [one.last for one in news if one.last.thread in mine and one.channel in seen.channels]
        if lasts:
            ctx.socket.push(frame(1, encode(ThreadMoved(space=space, lasts=lasts))))
