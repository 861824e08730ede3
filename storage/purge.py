"""purge: what somebody has said lately in a space, to be taken back. A row says that there may be some left."""

from __future__ import annotations

from uuid import UUID

from storage.ids import new_id
from storage.pool import Database, Transaction


async def begin(tx: Transaction, space: UUID, account: UUID, seconds: int) -> None:
    """What was said in the last so many seconds."""
    await tx.execute(
        "INSERT INTO purge (id, space, account, since) VALUES ($1, $2, $3, now() - make_interval(secs => $4))",
        new_id(),
        space,
        account,
        seconds,
    )


async def messages(db: Database, id: UUID, limit: int) -> dict[UUID, list[int]]:
    """Some that still have words, by channel."""
    rows = await db.fetch(
        """
        SELECT channel, array_agg(seq ORDER BY seq) AS seqs FROM (
            SELECT m.channel, m.seq FROM purge p JOIN message m ON m.author = p.account AND m.sent_at >= p.since
              JOIN channel c ON c.id = m.channel AND c.space = p.space
             WHERE p.id = $1 AND m.deleted_at IS NULL LIMIT $2) m
         GROUP BY channel
        """,
        id,
        limit,
    )
    return {row["channel"]: row["seqs"] for row in rows}


async def finish(db: Database, id: UUID) -> None:
    """Nothing is left."""
    await db.execute("DELETE FROM purge WHERE id = $1", id)
