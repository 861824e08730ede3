"""Facts in the making: change something durable, and tell it when it is committed.

    async with changing(ctx.app, channel.id) as change:
        await channels.update(change.tx, channel.id, changed)
        change.tell(ChannelUpdated(stream=channel.id, seq=change.next(channel.id), channel=changed))

Rule 1: the streams are locked before anything is looked at, so what is looked at stays as it is until the commit.
Rule 2: what is told leaves after the commit, encoded once.
Rule 3: whoever takes a right away says so by `withdraw`: nothing decided before is stored or delivered after.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.codec import encode
from protocol.error import Forbidden, Missing
from protocol.frame import Fact
from server.audience import Batch
from server.core import frame
from storage import channel as channels
from storage import stream
from storage.channel import Standing
from storage.pool import Transaction
from storage.stream import GONE, Place

if TYPE_CHECKING:
    from server.app import Server


class Change:
    """A transaction that holds the streams it tells about."""

    def __init__(self, tx: Transaction, places: dict[UUID, Place]) -> None:
        self.tx = tx
        self._places = places
        self._heads = {id: place.head for id, place in places.items()}
        self._access = {id: place.access for id, place in places.items()}
        self._gone: list[Batch] = []
        self.facts: list[tuple[Fact, bytes]] = []

    def add(self, place: Place) -> None:
        """A stream that was made in this transaction."""
        self._places[place.id] = place
        self._heads[place.id], self._access[place.id] = place.head, place.access

    def release(self, id: UUID) -> None:
        """A stream that was deleted in this transaction: nobody hears or reads it any more."""
        del self._places[id]
        self._gone.append(Batch(id, GONE, self._heads[id] + 1, ()))

    def holds(self, id: UUID) -> bool:
        """Whether the stream (still) exists."""
        return id in self._places

    def head(self, id: UUID) -> int:
        """Where a stream is now."""
        return self._heads[id]

    def next(self, id: UUID) -> int:
        """The seq of the fact to tell."""
        return self._heads[id] + 1

    def tell(self, fact: Fact) -> int:
        """A fact of a stream that is held; its seq."""
        assert fact.seq == self._heads[fact.stream] + 1
        self._heads[fact.stream] = fact.seq
        self.facts.append((fact, encode(fact)))
        return fact.seq

    def withdraw(self, id: UUID) -> None:
        """Somebody loses a right there: everything decided so far must be decided anew."""
        self._access[id] = self._places[id].access + 1

    async def standing(self, user: UUID, channel: UUID, *, writes: bool = True) -> Standing:
        """How a user stands in a channel now; refused like by the rule of the op if they are no member (any more)."""
        held = self.holds(channel) or self.holds(user)  # nobody comes or goes without holding both
        found = await channels.member(self.tx, user, channel) if held else None
        if found is None:
            raise Missing
        if writes and not found.writes:
            raise Forbidden("you cannot write here")
        return found

    @property
    def changed(self) -> list[Place]:
        """The streams that are not where they were."""
        now = [Place(id, self._heads[id], self._access[id]) for id in self._places]
        return [place for place in now if place != self._places[place.id]]

    def batches(self) -> list[Batch]:
        """What to deliver."""
        found: dict[UUID, Batch] = {}
        for fact, body in self.facts:
            batch = found.get(fact.stream)
            if batch is None:
                batch = found[fact.stream] = Batch(fact.stream, self._access[fact.stream], fact.seq, [])
            batch.frames.append(frame(1, body))  # type: ignore[attr-defined]
        for place in self.changed:
            if place.id not in found:
                found[place.id] = Batch(place.id, place.access, place.head + 1, ())
        return [*found.values(), *self._gone]


@asynccontextmanager
async def changing(app: Server, *ids: UUID) -> AsyncIterator[Change]:
    """A transaction with these streams locked; what it tells is delivered once it is committed."""
    async with app.pool.transaction() as tx:
        change = Change(tx, await stream.lock(tx, set(ids)))
        yield change
        if change.changed or change.facts:
            await stream.record(tx, change.changed, change.facts)
    app.streams.committed(change.batches())
