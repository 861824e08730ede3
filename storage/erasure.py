"""erasure: what is left of deleted accounts, bit by bit.

An account is empty at once when it is deleted; its channels, messages and reactions follow in small transactions, so
that nobody waits for them. A row in `erasure` says that there may be some left, and outlives whoever is at it.
"""

from __future__ import annotations

from uuid import UUID

from storage.pool import Database, Transaction

_SECONDS = 30


async def begin(tx: Transaction, account: UUID) -> dict[str, int]:
    """There is something to do; how much of each kind."""
    await tx.execute("INSERT INTO erasure (account) VALUES ($1) ON CONFLICT DO NOTHING", account)
    row = await tx.fetchrow(
        """
        SELECT (SELECT count(*) FROM member WHERE account = $1) AS channel,
               (SELECT count(*) FROM message WHERE author = $1 AND deleted_at IS NULL) AS message,
               (SELECT count(*) FROM reaction WHERE account = $1) AS reaction,
               (SELECT count(*) FROM mention WHERE account = $1) AS mention,
               (SELECT count(*) FROM hidden WHERE account = $1) AS hidden
        """,
        account,
    )
    assert row is not None
    return dict(row)


async def take(db: Database) -> UUID | None:
    """An account that nobody is at; for a while it is the caller's."""
    found: UUID | None = await db.fetchval(
        f"""
        UPDATE erasure SET taken_until = now() + interval '{_SECONDS} s' WHERE account =
               (SELECT account FROM erasure WHERE taken_until <= now() ORDER BY asked_at LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING account
        """
    )
    return found


async def hold(db: Database, account: UUID) -> None:
    """Still at it."""
    await db.execute(f"UPDATE erasure SET taken_until = now() + interval '{_SECONDS} s' WHERE account = $1", account)


async def channels(db: Database, account: UUID, limit: int) -> list[tuple[UUID, bool]]:
    """Channels that it is still in, and whether it is the only one there."""
    rows = await db.fetch(
        """
        SELECT m.channel, c.members <= 1 AS alone FROM member m JOIN channel c ON c.id = m.channel
         WHERE m.account = $1 ORDER BY m.channel LIMIT $2
        """,
        account,
        limit,
    )
    return [(row["channel"], row["alone"]) for row in rows]


async def thin(db: Database, channel: UUID, limit: int) -> int:
    """Forget some messages of a channel that nobody else is in; how many."""
    tag = await db.execute(
        """
        DELETE FROM message WHERE channel = $1 AND seq IN
               (SELECT seq FROM message WHERE channel = $1 ORDER BY seq LIMIT $2)
           AND (SELECT members <= 1 FROM channel WHERE id = $1)
        """,
        channel,
        limit,
    )
    return int(tag.split()[-1])


async def messages(db: Database, account: UUID, limit: int) -> dict[UUID, list[int]]:
    """Messages that still have words, by channel."""
    rows = await db.fetch(
        """
        SELECT channel, array_agg(seq ORDER BY seq) AS seqs FROM
               (SELECT channel, seq FROM message WHERE author = $1 AND deleted_at IS NULL LIMIT $2) m
         GROUP BY channel
        """,
        account,
        limit,
    )
    return {row["channel"]: row["seqs"] for row in rows}


async def reactions(db: Database, account: UUID, limit: int) -> dict[UUID, list[tuple[int, str]]]:
    """Reactions that are still there, by channel: to which message, and what."""
    rows = await db.fetch(
        "SELECT channel, seq, emoji FROM reaction WHERE account = $1 ORDER BY id LIMIT $2", account, limit
    )
    found: dict[UUID, list[tuple[int, str]]] = {}
    for row in rows:
        found.setdefault(row["channel"], []).append((row["seq"], row["emoji"]))
    return found


async def finish(tx: Transaction, account: UUID) -> None:
    """Nothing is left but the empty account."""
    for table in ("mention", "hidden", "draft", "presence", "erasure"):
        await tx.execute(f"DELETE FROM {table} WHERE account = $1", account)
    await tx.execute("DELETE FROM stream WHERE id = $1", account)
