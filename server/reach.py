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
from storage.stream import Place

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

    async def among(self, db: Database, account: UUID, wanted: Sequence[UUID]) -> list[Place]:
        """Those of these streams that an account may hear."""
        found = await streams.places_among(db, account, wanted)
        others = set(wanted) - {place.id for place in found}
        return [*found, *await self.watchable(db, account, sorted(others))] if others else found

    async def place(self, db: Database, account: UUID, stream: UUID) -> Place | None:
        """A stream, if the account may hear it."""
        found = await self.among(db, account, [stream])
        return found[0] if found else None

    async def watchable(self, db: Database, account: UUID, channels: Sequence[UUID], *needs: Permission) -> list[Place]:
        """Those of these channels of spaces that an account sees, with these permissions."""
        found = await self._structures.footings(db, channels, [account] * len(channels))
        return [
            Place(footing.id, footing.head, footing.access, footing.space)
            for footing, standing in filter(None, found)
            if footing.space is not None and not bits(needs) & ~standing.allowed
        ]

    async def audience(
        self, db: Database, stream: UUID, guard: UUID | None, accounts: Sequence[UUID]
    ) -> tuple[int, set[UUID]]:
        """A stream's access version, and who of these accounts may hear it under that one, or a newer."""
        access = await streams.access(db, stream)
        if stream == guard:
            seats = await spaces.seats(db, [stream] * len(accounts), accounts)
            return access, {seat.account for seat in seats if seat is not None}
        found = await self._structures.look(db, [stream] * len(accounts), accounts)
        return access, {account for account, one in zip(accounts, found, strict=True) if one is not None}

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
