"""What this process knows of who may do what in which channel.

Rule: nothing here is the last word: reads trust it only while the channel's stream is followed and as new as it is,
writes are stored only under the access version that was decided under.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec.structs import replace

from protocol.error import Forbidden, Missing, Refusal
from protocol.permission import bits
from storage.entry import Entry, stored_before
from storage.pool import Pool
from storage.standing import Standing

if TYPE_CHECKING:
    from server.stream import Streams
    from server.structure import Structures

_MOST = 200_000
_POLLS = bits(["start_polls"])


class Grants:
    """Standings of accounts in channels, as they were last read."""

    def __init__(self, pool: Pool, structures: Structures, streams: Streams) -> None:
        self._pool, self._structures, self._streams = pool, structures, streams
        self._standings: dict[UUID, dict[UUID, Standing]] = {}
        self._count = 0
        self.settle: Callable[[Collection[tuple[UUID, UUID]]], Awaitable[None]]  # for channels and who writes there

    def last(self, channel: UUID, account: UUID) -> Standing | None:
        """How the account stood there when somebody looked."""
        accounts = self._standings.get(channel)
        return accounts.get(account) if accounts is not None else None

    def known(self, channel: UUID, account: UUID) -> Standing | None:
        """How the account stands there, as new as what this process delivers."""
        standing = self.last(channel, account)
        if standing is None:
            return None
        stream = self._streams.get(channel)
        return standing if stream is not None and stream.access == standing.access else None

    def keep(self, account: UUID, standing: Standing) -> None:
        """Remember what was read."""
        if self._count >= _MOST:
            self._standings.clear()
            self._count = 0
        accounts = self._standings.setdefault(standing.id, {})
        self._count += account not in accounts
        accounts[account] = standing

    def forget(self, channel: UUID) -> None:
        """Something has changed there."""
        self._count -= len(self._standings.pop(channel, ()))

    async def decide(self, entries: Sequence[Entry]) -> None:
        """Set the access version of each entry, or end it."""
        pairs = list({(entry.channel, entry.author) for entry in entries})
        found = await self._structures.look(self._pool, [pair[0] for pair in pairs], [pair[1] for pair in pairs])
        standings = dict(zip(pairs, found, strict=True))
        for (_, account), standing in standings.items():
            if standing is not None:
                self.keep(account, standing)
        await self._settle(entries, standings)
        unseen = await self._mentioning_others(entries, standings)
        barred = [
            entry for entry in entries if entry in unseen or not _let(entry, standings[entry.channel, entry.author])
        ]
        if barred:
            before = await stored_before(self._pool, [(entry.author, entry.nonce) for entry in barred])
            for entry, one in zip(barred, before, strict=True):
                standing = standings[entry.channel, entry.author]
                entry.ended(one, Missing(field="mentions") if entry in unseen else _refusal(entry, standing))

    async def _settle(self, entries: Sequence[Entry], standings: Mapping[tuple[UUID, UUID], Standing | None]) -> None:
        """What is to be done before somebody writes there first."""
        pairs = {
            pair: one
            for entry in entries
            if (one := standings[pair := (entry.channel, entry.author)]) is not None
            if one.writes and not one.settled and not entry.again
        }
        if pairs:
            await self.settle(pairs.keys())
            for (_, account), one in pairs.items():
                self.keep(account, replace(one, settled=True))

    async def _mentioning_others(
        self, entries: Sequence[Entry], standings: Mapping[tuple[UUID, UUID], Standing | None]
    ) -> set[Entry]:
        """Those that mention somebody in a space who does not see the channel."""
        pairs = [
            (entry, account)
            for entry in entries
            if (one := standings[entry.channel, entry.author]) is not None and one.writes and one.space is not None
            for account in (entry.more.mentions if entry.more is not None else ())
        ]
        if not pairs:
            return set()
        found = await self._structures.look(
            self._pool, [entry.channel for entry, _ in pairs], [account for _, account in pairs]
        )
        return {entry for (entry, _), one in zip(pairs, found, strict=True) if one is None}


def _let(entry: Entry, standing: Standing | None) -> bool:
    if standing is None or not standing.writes or entry.again:
        return False
    if entry.more is not None and entry.more.poll is not None and not standing.allowed & _POLLS:
        return False
    entry.let(standing.access, standing.lifetime, standing.slow)
    return True


def _refusal(entry: Entry, standing: Standing | None) -> Refusal:
    return Missing() if standing is None or entry.again else Forbidden("you cannot write here")
