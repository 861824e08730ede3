"""What follows when a space was deleted: its members are told, and its channels go, one by one.

Nobody has had a right there since it was deleted. (How chores are done is in server/chore.py.)

Rule: first everybody is told, then the channels become graves, and the space goes last: until then it is not done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from protocol.space import SpaceLeft
from server import notification
from server.chore import Round
from server.fact import changing
from storage import grave
from storage import space as spaces
from storage.chore import Chores

if TYPE_CHECKING:
    from server.app import Server

_RUINS = Chores("ruin", "space")
_TOLD_AT_ONCE = 100
_TURN = 50


class Ruins:
    """Does away with what is left of deleted spaces."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._round = Round(server.pool, _RUINS, self._work)
        self.wake = self._round.wake

    async def run(self) -> None:
        """One space after the other."""
        await self._round.run()

    async def _work(self, space: UUID) -> None:
        for _ in range(_TURN):
            if not await self._tell_some(space) and not await self._dig(space):
                await self._close(space)
                return
            await self._round.breathe(space)

    async def _tell_some(self, space: UUID) -> bool:
        """Whether there may be more who have not been told."""
        accounts = await spaces.left_over(self._server.pool, space, _TOLD_AT_ONCE)
        if not accounts:
            return False
        async with changing(self._server, *accounts) as change:
            for account in await spaces.dismiss(change.tx, space, accounts):
                if change.holds(account):
                    seq = change.next(account)
                    change.tell(SpaceLeft(stream=account, seq=seq, space=space, reason="deleted"))
            await notification.leave(change, space, *accounts)
        return True

    async def _dig(self, space: UUID) -> bool:
        """Whether there was a channel left."""
        channel = await spaces.standing_channel(self._server.pool, space)
        if channel is None:
            return False
        async with changing(self._server, channel) as change:
            if change.holds(channel):
                await grave.dig(change.tx, channel, space)
                change.withdraw(channel)
        self._server.graves.wake()
        return True

    async def _close(self, space: UUID) -> None:
        async with changing(self._server, space) as change:
            if change.holds(space):
                await grave.close(change.tx, space)
                change.release(space)
