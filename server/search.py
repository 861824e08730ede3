"""What search needs besides the tail: documents of what was said before there were any, and words that are forgotten.

(How chores are done is in server/chore.py.)
"""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID

from protocol.error import Refusal
from server.chore import Round
from storage import search
from storage.pool import Pool

log = logging.getLogger("onesocket.search")

_AT_ONCE, _TURN = 200, 20
_EVERY, _WORDS = 5.0, 50


class Search:
    """Keeps what messages are found by complete, and free of what stands nowhere any more."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.index = search.Index()
        self._round = Round(pool, search.BACKLOGS, self._catch_up)

    async def run(self) -> None:
        """Both."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._round.run(), name="search, backlog")
            group.create_task(self._tidy(), name="search, words")

    async def _catch_up(self, channel: UUID) -> None:
        """Newest first; other channels have their turn, too."""
        for _ in range(_TURN):
            async with self._pool.transaction() as tx:
                if not await search.older(tx, self.index, channel, _AT_ONCE):
                    return
            await self._round.breathe(channel)

    async def _tidy(self) -> None:
        while True:
            try:
                more = await search.tidy(self._pool, _WORDS) == _WORDS
            except Refusal as refusal:
                log.debug("words wait for the database: %s", refusal)
                more = False
            await asyncio.sleep(_EVERY / 50 if more else _EVERY)
