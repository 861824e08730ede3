"""erasure: what is left of deleted accounts, bit by bit.

An account is empty at once when it is deleted; its friends, channels, messages and reactions follow in small
transactions, so that nobody waits for them. A row in `erasure` says that there may be some left.
"""

from __future__ import annotations

from uuid import UUID

from storage import deed, report, stats
from storage.chore import Chores
from storage.pool import Database, Transaction
from storage.reaction import Mark

ACCOUNTS = Chores("erasure", "account")
_NOTIFIED = ("notification", "notification_level")  # while it was leaving
# In a channel that is not about to go as a whole.
_KEPT = "NOT EXISTS (SELECT FROM grave g WHERE g.channel = m.channel)"


async def begin(tx: Transaction, account: UUID) -> dict[str, int]:
    """There is something to do; how much of each kind."""
    await tx.execute("INSERT INTO erasure (account) VALUES ($1) ON CONFLICT DO NOTHING", account)
    row = await tx.fetchrow(
        """
        SELECT (SELECT count(*) FROM friend WHERE account = $1) AS friend,
               (SELECT count(*) FROM member WHERE account = $1) AS channel,
               (SELECT count(*) FROM space_member WHERE account = $1) AS space,
               (SELECT count(*) FROM message WHERE author = $1 AND deleted_at IS NULL) AS message,
               (SELECT count(*) FROM reaction WHERE account = $1) AS reaction,
               (SELECT count(*) FROM vote WHERE account = $1) AS vote,
               (SELECT count(*) FROM file WHERE owner = $1) AS file,
               (SELECT count(*) FROM mention WHERE account = $1) AS mention,
               (SELECT count(*) FROM hidden WHERE account = $1) AS hidden
        """,
        account,
    )
    assert row is not None
    return dict(row)


async def channels(db: Database, account: UUID, limit: int) -> list[UUID]:
    """Some that it is still in."""
    rows = await db.fetch("SELECT channel FROM member WHERE account = $1 ORDER BY channel LIMIT $2", account, limit)
    return [row["channel"] for row in rows]


async def messages(db: Database, account: UUID, limit: int) -> dict[UUID, list[int]]:
    """Messages that still have words, by channel."""
    rows = await db.fetch(
        f"""
        SELECT channel, array_agg(seq ORDER BY seq) AS seqs FROM
               (SELECT channel, seq FROM message m WHERE author = $1 AND deleted_at IS NULL AND {_KEPT} LIMIT $2) m
         GROUP BY channel
        """,
        account,
        limit,
    )
    return {row["channel"]: row["seqs"] for row in rows}


async def reactions(db: Database, account: UUID, limit: int) -> dict[UUID, list[tuple[int, Mark]]]:
    """Reactions that are still there, by channel: to which message, and what."""
    rows = await db.fetch(
        f"SELECT channel, seq, emoji, custom FROM reaction m WHERE account = $1 AND {_KEPT} ORDER BY id LIMIT $2",
        account,
        limit,
    )
    found: dict[UUID, list[tuple[int, Mark]]] = {}
    for row in rows:
        found.setdefault(row["channel"], []).append((row["seq"], Mark(row["emoji"], row["custom"])))
    return found


async def votes(db: Database, account: UUID, limit: int) -> dict[UUID, list[int]]:
    """Messages whose polls it still has a vote in, by channel."""
    rows = await db.fetch(
        f"""
        SELECT channel, array_agg(seq ORDER BY seq) AS seqs FROM
               (SELECT channel, seq FROM vote m WHERE account = $1 AND {_KEPT} ORDER BY channel, seq LIMIT $2) m
         GROUP BY channel
        """,
        account,
        limit,
    )
    return {row["channel"]: row["seqs"] for row in rows}


async def finish(tx: Transaction, account: UUID) -> None:
    """Nothing is left but the empty account."""
    await report.forget(tx, account)
    await deed.forget(tx, account)
    await stats.forget(tx, account)
    tables = ("mention", "hidden", "draft", "scheduled", "presence", "mark", "pace", "follow", *_NOTIFIED, "erasure")
    for table in tables:
        await tx.execute(f"DELETE FROM {table} WHERE account = $1", account)
    await tx.execute("DELETE FROM invite WHERE by = $1", account)
    await tx.execute("DELETE FROM stream WHERE id = $1", account)
