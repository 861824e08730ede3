"""grave: what is left of deleted channels, bit by bit.

With one small transaction nobody is in a channel any more, and nobody gets in. Its members are told and its messages
go in small transactions, so that nobody waits for them. A row in `grave` says that there may be some left.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from storage import search, tail
from storage.chore import Chores
from storage.pool import Database, Transaction

GRAVES = Chores("grave", "channel")
# What is about messages goes before them: otherwise one message could take any number of rows with it.
_TABLES = {
    "reaction": "channel",
    "vote": "channel",
    "revision": "channel",
    "mention": "channel",
    "summons": "channel",
    "hidden": "channel",
    "file_use": "channel",
    "message": "channel",
    "fact": "stream",
}


async def dig(tx: Transaction, channel: UUID, by: UUID) -> None:
    """Put everybody out of a channel whose stream is locked; they are still to be told. Again changes nothing."""
    tag = await tx.execute("INSERT INTO grave (channel, by) VALUES ($1, $2) ON CONFLICT DO NOTHING", channel, by)
    if tag.endswith(" 0"):
        return
    await tx.execute(
        """
        WITH gone AS (DELETE FROM member WHERE channel = $1 RETURNING account)
        INSERT INTO departed (channel, account) SELECT $1, account FROM gone
        """,
        channel,
    )
    await tx.execute("UPDATE channel SET parent = NULL WHERE parent = $1 AND kind <> 'thread'", channel)
    await tx.execute("DELETE FROM thread WHERE id = $1", channel)
    # Without its nonce, so that who made it can make another like it.
    await tx.execute(
        """
        UPDATE channel SET members = 0, open = false, owner = NULL, nonce = NULL, space = NULL, parent = NULL
         WHERE id = $1
        """,
        channel,
    )


async def by(db: Database, channel: UUID) -> UUID | None:
    """Who has deleted it; None when nothing is left of it."""
    found: UUID | None = await db.fetchval("SELECT by FROM grave WHERE channel = $1", channel)
    return found


async def departed(db: Database, channel: UUID, limit: int) -> list[UUID]:
    """Some who are still to be told."""
    rows = await db.fetch("SELECT account FROM departed WHERE channel = $1 ORDER BY account LIMIT $2", channel, limit)
    return [row["account"] for row in rows]


async def dismiss(tx: Transaction, channel: UUID, accounts: Sequence[UUID]) -> list[UUID]:
    """These are told now, their streams are locked; those who were not told yet."""
    rows = await tx.fetch(
        "DELETE FROM departed WHERE channel = $1 AND account = ANY ($2::uuid[]) RETURNING account",
        channel,
        list(accounts),
    )
    told = [row["account"] for row in rows]
    await tx.execute("DELETE FROM draft WHERE channel = $1 AND account = ANY ($2::uuid[])", channel, told)
    return told


async def thin(tx: Transaction, channel: UUID, limit: int) -> int:
    """Forget some of what was said and done there; how much."""
    gone = await search.thin(tx, channel, limit)
    for table, column in _TABLES.items():
        if gone >= limit:
            break
        tag = await tx.execute(
            f"""
            DELETE FROM {table} WHERE ctid = ANY
                   (ARRAY(SELECT ctid FROM {table} WHERE {column} = $1 ORDER BY seq LIMIT $2))
            """,
            channel,
            limit - gone,
        )
        gone += int(tag.split()[-1])
    return gone


async def close(tx: Transaction, channel: UUID) -> None:
    """Nothing is left of it, once who works behind it has gone."""
    await tail.close(tx, channel)
    while await search.thin(tx, channel, 500):
        pass
    await tx.execute("DELETE FROM stream WHERE id = $1", channel)
