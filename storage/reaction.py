"""reaction: who put what under which message; the message's row tells the counts."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from protocol.codec import encode
from protocol.content import ReactionCount
from protocol.reaction import Reaction, Reactions
from storage.pool import Database, Transaction

_SHOWN = 20


class Mark(Struct, frozen=True):
    """An emoji; `custom`: it is one of the space's, and that was its name."""

    emoji: str
    custom: UUID | None = None

    def of(self, count: ReactionCount) -> bool:
        """Whether that counts this."""
        return (self.emoji, self.custom) == (count.emoji, count.custom)


async def add(tx: Transaction, channel: UUID, seq: int, account: UUID, mark: Mark) -> int | None:
    """Put an emoji under a message; how often it is there then, None when it already was this account's."""
    tag = await tx.execute(
        """
        INSERT INTO reaction (channel, seq, account, emoji, custom) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
        """,
        channel,
        seq,
        account,
        mark.emoji,
        mark.custom,
    )
    return await _count(tx, channel, seq, mark) if tag.endswith("1") else None


async def remove(tx: Transaction, channel: UUID, seq: int, account: UUID, mark: Mark) -> int | None:
    """Take it away; how often it is left, None when it was not there."""
    tag = await tx.execute(
        """
        DELETE FROM reaction WHERE channel = $1 AND seq = $2 AND account = $3 AND emoji = $4
           AND custom IS NOT DISTINCT FROM $5
        """,
        channel,
        seq,
        account,
        mark.emoji,
        mark.custom,
    )
    return await _count(tx, channel, seq, mark) if tag.endswith("1") else None


async def _count(tx: Transaction, channel: UUID, seq: int, mark: Mark) -> int:
    """Count anew (the stream is locked, so nobody counts beside us), and tell it with the message."""
    rows = await tx.fetch(
        """
        SELECT emoji, custom, count(*) AS count, min(id) AS first, (array_agg(account ORDER BY id))[:$3] AS users
          FROM reaction WHERE channel = $1 AND seq = $2 GROUP BY emoji, custom ORDER BY first
        """,
        channel,
        seq,
        _SHOWN,
    )
    counts = [
        ReactionCount(emoji=row["emoji"], count=row["count"], users=row["users"], custom=row["custom"]) for row in rows
    ]
    await tx.execute(
        "UPDATE message SET reactions = $3 WHERE channel = $1 AND seq = $2",
        channel,
        seq,
        encode(counts).decode() if counts else None,
    )
    return next((one.count for one in counts if mark.of(one)), 0)


async def page(db: Database, channel: UUID, seq: int, after: int, limit: int) -> Reactions:
    """Oldest first, strictly after one."""
    rows = await db.fetch(
        """
        SELECT id, account, emoji, at, custom FROM reaction WHERE channel = $1 AND seq = $2 AND id > $3
         ORDER BY id LIMIT $4
        """,
        channel,
        seq,
        after,
        limit + 1,
    )
    found = [
        Reaction(user=row["account"], emoji=row["emoji"], at=row["at"], custom=row["custom"]) for row in rows[:limit]
    ]
    return Reactions(reactions=found, next=rows[limit - 1]["id"] if len(rows) > limit else None)
