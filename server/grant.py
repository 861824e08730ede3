"""What this process knows of who may do what in which channel.

Rule: nothing here is the last word: reads trust it only while the channel's stream is followed and as new as it is,
writes are stored only under the access version that was decided under.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.error import Forbidden, Missing
from storage import channel as channels
from storage.channel import Standing
from storage.journal import Entry
from storage.pool import Pool

if TYPE_CHECKING:
    from server.stream import Streams

_MOST = 200_000


class Grants:
    """Standings of accounts in channels, as they were last read."""

    def __init__(self, pool: Pool, streams: Streams) -> None:
        self._pool, self._streams = pool, streams
        self._standings: dict[UUID, dict[UUID, Standing]] = {}
        self._count = 0

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
        """Set the access version of each entry, or refuse it."""
        pairs = list({(entry.channel, entry.author) for entry in entries})
        found = await channels.standings(self._pool, [pair[0] for pair in pairs], [pair[1] for pair in pairs])
        standings = dict(zip(pairs, found, strict=True))
        for (_, account), standing in standings.items():
            if standing is not None:
                self.keep(account, standing)
        for entry in entries:
            _apply(entry, standings[entry.channel, entry.author])


def _apply(entry: Entry, standing: Standing | None) -> None:
    if standing is not None and standing.writes:
        entry.access = standing.access
        return
    entry.access = -1
    entry.refused(Missing() if standing is None else Forbidden("you cannot write here"))
