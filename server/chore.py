"""Chores: what is done behind a reply, bit by bit, by whichever process has time.

Rule 1: in small transactions with a breath between them, so that nobody else waits for long, however much there is.
Rule 2: what is left to do is read from the database each time: whoever is interrupted, here or there, goes on.
Rule 3: two at one chore do no harm: the time for which it is taken only keeps them from doing the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from uuid import UUID

from protocol.error import Refusal
from storage.chore import Chores
from storage.pool import Pool

log = logging.getLogger("onesocket.chore")

_EVERY = 5.0
_BREATH = 0.02


class Round:
    """Does the chores of one kind: those that it is woken for soon, those that others have left within seconds.

    `moment`: how long after it was woken it begins
    """

    def __init__(
        self, pool: Pool, chores: Chores, work: Callable[[UUID], Awaitable[None]], *, moment: float = 0.0
    ) -> None:
        self._pool, self._chores, self._work, self._moment = pool, chores, work, moment
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    async def run(self) -> None:
        """One after the other."""
        while True:
            try:
                while (one := await self._chores.take(self._pool)) is not None:
                    await self._do(one)
            except Refusal as refusal:  # its turn comes again
                log.debug("%s waits for the database: %s", self._chores.table, refusal)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _EVERY)
                await asyncio.sleep(self._moment)
            self._wake.clear()

    async def _do(self, one: UUID) -> None:
        """What was interrupted is free for others at once; what has failed is not."""
        try:
            await self._work(one)
        except (Refusal, asyncio.CancelledError):
            with contextlib.suppress(Refusal):
                await self._chores.leave(self._pool, one)
            raise
        await self._chores.leave(self._pool, one)

    async def breathe(self, one: UUID) -> None:
        """Let others have their turn, and nobody else take this one."""
        await self._chores.hold(self._pool, one)
        await asyncio.sleep(_BREATH)
