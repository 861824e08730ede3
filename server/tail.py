"""The tail: what has to be done behind every fact of a channel, without anybody waiting for it.

A process works behind the channels that it has stored facts in; what another one has left, because it was killed, is
found within seconds by whoever looks next: everybody goes through all channels in turn.

Rule 1: whatever the workers write, and how far the channel is then, are one transaction: each fact is worked on once.
Rule 2: everybody's turn comes: of each channel some facts at a time, and who has more comes again behind the others.
Rule 3: while the process is busy, this takes a small share of its time, and what it is behind with comes later.
Rule 4: a fact at which a worker fails, also alone, is left out by that worker, and logged: it holds up nothing.
Rule 5: a transaction holds few accounts: facts that concern many are worked on in several.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from protocol.error import Refusal
from server.fresh import Fresh
from server.stream import Streams
from storage import tail
from storage.pool import PASSING, Pool, Transaction
from storage.tail import Held, Portion, Span

log = logging.getLogger("onesocket.tail")

Worker = Callable[[Transaction, Sequence[Portion]], Awaitable[None]]

_EVERY = 0.25
_SWEEP_EVERY, _SWEPT = 2.0, 2000
_CHANNELS, _FACTS, _LEAST = 100, 1000, 20
_MOST_WAITING, _CONCERNED = 50_000, 200
_AGAIN, _LONGEST = 0.5, 5.0
_BUSY, _SHARE = 0.6, 0.12  # of one core; of the time, while it is busy
_NONE = UUID(int=0)


class First(Exception):
    """A worker has something to do before it can work on these facts, in transactions of its own, perhaps twice."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        super().__init__("something is to be done first")
        self.work = work


class TooMany(Exception):
    """Facts that concern too many accounts for one transaction."""


class Pace:
    """Whether this process has little time left."""

    def __init__(self) -> None:
        self._wall, self._cpu, self._busy = time.monotonic(), time.process_time(), False

    def busy(self) -> bool:
        """In the last moment; looked at ten times a second at most."""
        wall, cpu = time.monotonic(), time.process_time()
        if wall > self._wall + 0.1:
            self._busy = (cpu - self._cpu) / (wall - self._wall) > _BUSY
            self._wall, self._cpu = wall, cpu
        return self._busy


class Tail:
    """Hands the facts of channels to workers, bit by bit."""

    def __init__(self, pool: Pool, streams: Streams, fresh: Fresh, workers: Sequence[Worker]) -> None:
        self._pool, self._streams, self._fresh, self.workers = pool, streams, fresh, list(workers)
        self._queue: dict[UUID, None] = {}
        self._pace = Pace()
        self.facts, self.left_out, self.lag = 0, 0, 0.0

    def __len__(self) -> int:
        return len(self._queue) + len(self._streams.touched)

    async def run(self) -> None:
        """Again and again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work(), name="tail")
            group.create_task(self._sweep(), name="tail, sweep")

    # What there is to do

    def _add(self, channels: Iterable[UUID]) -> None:
        """Behind these there may be something to do; what there is no room for is found when all are looked at."""
        for channel in channels:
            if len(self._queue) >= _MOST_WAITING:
                return
            self._queue.setdefault(channel)

    def _collect(self) -> None:
        touched = self._streams.touched
        self._add(touched)
        touched.clear()

    async def _sweep(self) -> None:
        """Everybody looks at all channels, some at a time."""
        after: UUID | None = _NONE
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            try:
                after, left = await tail.behind(self._pool, after or _NONE, _SWEPT)
                self._add(left)
            except Refusal as refusal:
                log.debug("channels are not looked at: %s", refusal)

    # Doing it

    async def _work(self) -> None:
        wait = _AGAIN
        while True:
            self._collect()
            try:
                rest = await self._round() if self._queue else _EVERY
                wait = _AGAIN
                await asyncio.sleep(rest)
            except Refusal as refusal:
                log.debug("the tail waits for the database: %s", refusal)
                await asyncio.sleep(wait)
                wait = min(2 * wait, _LONGEST)

    async def _round(self) -> float:
        """Some channels, the ones that have waited longest; how long to rest before the next."""
        some = list(self._queue)[:_CHANNELS]
        began, before = asyncio.get_running_loop().time(), self.facts
        for channel in some:
            del self._queue[channel]
        try:
            self._add(await self._do(some))
        except BaseException:
            self._add(some)
            raise
        took = asyncio.get_running_loop().time() - began
        rest = took * (1 / _SHARE - 1) if self._pace.busy() else 0.0
        return rest if self._queue and self.facts > before else max(rest, _EVERY)

    async def _do(self, channels: Sequence[UUID]) -> Sequence[UUID]:
        """Those of these behind which there is more."""
        facts = max(_LEAST, _FACTS // len(channels))
        try:
            return await self._bounded(channels, facts)
        except (Refusal, asyncio.CancelledError):
            raise
        except Exception:
            log.warning("the tail fails at one of %d channels: each of them alone", len(channels), exc_info=True)
        return [more for channel in channels for more in await self._alone(channel, facts)]

    async def _alone(self, channel: UUID, facts: int) -> Sequence[UUID]:
        """One channel; where that fails, too, one fact after the other."""
        try:
            return await self._bounded([channel], facts)
        except (Refusal, asyncio.CancelledError):
            raise
        except Exception:
            left: Sequence[UUID] = [channel]
            for _ in range(facts):
                left = left and await self._bounded([channel], 1, careful=True)
            return left

    async def _bounded(self, channels: Sequence[UUID], facts: int, *, careful: bool = False) -> Sequence[UUID]:
        """In one transaction, or in as many as it takes, so that none holds too many accounts."""
        try:
            return await self._once(channels, facts, careful=careful)
        except TooMany:
            half = len(channels) // 2
        except First as first:
            await first.work()
            return await self._bounded(channels, facts, careful=careful)
        if not half:
            return await self._bounded(channels, facts // 2)
        return [*await self._bounded(channels[:half], facts), *await self._bounded(channels[half:], facts)]

    async def _once(self, channels: Sequence[UUID], facts: int, *, careful: bool = False) -> Sequence[UUID]:
        """One transaction. `careful`: who fails is left out."""
        async with self._pool.transaction() as tx:
            held = await tail.take(tx, channels, facts)
            portions = await self._portions(tx, held.spans)
            if (len(channels) > 1 or facts > 1) and _concerned(portions) > _CONCERNED:
                raise TooMany
            for worker in self.workers if portions else ():
                await (self._carefully(worker, tx, portions) if careful else worker(tx, portions))
            if portions:
                await tail.move(tx, held.spans)
        self._count(portions)
        self._forget(channels, held)
        if held.new:
            await tail.begin(self._pool, held.new)
        more = [span.channel for span in held.spans if span.last - span.after >= facts]
        return [*held.new, *held.busy, *more]

    async def _portions(self, tx: Transaction, spans: Sequence[Span]) -> list[Portion]:
        """What stands there: what is remembered, and what has to be read."""
        found: list[Portion] = []
        unknown: list[Span] = []
        for span in spans:
            said = self._fresh.covering(span)
            if said is None:
                unknown.append(span)
            else:
                found.append(Portion(span, said, [], [], []))
        return found + (await tail.read(tx, unknown) if unknown else [])

    def _forget(self, channels: Sequence[UUID], held: Held) -> None:
        """What is done need not be remembered; what has neither a span nor a later turn was done by somebody else."""
        lasts = {span.channel: span.last for span in held.spans}
        for channel in set(channels).difference(held.busy, held.new):
            self._fresh.forget(channel, lasts.get(channel))

    async def _carefully(self, worker: Worker, tx: Transaction, portions: Sequence[Portion]) -> None:
        try:
            async with tx.part():
                await worker(tx, portions)
        except (First, *PASSING):
            raise
        except Exception:
            self.left_out += 1
            span = portions[0].span
            log.exception("fact %d of channel %s is left out by a worker of the tail", span.last, span.channel)

    def _count(self, portions: Sequence[Portion]) -> None:
        self.facts += sum(one.span.last - one.span.after for one in portions)
        oldest = min((one.created[0].sent_at for one in portions if one.created), default=None)
        self.lag = (datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0


def _concerned(portions: Sequence[Portion]) -> int:
    """How many accounts are mentioned or answered, at most."""
    return sum(
        len(message.mentions) + (message.reply_to is not None)
        for one in portions
        for message in (*one.created, *one.changed)
    )
