"""Taking back what somebody has said lately in a space, when they are banned.

(How chores are done is in server/chore.py.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from protocol.parts import parts
from server.chore import Round
from server.removal import take_back
from storage import purge
from storage.chore import Chores

if TYPE_CHECKING:
    from server.app import Server

_PURGES = Chores("purge", "id")
_READ_AT_ONCE, _AT_ONCE = 2000, 200


class Purges:
    """Takes back what is to be purged."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._round = Round(server.pool, _PURGES, self._work)
        self.wake = self._round.wake

    async def run(self) -> None:
        """One after the other."""
        await self._round.run()

    async def _work(self, id: UUID) -> None:
        while found := await purge.messages(self._server.pool, id, _READ_AT_ONCE):
            for channel, seqs in found.items():
                for some in parts(seqs, _AT_ONCE):
                    await take_back(self._server, channel, some)
                    await self._round.breathe(id)
        await purge.finish(self._server.pool, id)
