"""Reach: which streams an account may hear, and where they are.

An account hears its own stream, its direct channels and groups, and its spaces by itself; channels of spaces when it
watches them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from uuid import UUID

from protocol.permission import Permission, bits
from server.structure import Resident, Structures
from storage import member as members
from storage import space as spaces
from storage import stream as streams
from storage.pool import Database
from storage.stream import GONE, Place

_SPACES, _THREADS = 200, 5000
_HISTORY = bits(["history"])


class Reach:
    """Asks the database, and what decides in spaces."""

    def __init__(self, structures: Structures) -> None:
        self._structures = structures

    async def places(self, db: Database, account: UUID, wanted: Collection[UUID] = ()) -> list[Place]:
        """What an account hears by itself, its own stream first; and wanted channels with history."""
        found = await streams.places(db, account)
        others = set(wanted) - {place.id for place in found}
        return [*found, *await self.watchable(db, account, sorted(others), "history")] if others else found

    async def among(self, db: Database, account: UUID, wanted: Sequence[UUID], *needs: Permission) -> list[Place]:
        """Those of these streams that an account may hear; channels of spaces with these permissions."""
        found = await streams.places_among(db, account, wanted)
        others = set(wanted) - {place.id for place in found}
        return [*found, *await self.watchable(db, account, sorted(others), *needs)] if others else found

    async def place(self, db: Database, account: UUID, stream: UUID, *needs: Permission) -> Place | None:
        """A stream, if the account may hear it; a channel of a space with these permissions."""
        found = await self.among(db, account, [stream], *needs)
        return found[0] if found else None

    async def watchable(self, db: Database, account: UUID, channels: Sequence[UUID], *needs: Permission) -> list[Place]:
        """Those of these channels of spaces that an account sees, with these permissions."""
        found = await self._structures.footings(db, channels, [account] * len(channels))
        return [
            Place(footing.id, footing.head, footing.access, footing.space)
            for footing, standing in filter(None, found)
            if footing.space is not None and not bits(needs) & ~standing.allowed
        ]

    async def audiences(
        self, db: Database, asked: Sequence[tuple[UUID, UUID | None, Sequence[UUID]]]
    ) -> list[tuple[int, set[UUID]]]:
        """Of streams, with their guards: the access version, and who of accounts may hear it under that, or a newer."""
        versions = await streams.accesses(db, [stream for stream, _, _ in asked])
        seats = [(stream, account) for stream, guard, accounts in asked if stream == guard for account in accounts]
        others = [(stream, account) for stream, guard, accounts in asked if stream != guard for account in accounts]
        heard = await self._seated(db, seats) | await self._seeing(db, others)
        return [
            (versions.get(stream, GONE), {account for account in accounts if (stream, account) in heard})
            for stream, _, accounts in asked
        ]

    @staticmethod
    async def _seated(db: Database, pairs: Sequence[tuple[UUID, UUID]]) -> set[tuple[UUID, UUID]]:
        """Spaces and accounts that are in them."""
        if not pairs:
            return set()
        found = await spaces.seats(db, [space for space, _ in pairs], [account for _, account in pairs])
        return {pair for pair, seat in zip(pairs, found, strict=True) if seat is not None}

    async def _seeing(self, db: Database, pairs: Sequence[tuple[UUID, UUID]]) -> set[tuple[UUID, UUID]]:
        """Channels and accounts that see them."""
        if not pairs:
            return set()
        found = await self._structures.look(db, [channel for channel, _ in pairs], [account for _, account in pairs])
        return {pair for pair, standing in zip(pairs, found, strict=True) if standing is not None}

    async def readable(self, db: Database, account: UUID, among: Sequence[UUID] | None = None) -> list[UUID]:
        """The channels whose messages an account may read now; `among`: only of these."""
        if among is not None:
            wanted = list(dict.fromkeys(among))
            found = await self._structures.look(db, wanted, [account] * len(wanted))
            return [one.id for one in found if one is not None and one.reads]
        return [*await streams.channels(db, account), *await self._read_in_spaces(db, account)]

    def of(self, db: Database, account: UUID) -> Callable[[Sequence[UUID]], Awaitable[list[UUID]]]:
        """Tells which of some channels those are."""
        return partial(self.readable, db, account)

    async def _read_in_spaces(self, db: Database, account: UUID) -> list[UUID]:
        ids = await members.spaces(db, account, None, _SPACES)
        residents = await self._structures.residents(db, ids, [account] * len(ids))
        return await self.readable_in(db, [one for one in residents if one is not None])

    async def readable_in(self, db: Database, residents: Sequence[Resident]) -> list[UUID]:
        """The channels of spaces, threads among them, whose messages may be read by who sits there."""
        rooms = [
            channel
            for one in residents
            for channel in one.structure.channels
            if one.structure.allowed(one.member, channel) & _HISTORY
        ]
        return [*rooms, *await streams.threads(db, rooms, _THREADS)] if rooms else []
