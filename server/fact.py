"""Facts in the making: change something durable, and tell it when it is committed.

    async with changing(ctx.app, channel.id) as change:
        await channels.update(change.tx, channel.id, changed)
        change.tell(ChannelUpdated(stream=channel.id, seq=change.next(channel.id), channel=changed))

Rule 1: the streams are locked before anything is looked at, so what is looked at stays as it is until the commit.
Rule 2: what is told leaves after the commit, encoded once.
Rule 3: whoever takes a right away says so by `withdraw`: nothing decided before is stored or delivered after.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.codec import encode
from protocol.error import Missing
from protocol.frame import Fact
from protocol.message import MessageCreated
from protocol.parts import parts
from protocol.permission import Permission, bits
from server.audience import Batch
from server.core import frame
from server.rule import check
from storage import stream
from storage.pool import Transaction
from storage.standing import Standing
from storage.stream import GONE, Place

if TYPE_CHECKING:
    from server.app import Server


_AT_ONCE = 100


class Change:
    """A transaction that holds the streams it tells about."""

    def __init__(self, app: Server, tx: Transaction, places: dict[UUID, Place]) -> None:
        self.tx = tx
        self._structures = app.structures
        self._places = places
        self._heads = {id: place.head for id, place in places.items()}
        self._access = {id: place.access for id, place in places.items()}
        self._gone: list[Batch] = []
        self._told: dict[UUID, Batch] = {}
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
        body = encode(fact)
        if not isinstance(fact, MessageCreated):  # its row is the fact
            self.facts.append((fact, body))
        if fact.stream not in self._told:
            self._told[fact.stream] = Batch(fact.stream, 0, fact.seq, [])
        self._told[fact.stream].frames.append(frame(1, body))  # type: ignore[attr-defined]
        return fact.seq

    def withdraw(self, id: UUID) -> None:
        """Somebody loses a right there: everything decided so far must be decided anew."""
        self._access[id] = self._places[id].access + 1

    async def standing(self, user: UUID, channel: UUID, *needs: Permission) -> Standing:
        """How a user stands in a channel now; refused like by the rule of the op if they are no member (any more)."""
        held = self.holds(channel) or self.holds(user)  # nobody comes, or goes alone, without holding both
        found = (await self._structures.look(self.tx, [channel], [user]))[0] if held else None
        if found is None:
            raise Missing
        check(found.allowed, bits(needs))
        return found

    async def check_seeing(self, channel: UUID, accounts: Sequence[UUID]) -> None:
        """That all of these are in a channel, or see it."""
        found = await self._structures.look(self.tx, [channel] * len(accounts), accounts) if accounts else ()
        if None in found:
            raise Missing(field="mentions")

    async def record(self) -> None:
        """Keep what has changed; very much of it in parts, so that others get their turn."""
        for some in parts(list(self._places.values()), _AT_ONCE):
            now = [Place(place.id, self._heads[place.id], self._access[place.id]) for place in some]
            changed = [place for place, before in zip(now, some, strict=True) if place != before]
            for place in changed:
                self._told.setdefault(place.id, Batch(place.id, 0, place.head + 1, ())).access = place.access
            if changed:
                await stream.move(self.tx, changed, self._withdrawn)
        for facts in parts(self.facts, _AT_ONCE):
            await stream.record(self.tx, facts)

    @property
    def _withdrawn(self) -> set[UUID]:
        return {id for id, access in self._access.items() if access != self._places[id].access}

    @property
    def batches(self) -> list[Batch]:
        """What to deliver."""
        return [*self._told.values(), *self._gone]


@asynccontextmanager
async def changing(app: Server, *ids: UUID) -> AsyncIterator[Change]:
    """A transaction with these streams locked; what it tells is delivered once it is committed."""
    async with app.pool.transaction() as tx:
        change = Change(app, tx, await stream.lock(tx, set(ids)))
        yield change
        await change.record()
    for number, batches in enumerate(parts(change.batches, _AT_ONCE)):
        if number:
            await asyncio.sleep(0)
        app.streams.committed(batches)
