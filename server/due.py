"""What falls due: every process looks for it, at the time at which the next is due, and one of them does it.

Rule 1: what is taken is done in one transaction that also takes its row away (storage/due.py), or in a way in which
        it may be done twice: who is killed in the middle leaves it to the others.
Rule 2: nothing is due sooner than five seconds after it was made, and everybody looks more often: so nobody is woken.
Rule 3: what fails keeps nobody else from their turn, and has its own again when the time is over for which it is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from protocol.error import Refusal
from storage import due
from storage.pool import Database, Pool

if TYPE_CHECKING:
    from server.app import Server

log = logging.getLogger("onesocket.due")

T = TypeVar("T")
_EVERY = 4.0
_AT_LEAST = 0.05
_AGAIN = 1.0
_AT_ONCE, _UNDER_WAY = 50, 200
_DONE_AT_ONCE = 3  # each takes a connection of those that requests have, too
_FRESH = 2.0  # seconds: what was taken before that, another one may have taken since


class Rows(Protocol[T]):
    """Where it stands what falls due: a module of storage."""

    async def take(self, db: Database, limit: int, /) -> Sequence[T]:
        """Some that are due and that no process is at."""

    async def due_in(self, db: Database, /) -> float | None:
        """The seconds until the next one is due."""

    async def put_off(self, db: Database, one: T, seconds: float, /) -> None:
        """Whoever has time tries again."""


class Falling(Generic[T]):
    """Does what falls due, of one kind of rows."""

    def __init__(self, pool: Pool, rows: Rows[T], work: Callable[[T], Awaitable[None]]) -> None:
        self._pool, self._rows, self._work = pool, rows, work
        self._under_way: set[asyncio.Task[None]] = set()
        self._done = asyncio.Event()

    async def run(self) -> None:
        """Whenever something is due."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._done.clear()
                try:
                    wait = await self._look(group)
                except Refusal as refusal:  # what was taken is free again in a while
                    log.debug("what is due waits for the database: %s", refusal)
                    wait = _AGAIN
                await self._rest(wait)

    async def _rest(self, seconds: float) -> None:
        """Or until something was done: perhaps the next of it is due at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._done.wait()
                await asyncio.sleep(_AT_LEAST)  # others are done in this time, too

    async def _look(self, group: asyncio.TaskGroup) -> float:
        """Begin with what is due; how long to wait then."""
        room = min(_AT_ONCE, _UNDER_WAY - len(self._under_way))
        if room <= 0:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            return 0
        clock = asyncio.get_running_loop().time
        began = clock()
        taken = await self._rows.take(self._pool, room)
        for one in taken if clock() - began < _FRESH else ():
            task = group.create_task(self._do(one), name="due")
            self._under_way.add(task)
            task.add_done_callback(self._end)
        if len(taken) == room:
            return 0
        wait = await self._rows.due_in(self._pool)
        return _EVERY if wait is None else min(max(wait, _AT_LEAST), _EVERY)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._done.set()

    async def _do(self, one: T) -> None:
        try:
            await self._work(one)
        except asyncio.CancelledError:
            with contextlib.suppress(Refusal):
                await self._rows.put_off(self._pool, one, 0)
            raise
        except Refusal as refusal:
            log.debug("something due waits: %s", refusal)
        except Exception:
            log.exception("something due was not done")


class Dues:
    """Does what stands in the table `due`: for each kind there is a function that does it."""

    def __init__(self, server: Server, kinds: Mapping[str, Callable[[Server, due.Due], Awaitable[None]]]) -> None:
        self._server, self._kinds = server, kinds
        self._at_once = asyncio.Semaphore(_DONE_AT_ONCE)
        self._falling = Falling(server.pool, due, self._do)

    async def run(self) -> None:
        """Whenever something is due."""
        await self._falling.run()

    async def _do(self, one: due.Due) -> None:
        async with self._at_once:
            await self._kinds[one.kind](self._server, one)
