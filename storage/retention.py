"""retention: messages that are deleted when they are so many days old, slice by slice from the oldest.

Rule: `cleared` of a channel says up to where nothing is left of them but what is pinned: it is never looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from storage import due
from storage.pool import Database, Transaction

_PAUSE = timedelta(hours=1)


class Slice(Struct, frozen=True):
    """The next messages of a channel: which of them to delete, how far one is then, and when to go on."""

    seqs: Sequence[int]
    cleared: int
    at: datetime


async def retention(db: Database, channel: UUID) -> int | None:
    """For how many days a channel keeps what is said there, as it says, or its space; None for ever."""
    found: int | None = await db.fetchval(
        """
        SELECT coalesce(c.keeps_for, o.keeps_for, p.keeps_for) FROM channel c
          LEFT JOIN channel o ON o.id = c.parent AND c.kind = 'thread' LEFT JOIN space p ON p.id = c.space
         WHERE c.id = $1
        """,
        channel,
    )
    return found


async def oldest(tx: Transaction, channel: UUID, days: int, limit: int) -> Slice:
    """Of the oldest that were not looked at yet, those that are too old."""
    rows = await tx.fetch(
        """
        SELECT now() AS now, c.cleared, m.seq, m.sent_at, m.deleted_at IS NULL AND m.pinned_at IS NULL AS stands
          FROM channel c LEFT JOIN LATERAL (
              SELECT m.seq, m.sent_at, m.deleted_at, m.pinned_at FROM message m
               WHERE m.channel = c.id AND m.seq > c.cleared ORDER BY m.seq LIMIT $2) m ON true
         WHERE c.id = $1 ORDER BY m.seq
        """,
        channel,
        limit,
    )
    now, age = rows[0]["now"], timedelta(days=days)
    found = [row for row in rows if row["seq"] is not None]
    old = [row for row in found if row["sent_at"] + age <= now]
    if len(old) == limit:
        at = now
    else:  # the first that is not too old, or whatever is said from now on
        young = [row["sent_at"] + age for row in found if row["sent_at"] + age > now]
        at = max(min(young, default=now + age), now + _PAUSE)
    return Slice(
        seqs=[row["seq"] for row in old if row["stands"]],
        cleared=max((row["seq"] for row in old), default=rows[0]["cleared"]),
        at=at,
    )


# Changing; the stream is locked


async def begin(tx: Transaction, channel: UUID) -> None:
    """There may be something to delete, if not all is kept: somebody looks at once."""
    keeps_all = await retention(tx, channel) is None
    await due.set_next(tx, "retention", channel, None if keeps_all else await tx.fetchval("SELECT now()"))


async def begin_in(tx: Transaction, space: UUID) -> None:
    """The same for all channels of a space."""
    await tx.execute(
        """
        INSERT INTO due (kind, stream, at)
        SELECT 'retention', c.id, now() FROM channel c WHERE c.space = $1 AND c.kind <> 'category' ORDER BY c.id
        ON CONFLICT (kind, stream, seq) DO UPDATE SET at = excluded.at
        """,
        space,
    )


async def clear(tx: Transaction, channel: UUID, seq: int) -> None:
    """Nothing is left up to here but what is pinned."""
    await tx.execute("UPDATE channel SET cleared = $2 WHERE id = $1", channel, seq)


async def unpinned(tx: Transaction, channel: UUID, seq: int) -> None:
    """This one may be too old: it is looked at again, with those behind it."""
    tag = await tx.execute("UPDATE channel SET cleared = $2 - 1 WHERE id = $1 AND cleared >= $2", channel, seq)
    if tag.endswith("1"):
        await begin(tx, channel)
