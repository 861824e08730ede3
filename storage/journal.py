"""The journal: messages on their way into the database, many in one transaction.

What arrives while one batch commits is the next batch, so at low load a message waits for nothing and at high load
a transaction is shared by many.

Rule 1: nothing is told before it is committed.
Rule 2: the same (author, nonce) is the same message, in this process and in all others.
Rule 3: messages of one process are stored in the order in which they were appended.
Rule 4: a permission is decided under an access version; when that has changed, it is decided anew, and never stored.
Rule 5: a commit whose outcome is unknown is neither success nor failure: it is tried again, and the nonces tell.
Rule 6: one bad row fails alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from protocol.error import Conflict, Internal, Missing, Overloaded, Refusal, Unavailable
from protocol.message import Forwarded
from storage.pool import BadData, Lane, Row, UniqueViolation

log = logging.getLogger("onesocket.journal")

_ROWS, _BYTES = 256, 256 * 1024
_QUEUE_ROWS, _QUEUE_BYTES = 10_000, 32 * 1024 * 1024
_PATIENCE = 10.0
_QUERY_TIMEOUT = 5.0
_STORED, _BEFORE, _STALE, _ELSEWHERE, _NO_REPLY, _NO_MENTION = range(6)
_APPEND = "SELECT at, verdicts, seqs, earlier FROM message_append($1, $2, $3, $4, $5, $6)"


class Extra(Struct, frozen=True, omit_defaults=True):
    """What few messages have."""

    reply_to: int | None = None
    mentions: list[UUID] = []
    hashtags: list[str] = []
    silent: bool = False
    forwarded: Forwarded | None = None


class Entry:
    """A message to be stored; afterwards `seq` and `sent_at` tell where it stands."""

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


class Journal:
    """All messages that this process stores.

    `decide` sets the access version of entries without one, or refuses them; `committed` is told of each batch
    whose messages are new, before their senders are.
    """

    def __init__(
        self,
        lane: Lane,
        decide: Callable[[Sequence[Entry]], Awaitable[None]],
        committed: Callable[[Sequence[Entry]], None],
    ) -> None:
        self._lane, self._decide, self._committed = lane, decide, committed
        self._waiting: deque[Entry] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.batches = self.rows = 0

    def append(self, entry: Entry) -> None:
        """Store a message soon; `Overloaded` when too many wait already."""
        if len(self._waiting) >= _QUEUE_ROWS or self._bytes >= _QUEUE_BYTES or self._stopping:
            raise Overloaded(retry_after=0.5)
        loop = asyncio.get_running_loop()
        entry.since = loop.time()
        self._waiting.append(entry)
        self._bytes += len(entry.text)
        if self._task is None:
            self._task = loop.create_task(self._drain(), name="journal")

    async def stop(self) -> None:
        """Store what waits, then let go."""
        self._stopping = True
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._task, _PATIENCE)
        self._lane.drop()

    @property
    def waiting(self) -> int:
        """How many messages are not stored yet."""
        return len(self._waiting)

    # Batches

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # what has come in meanwhile goes along
                batch = self._take()
                try:
                    await self._store(batch)
                except Exception as error:
                    log.exception("a batch of %d messages failed", len(batch))
                    _refuse(batch, error if isinstance(error, Refusal) else Internal())
        finally:
            self._task = None

    def _take(self) -> list[Entry]:
        """The next batch; of two entries with one nonce the second waits, and then finds the first."""
        batch: list[Entry] = []
        seen: set[tuple[UUID, UUID]] = set()
        size = 0
        while self._waiting and len(batch) < _ROWS and size < _BYTES:
            entry = self._waiting[0]
            key = (entry.author, entry.nonce)
            if key in seen:
                break
            seen.add(key)
            self._waiting.popleft()
            size += len(entry.text)
            batch.append(entry)
        self._bytes -= size
        return batch

    async def _store(self, batch: list[Entry]) -> None:
        tries = 0
        while batch:
            batch = await self._decided(batch)
            if not batch:
                return
            try:
                batch = await self._write(batch)
            except BadData as error:
                await self._store_singly(batch, error)
                return
            except UniqueViolation:  # it raced with another process: now the nonces are there
                tries += 1
                if tries > 5:
                    raise
            except (Unavailable, Overloaded):  # an attempt before this one may have been stored: never "failed"
                batch = self._expired(batch)
                await asyncio.sleep(0.1)

    async def _store_singly(self, batch: list[Entry], error: Exception) -> None:
        if len(batch) == 1:
            log.warning("a message cannot be stored: %s", type(error).__name__)
            _refuse(batch, Internal("this message cannot be stored"))
            return
        for entry in batch:
            await self._store([entry])

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
        _refuse(late, Unavailable("the database is away: send it again with the same nonce", retry_after=1))
        while self._waiting and self._waiting[0].since < end:
            entry = self._waiting.popleft()
            self._bytes -= len(entry.text)
            _refuse([entry], Unavailable("the database is away: send it again with the same nonce", retry_after=1))
        return [entry for entry in batch if entry.since >= end]

    async def _write(self, batch: list[Entry]) -> list[Entry]:
        """One transaction; those that have to be decided anew."""
        row = await self._lane.fetchrow(
            _APPEND,
            [entry.channel for entry in batch],
            _accesses(batch),
            [entry.author for entry in batch],
            [entry.nonce for entry in batch],
            [entry.text for entry in batch],
            [entry.extra for entry in batch],
            timeout=_QUERY_TIMEOUT,
        )
        assert row is not None
        self.batches, self.rows = self.batches + 1, self.rows + len(batch)
        return self._settle(batch, row)

    def _settle(self, batch: list[Entry], row: Row) -> list[Entry]:
        at, verdicts, seqs, earlier = row
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


def _accesses(batch: Sequence[Entry]) -> list[int]:
    """The versions they were decided under, of each channel the oldest: none overtakes one that is decided anew."""
    oldest: dict[UUID, int] = {}
    for entry in batch:
        known = oldest.get(entry.channel)
        if known is None or entry.access < known:
            oldest[entry.channel] = entry.access
    return [oldest[entry.channel] for entry in batch]


_REFUSALS: dict[int, Callable[[], Refusal]] = {
    _ELSEWHERE: lambda: Conflict("this nonce stands for a message in another channel", field="nonce"),
    _NO_REPLY: lambda: Missing(field="reply_to"),
    _NO_MENTION: lambda: Missing(field="mentions"),
}


def _refuse(entries: Sequence[Entry], refusal: Refusal) -> None:
    for entry in entries:
        entry.access = -1
        entry.refused(refusal)
