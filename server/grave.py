"""What follows when a channel was deleted: those who were in it are told, and all that was said there goes.

Nobody has had a right there since it was deleted. (How chores are done is in server/chore.py.)

Rule: first everybody is told, then its rows go, and its stream last: until then it is known that it is not done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from protocol.channel import ChannelLeft
from server import notification
from server.chore import Round
from server.fact import changing
from storage import grave
from storage import thread as threads

if TYPE_CHECKING:
    from server.app import Server

_THREADS_AT_ONCE, _TOLD_AT_ONCE, _ROWS_AT_ONCE = 50, 100, 500
_TURN = 20  # steps, then it is another one's turn: there somebody may still wait to be told


class Graves:
    """Does away with what is left of deleted channels."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._round = Round(server.pool, grave.GRAVES, self._work)
        self.wake = self._round.wake

    async def run(self) -> None:
        """One channel after the other."""
        await self._round.run()

    async def _work(self, channel: UUID) -> None:
        by = await grave.by(self._server.pool, channel)
        for _ in range(_TURN):
            if by is None:
                return
            if await self._dig_threads(channel, by):
                continue
            if not await self._some(channel, by):
                await self._close(channel)
                return
            await self._round.breathe(channel)

    async def _some(self, channel: UUID, by: UUID) -> bool:
        """Whether there may be more to do before it is closed."""
        return (
            await self._tell_some(channel, by)
            or await notification.vanish(self._server, channel, _TOLD_AT_ONCE)
            or await self._thin(channel)
        )

    async def _tell_some(self, channel: UUID, by: UUID) -> bool:
        """Whether there may be more who have not been told."""
        accounts = await grave.departed(self._server.pool, channel, _TOLD_AT_ONCE)
        if not accounts:
            return False
        async with changing(self._server, *accounts) as change:
            for account in await grave.dismiss(change.tx, channel, accounts):
                if change.holds(account):
                    seq = change.next(account)
                    change.tell(ChannelLeft(stream=account, seq=seq, channel=channel, reason="deleted", by=by))
        return len(accounts) == _TOLD_AT_ONCE

    async def _dig_threads(self, channel: UUID, by: UUID) -> bool:
        """Whether there may be more threads in it: nobody sees them any more."""
        found = await threads.inside(self._server.pool, channel, _THREADS_AT_ONCE)
        if not found:
            return False
        async with changing(self._server, *found) as change:
            for thread in await threads.among(change.tx, found):
                await grave.dig(change.tx, thread, by)
                change.withdraw(thread)
        await self._round.breathe(channel)
        return True

    async def _thin(self, channel: UUID) -> bool:
        """Whether there may be more that was said there."""
        async with changing(self._server, channel) as change:
            return await grave.thin(change.tx, channel, _ROWS_AT_ONCE) == _ROWS_AT_ONCE

    async def _close(self, channel: UUID) -> None:
        async with changing(self._server, channel) as change:
            if change.holds(channel):
                await grave.close(change.tx, channel)
                change.release(channel)
        while await notification.vanish(self._server, channel, _TOLD_AT_ONCE):
            pass  # what was just being found when it was deleted
        self._server.grants.forget(channel)
