"""What a channel does not keep for ever: messages that are so many days old are deleted, but for what is pinned.

Rule: a channel is looked at when its oldest message is due, and at most once an hour, unless there is more to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.fact import changing
from server.removal import remove
from storage import due, retention
from storage.due import Due

if TYPE_CHECKING:
    from server.app import Server

_AT_ONCE = 500


async def fall_due(app: Server, one: Due) -> None:
    """Delete the next slice of a channel, and say when to go on."""
    channel = one.stream
    async with changing(app, channel) as change:
        days = await retention.retention(change.tx, channel)
        if days is None or not change.holds(channel):
            await due.finish(change.tx, "retention", channel)
            return
        found = await retention.oldest(change.tx, channel, days, _AT_ONCE)
        await remove(change, channel, found.seqs)
        await retention.clear(change.tx, channel, found.cleared)
        await due.set_next(change.tx, "retention", channel, found.at)
