"""The journal: messages on their way into the database, many in one transaction.

What arrives while one batch commits is the next batch, so at low load a message waits for nothing and at high load
a transaction is shared by many. Messages of a channel that somebody else holds wait aside, on a connection of their
own, and all others go on: at first nobody knows, and a batch waits for 100 ms.

Rule 1: nothing is told before it is committed.
Rule 2: the same (author, nonce) is the same message, in this process and in all others, whatever has become of its
        author's rights meanwhile.
Rule 3: messages of one process are stored, in each channel, in the order in which they were appended.
Rule 4: a permission is decided under an access version; when that has changed, it is decided anew, and never stored.
Rule 5: a commit whose outcome is unknown is neither success nor failure: it is tried again, and the nonces tell.
Rule 6: one bad row fails alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from msgspec import Struct, structs

from protocol.codec import encode
from protocol.error import Conflict, Internal, Missing, Overloaded, Refusal, Unavailable
from storage.aside import Aside, apart
from storage.extra import Extra
from storage.pool import BadData, Database, Lane, Locked, Row, UniqueViolation

log = logging.getLogger("onesocket.journal")

_ROWS, _BYTES = 256, 256 * 1024
_QUEUE_ROWS, _QUEUE_BYTES = 10_000, 32 * 1024 * 1024
_PATIENCE = 10.0
_AGAIN = "this could not be stored for too long: send it again with the same nonce"
_QUERY_TIMEOUT = 5.0
_STORED, _BEFORE, _STALE, _ELSEWHERE, _NO_REPLY, _NO_MENTION = range(6)
_APPEND = "SELECT at, verdicts, seqs, earlier FROM message_append($1, $2, $3, $4, $5, $6)"
_APPEND_FREE = "SELECT at, verdicts, seqs, earlier, held FROM message_append_free($1, $2, $3, $4, $5, $6, $7)"


class Before(Struct, frozen=True):
    """Where a message stands that was stored before."""

    channel: UUID
    seq: int
    sent_at: datetime


async def stored_before(db: Database, keys: Sequence[tuple[UUID, UUID]]) -> list[Before | None]:
    """What authors have stored under nonces of theirs, pair by pair."""
    rows = await db.fetch(
        """
        SELECT i.k, m.channel, m.seq, m.sent_at
          FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS i(author, nonce, k)
          JOIN message m ON m.author = i.author AND m.nonce = i.nonce
        """,
        [author for author, _ in keys],
        [nonce for _, nonce in keys],
    )
    found: list[Before | None] = [None] * len(keys)
    for row in rows:
        found[row["k"] - 1] = Before(row["channel"], row["seq"], row["sent_at"])
    return found


class Entry:
    """A message to be stored; afterwards `seq` and `sent_at` tell where it stands."""

    again = False  # it can only be a message that was stored before: it is looked for, and never stored

    __slots__ = ("access", "author", "channel", "extra", "more", "nonce", "sent_at", "seq", "since", "text")

    def __init__(
        self, channel: UUID, author: UUID, nonce: UUID, text: str, access: int, more: Extra | None = None
    ) -> None:
        self.channel, self.author, self.nonce, self.text, self.access = channel, author, nonce, text, access
        self.more = more
        self.extra: str | None = None
        self.seq, self.since = 0, 0.0
        self.sent_at: datetime | None = None

    def stored(self) -> None:
        """It stands where `seq` says; perhaps it did so before."""
        raise NotImplementedError

    def refused(self, refusal: Refusal) -> None:
        """It is not stored."""
        raise NotImplementedError

    def let(self, access: int, lifetime: int | None) -> None:
        """It may be stored under an access version, and disappears after so many seconds."""
        self.access = access
        if lifetime != (self.more.lifetime if self.more is not None else None):
            self.more = structs.replace(self.more or Extra(), lifetime=lifetime)
            self.extra = encode(self.more).decode()

    def ended(self, before: Before | None, refusal: Refusal) -> None:
        """It may not be stored: what became of it before holds, or it is refused."""
        self.access = -1
        if before is None:
            self.refused(refusal)
        elif before.channel != self.channel:
            self.refused(_elsewhere())
        else:
            self.seq, self.sent_at = before.seq, before.sent_at
            self.stored()


_Write = Callable[[list[Entry]], Awaitable[tuple[list[Entry], list[Entry]]]]


class Journal:
    """All messages that this process stores.

    `decide` sets the access version of entries without one, or ends them; `committed` is told of each batch
    whose messages are new, before their senders are.
    """

    def __init__(
        self,
        lane: Lane,
        decide: Callable[[Sequence[Entry]], Awaitable[None]],
        committed: Callable[[Sequence[Entry]], None],
    ) -> None:
        self._lane, self._decide, self._committed = lane, decide, committed
        self._side = lane.another()
        self._waiting: deque[Entry] = deque()
        self._aside = Aside()
        self._rows = self._bytes = 0  # of both; not of what is under way
        self._task: asyncio.Task[None] | None = None
        self._side_task: asyncio.Task[None] | None = None
        self._stopping = False
        self.batches = self.rows = self.held = 0

    def append(self, entry: Entry) -> None:
        """Store a message soon; `Overloaded` when too many wait already."""
        if self._rows >= _QUEUE_ROWS or self._bytes >= _QUEUE_BYTES or self._stopping:
            raise Overloaded(retry_after=0.5)
        loop = asyncio.get_running_loop()
        entry.since = loop.time()
        self._waiting.append(entry)
        self._rows += 1
        self._bytes += len(entry.text)
        if self._task is None:
            self._task = loop.create_task(self._drain(), name="journal")

    async def stop(self) -> None:
        """Store what waits, or say that it was not done; then let go."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while tasks := self._tasks():
                    await asyncio.wait(tasks)
        for task in (late := self._tasks()):
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        _refuse([*self._waiting, *self._aside.late(float("inf"))], Unavailable(_AGAIN, retry_after=1))
        self._waiting.clear()
        self._rows = self._bytes = 0
        self._lane.drop()

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [task for task in (self._task, self._side_task) if task is not None]

    @property
    def waiting(self) -> int:
        """How many messages are not stored yet."""
        return self._rows

    @property
    def aside(self) -> Collection[UUID]:
        """The channels that somebody else holds, and that messages wait for."""
        return self._aside.queues.keys()

    # Batches

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # what has come in meanwhile goes along
                self._set_aside(await self._stored(self._take(), self._write))
        finally:
            self._task = None

    async def _drain_aside(self) -> None:
        """Waits for one of the channels at a time, and that only while no other is free."""
        moving = False
        try:
            while self._drop_late():
                batch = self._aside.take(_ROWS, _BYTES)
                self._count(batch, -1)
                awaited = None if moving else batch[0].channel
                left = await self._stored(batch, partial(self._write_free, self._side, awaited))
                self._count(left, 1)
                self._aside.put_back(left)
                self._aside.let_go()
                self._aside.turn(max(1, len({entry.channel for entry in batch}) - 1))  # so another one comes first
                moving = len(left) < len(batch)
        finally:
            self._side_task = None
            self._side.drop()

    def _set_aside(self, entries: Sequence[Entry]) -> None:
        if entries:
            self._count(entries, 1)
            self._aside.put_back(entries)
            self.held += len(entries)
        if self._aside.queues and self._side_task is None:
            self._side_task = asyncio.get_running_loop().create_task(self._drain_aside(), name="journal, aside")

    def _drop_late(self) -> bool:
        """Whether still somebody waits aside."""
        late = self._aside.late(asyncio.get_running_loop().time() - _PATIENCE)
        self._count(late, -1)
        _refuse(late, Unavailable(_AGAIN, retry_after=1))
        self._aside.let_go()
        return bool(self._aside.queues)

    def _count(self, entries: Sequence[Entry], sign: int) -> None:
        self._rows += sign * len(entries)
        self._bytes += sign * sum(len(entry.text) for entry in entries)

    def _take(self) -> list[Entry]:
        """The next batch; of two entries with one nonce the second waits, and then finds the first."""
        batch: list[Entry] = []
        seen: set[tuple[UUID, UUID]] = set()
        size, held = 0, self._aside.queues
        while self._waiting and len(batch) < _ROWS and size < _BYTES:
            entry = self._waiting[0]
            if held and entry.channel in held:
                self._aside.add(self._waiting.popleft())
                continue
            key = (entry.author, entry.nonce)
            if key in seen:
                break
            seen.add(key)
            self._waiting.popleft()
            size += len(entry.text)
            batch.append(entry)
        self._rows -= len(batch)
        self._bytes -= size
        return batch

    async def _stored(self, batch: list[Entry], write: _Write) -> list[Entry]:
        """Store a batch, whatever comes; those that somebody else holds up."""
        try:
            return await self._store(batch, write)
        except asyncio.CancelledError:
            _refuse(batch, Unavailable(_AGAIN, retry_after=1))
            raise
        except Exception as error:
            log.exception("a batch of %d messages failed", len(batch))
            _refuse(batch, error if isinstance(error, Refusal) else Internal())
            return []

    async def _store(self, batch: list[Entry], write: _Write) -> list[Entry]:
        tries = 0
        held: list[Entry] = []
        while batch:
            batch = await self._decided(batch)
            if not batch:
                break
            try:
                batch, more = await write(batch)
                held += more
            except BadData as error:
                return held + await self._store_singly(batch, write, error)
            except UniqueViolation:  # it raced with another process: now the nonces are there
                tries += 1
                if tries > 5:
                    raise
            except (Unavailable, Overloaded, Locked):  # an attempt before this one may have been stored: never "failed"
                batch = self._expired(batch)
                await asyncio.sleep(0.1)
        return held

    async def _store_singly(self, batch: list[Entry], write: _Write, error: Exception) -> list[Entry]:
        if len(batch) == 1:
            log.warning("a message cannot be stored: %s", type(error).__name__)
            _refuse(batch, Internal("this message cannot be stored"))
            return []
        held: list[Entry] = []
        for entry in batch:
            if any(entry.channel == one.channel for one in held):
                held.append(entry)
            else:
                held += await self._store([entry], write)
        return held

    async def _decided(self, batch: list[Entry]) -> list[Entry]:
        """The entries that may be stored, each under an access version."""
        open_ = [entry for entry in batch if not entry.access]
        while open_:
            try:
                await self._decide(open_)
                break
            except (Unavailable, Overloaded):
                batch = self._expired(batch)
                open_ = [entry for entry in batch if not entry.access]
                await asyncio.sleep(0.1)
        return [entry for entry in batch if entry.access > 0]

    def _expired(self, batch: list[Entry]) -> list[Entry]:
        """Who has waited for too long is told to try again; whether it was stored the nonce will tell."""
        end = asyncio.get_running_loop().time() - _PATIENCE
        late = [entry for entry in batch if entry.since < end]
        while self._waiting and self._waiting[0].since < end:
            late.append(self._waiting.popleft())
            self._count(late[-1:], -1)
        _refuse(late, Unavailable(_AGAIN, retry_after=1))
        return [entry for entry in batch if entry.since >= end]

    async def _write(self, batch: list[Entry]) -> tuple[list[Entry], list[Entry]]:
        """One transaction; those that have to be decided anew, and those that somebody else holds up."""
        try:
            row = await self._lane.fetchrow(_APPEND, *_columns(batch), timeout=_QUERY_TIMEOUT)
        except Locked:
            return await self._write_free(self._lane, None, batch)
        assert row is not None
        return self._settle(batch, row), []

    async def _write_free(
        self, lane: Lane, awaited: UUID | None, batch: list[Entry]
    ) -> tuple[list[Entry], list[Entry]]:
        row = await lane.fetchrow(_APPEND_FREE, *_columns(batch), awaited, timeout=_QUERY_TIMEOUT)
        assert row is not None
        held, free = apart(batch, frozenset(row["held"]))
        return self._settle(free, row) if free else [], held

    def _settle(self, batch: list[Entry], row: Row) -> list[Entry]:
        at, verdicts, seqs, earlier = row[:4]
        self.batches, self.rows = self.batches + 1, self.rows + len(batch)
        new, again = [], []
        for number, (entry, verdict, seq) in enumerate(zip(batch, verdicts, seqs, strict=True)):
            if verdict == _STORED:
                entry.seq, entry.sent_at = seq, at
                new.append(entry)
            elif verdict == _STALE:
                entry.access = 0
                again.append(entry)
            elif verdict == _BEFORE:
                entry.seq, entry.sent_at = seq, earlier[number]
                entry.stored()
            else:
                entry.refused(_REFUSALS[verdict]())
        if new:
            self._committed(new)
            for entry in new:
                entry.stored()
        return again


def _columns(batch: Sequence[Entry]) -> tuple[list[Any], ...]:
    return (
        [entry.channel for entry in batch],
        _accesses(batch),
        [entry.author for entry in batch],
        [entry.nonce for entry in batch],
        [entry.text for entry in batch],
        [entry.extra for entry in batch],
    )


def _accesses(batch: Sequence[Entry]) -> list[int]:
    """The versions they were decided under, of each channel the oldest: none overtakes one that is decided anew."""
    oldest: dict[UUID, int] = {}
    for entry in batch:
        known = oldest.get(entry.channel)
        if known is None or entry.access < known:
            oldest[entry.channel] = entry.access
    return [oldest[entry.channel] for entry in batch]


def _elsewhere() -> Refusal:
    return Conflict("this nonce stands for a message in another channel", field="nonce")


_REFUSALS: dict[int, Callable[[], Refusal]] = {
    _ELSEWHERE: _elsewhere,
    _NO_REPLY: lambda: Missing(field="reply_to"),
    _NO_MENTION: lambda: Missing(field="mentions"),
}


def _refuse(entries: Sequence[Entry], refusal: Refusal) -> None:
    for entry in entries:
        entry.access = -1
        entry.refused(refusal)
