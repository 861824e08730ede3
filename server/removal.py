"""Messages taken back, by whoever and for whatever reason: only their places are left, and it is told.

Rule: whoever asks holds the channel, and has decided under that lock which ones go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.message import MessageDeleted
from server.fact import Change, changing
from storage import message as messages

if TYPE_CHECKING:
    from server.app import Server


async def remove(change: Change, channel: UUID, seqs: Sequence[int]) -> int:
    """Take back these, if any; the seq of the fact that tells it."""
    if not seqs:
        return 0
    await messages.delete(change.tx, channel, seqs)
    return change.tell(MessageDeleted(stream=channel, seq=change.next(channel), messages=sorted(seqs)))


async def take_back(app: Server, channel: UUID, seqs: Sequence[int]) -> None:
    """Take back those of these that still have words."""
    async with changing(app, channel) as change:
        if change.holds(channel):
            await remove(change, channel, [one.seq for one in await messages.held(change.tx, channel, seqs)])
