"""scheduled: messages that wait for their time, and those that were refused when it had come.

Rule 1: one that a process has taken may be a message already (`begun`): it is neither changed nor cancelled any more,
until that is known: then it is gone, or `failed`.
Rule 2: how they are taken when they are due is the same as for all that falls due (storage/due.py).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from protocol.codec import encode
from protocol.scheduled import Scheduled, ScheduledMessages
from storage import cursor, due
from storage.pool import Database, Row, Transaction

# Of a table that goes by `p`, beside the columns of others.
COLUMNS = """
    p.id AS planned, p.channel AS planned_channel, p.text AS planned_text, p.at AS planned_at,
    p.reply_to AS planned_reply_to, p.mentions AS planned_mentions, p.silent AS planned_silent,
    p.created_at AS planned_created_at, p.failed AS planned_failed
"""
MOST = 100
_PAGE_BYTES = 200_000
_WAITS = "failed IS NULL"


class Due(Struct, frozen=True):
    """One whose time has come, and whose it is."""

    account: UUID
    message: Scheduled


class Held(Struct, frozen=True):
    """One that cannot change meanwhile."""

    message: Scheduled
    begun: bool


class Room(Struct, frozen=True):
    """What time it is, and how many somebody has."""

    now: datetime
    count: int


def scheduled(row: Row) -> Scheduled:
    """One from a row with these columns."""
    return Scheduled(
        id=row["planned"],
        channel=row["planned_channel"],
        text=row["planned_text"],
        at=row["planned_at"],
        reply_to=row["planned_reply_to"],
        mentions=row["planned_mentions"],
        silent=row["planned_silent"],
        created_at=row["planned_created_at"],
        failed=row["planned_failed"],
    )


# An account's own


async def own(db: Database, viewer: UUID, id: UUID) -> Scheduled | None:
    """One of the viewer's."""
    row = await db.fetchrow(f"SELECT {COLUMNS} FROM scheduled p WHERE p.account = $1 AND p.id = $2", viewer, id)
    return scheduled(row) if row else None


async def hold(tx: Transaction, account: UUID, id: UUID) -> Held | None:
    """One of an account's, held until the transaction ends."""
    row = await tx.fetchrow(
        f"SELECT {COLUMNS}, p.begun FROM scheduled p WHERE p.account = $1 AND p.id = $2 FOR UPDATE", account, id
    )
    return Held(scheduled(row), row["begun"]) if row else None


async def room(tx: Transaction, account: UUID) -> Room:
    """What time it is, and how many there are."""
    row = await tx.fetchrow("SELECT now() AS now, count(*) AS count FROM scheduled WHERE account = $1", account)
    assert row is not None
    return Room(row["now"], row["count"])


async def save(tx: Transaction, account: UUID, message: Scheduled) -> None:
    """Keep it as it is now, to be sent at its time."""
    await tx.execute(
        """
        INSERT INTO scheduled (account, id, channel, text, reply_to, mentions, silent, at, due, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)
        ON CONFLICT (account, id) DO UPDATE SET text = excluded.text, reply_to = excluded.reply_to,
           mentions = excluded.mentions, silent = excluded.silent, at = excluded.at, due = excluded.due, failed = NULL
        """,
        account,
        message.id,
        message.channel,
        message.text,
        message.reply_to,
        message.mentions,
        message.silent,
        message.at,
        message.created_at,
    )


async def listing(db: Database, account: UUID, after: str | None, limit: int) -> ScheduledMessages:
    """What waits or has failed, in the order of its time; fewer when a frame holds no more."""
    at, id = cursor.read(after, cursor.FIRST)
    rows = await db.fetch(
        f"""
        SELECT {COLUMNS} FROM scheduled p WHERE p.account = $1 AND (p.at, p.id) > ($2, $3)
         ORDER BY p.at, p.id LIMIT $4
        """,
        account,
        at,
        id,
        limit + 1,
    )
    found, size = [scheduled(row) for row in rows], 0
    for number, one in enumerate(found):
        size += len(encode(one))
        if number == limit or (size > _PAGE_BYTES and number):
            return ScheduledMessages(
                scheduled=found[:number], next=cursor.write(found[number - 1].at, found[number - 1].id)
            )
    return ScheduledMessages(scheduled=found, next=None)


# Sending


async def take(db: Database, limit: int) -> list[Due]:
    """Some that are due and that no process is at; for a while they are the caller's."""
    taking = due.taking("scheduled", "account, id", "due", only=_WAITS, also=", begun = true")
    rows = await db.fetch(f"{taking} RETURNING p.account, {COLUMNS}", limit)
    found = [Due(row["account"], scheduled(row)) for row in rows]
    return sorted(found, key=lambda one: (one.message.at, one.message.id))


async def due_in(db: Database) -> float | None:
    """The seconds until the next one is due; None when there is none."""
    found: float | None = await db.fetchval(due.waiting("scheduled", "due", _WAITS))
    return found


async def put_off(db: Database, one: Due, seconds: float) -> None:
    """Whoever has time tries again, in so many seconds."""
    await db.execute(
        "UPDATE scheduled SET due = now() + $3 WHERE account = $1 AND id = $2 AND begun",
        one.account,
        one.message.id,
        timedelta(seconds=seconds),
    )


async def remove(tx: Transaction, account: UUID, id: UUID) -> bool:
    """It was sent, or will not be; whether it was still there."""
    return (await tx.execute("DELETE FROM scheduled WHERE account = $1 AND id = $2", account, id)).endswith("1")


async def fail(tx: Transaction, account: UUID, id: UUID, code: str) -> bool:
    """It was refused: it is its author's again; whether that was not known yet."""
    tag = await tx.execute(
        "UPDATE scheduled SET failed = $3, begun = false WHERE account = $1 AND id = $2 AND begun", account, id, code
    )
    return tag.endswith("1")
