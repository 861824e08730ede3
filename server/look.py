"""Looking again who may still hear streams: what is asked at once about a space and its channels is read at once.

Rule: an answer was read after it was asked for: who asks while others are answered waits for the next look.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from storage.pool import Pool

if TYPE_CHECKING:
    from server.audience import Stream
    from server.reach import Reach

Audience = tuple[int, set[UUID]]  # an access version, and who may hear the stream under that one, or a newer

_AT_ONCE = 500  # accounts, of all streams together; nobody asks for more


class Asked(Struct, frozen=True, eq=False):
    """Whether accounts may hear a stream."""

    stream: Stream
    accounts: Sequence[UUID]
    answer: asyncio.Future[Audience]


class Looks:
    """One look at a time for a space and its channels, and for every other stream."""

    def __init__(self, pool: Pool, reach: Reach) -> None:
        self._pool, self._reach = pool, reach
        self._asked: dict[UUID, deque[Asked]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def audience(self, stream: Stream, accounts: Sequence[UUID]) -> Audience:
        """A stream's access version, and who of these accounts may hear it."""
        loop = asyncio.get_running_loop()
        asked = Asked(stream, accounts, loop.create_future())
        place = stream.guard or stream.id
        if place in self._asked:
            self._asked[place].append(asked)
        else:
            self._asked[place] = deque([asked])
            task = loop.create_task(self._answer(place))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await asked.answer

    async def _answer(self, place: UUID) -> None:
        queue = self._asked[place]
        try:
            while queue:
                await self._look(_some(queue))
        finally:
            del self._asked[place]
            for asked in queue:
                asked.answer.cancel()

    async def _look(self, some: Sequence[Asked]) -> None:
        try:
            found = await self._reach.audiences(
                self._pool, [(one.stream.id, one.stream.guard, one.accounts) for one in some]
            )
        except Exception as error:
            for asked in some:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
        else:
            for asked, audience in zip(some, found, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(audience)

    async def stop(self) -> None:
        """Look no more."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _some(queue: deque[Asked]) -> list[Asked]:
    """What is asked for, as far as it goes into one look."""
    some = [queue.popleft()]
    size = len(some[0].accounts)
    while queue and size + len(queue[0].accounts) <= _AT_ONCE:
        some.append(queue.popleft())
        size += len(some[-1].accounts)
    return some
