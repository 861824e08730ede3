"""reaction: who put what under which message; the message's row tells the counts."""

from __future__ import annotations

from uuid import UUID

from protocol.codec import encode
from protocol.message import ReactionCount
from protocol.reaction import Reaction, Reactions
from storage.pool import Database, Transaction

_SHOWN = 20


async def add(tx: Transaction, channel: UUID, seq: int, account: UUID, emoji: str) -> int | None:
    """Put an emoji under a message; how often it is there then, None when it already was this account's."""
    tag = await tx.execute(
        "INSERT INTO reaction (channel, seq, account, emoji) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        channel,
        seq,
        account,
        emoji,
    )
    return await _count(tx, channel, seq, emoji) if tag.endswith("1") else None


async def remove(tx: Transaction, channel: UUID, seq: int, account: UUID, emoji: str) -> int | None:
    """Take it away; how often it is left, None when it was not there."""
    tag = await tx.execute(
        "DELETE FROM reaction WHERE channel = $1 AND seq = $2 AND account = $3 AND emoji = $4",
        channel,
        seq,
        account,
        emoji,
    )
    return await _count(tx, channel, seq, emoji) if tag.endswith("1") else None


async def _count(tx: Transaction, channel: UUID, seq: int, emoji: str) -> int:
    """Count anew (the stream is locked, so nobody counts beside us), and tell it with the message."""
    rows = await tx.fetch(
        """
        SELECT emoji, count(*) AS count, min(id) AS first, (array_agg(account ORDER BY id))[:$3] AS users
          FROM reaction WHERE channel = $1 AND seq = $2 GROUP BY emoji ORDER BY first
        """,
        channel,
        seq,
        _SHOWN,
    )
    counts = [ReactionCount(emoji=row["emoji"], count=row["count"], users=row["users"]) for row in rows]
    await tx.execute(
        "UPDATE message SET reactions = $3 WHERE channel = $1 AND seq = $2",
        channel,
        seq,
        encode(counts).decode() if counts else None,
    )
    return next((one.count for one in counts if one.emoji == emoji), 0)


async def page(db: Database, channel: UUID, seq: int, after: int, limit: int) -> Reactions:
    """Oldest first, strictly after one."""
    rows = await db.fetch(
        """
        SELECT id, account, emoji, at FROM reaction WHERE channel = $1 AND seq = $2 AND id > $3 ORDER BY id LIMIT $4
        """,
        channel,
        seq,
        after,
        limit + 1,
    )
    found = [Reaction(user=row["account"], emoji=row["emoji"], at=row["at"]) for row in rows[:limit]]
    return Reactions(reactions=found, next=rows[limit - 1]["id"] if len(rows) > limit else None)
