"""call: calls that are going on, and the messages that tell of them. Their channel is held by who writes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from protocol.codec import encode
from protocol.message import Message
from storage.pool import Database, Row, Transaction

_COLUMNS = "c.channel, c.id, c.seq, c.caller, c.nonce, c.answered, c.until <= now() AS late"


class Live(Struct, frozen=True):
    """A call that is going on: there is one in a channel at most. `late`: it should ring no more."""

    channel: UUID
    id: UUID
    seq: int
    caller: UUID
    nonce: UUID
    answered: bool
    late: bool = False


def _live(row: Row | None) -> Live | None:
    return Live(*row) if row else None


async def live(db: Database, channel: UUID) -> Live | None:
    """The call of a channel."""
    return _live(await db.fetchrow(f"SELECT {_COLUMNS} FROM call c WHERE c.channel = $1", channel))


async def get(db: Database, channel: UUID, id: UUID) -> Live | None:
    """A call of that channel."""
    return _live(await db.fetchrow(f"SELECT {_COLUMNS} FROM call c WHERE c.channel = $1 AND c.id = $2", channel, id))


async def callable_by(db: Database, caller: UUID, channel: UUID, limit: int) -> list[UUID]:
    """Who else is in a channel, but those who block the caller or are blocked."""
    rows = await db.fetch(
        """
        SELECT m.account FROM member m JOIN account a ON a.id = m.account AND a.deleted_at IS NULL
         WHERE m.channel = $2 AND m.account <> $1 AND NOT EXISTS
               (SELECT FROM block b WHERE (b.account, b.blocked) IN ((m.account, $1), ($1, m.account)))
         ORDER BY m.joined_at, m.account LIMIT $3
        """,
        caller,
        channel,
        limit,
    )
    return [row["account"] for row in rows]


async def ringing(db: Database, call: UUID) -> list[UUID]:
    """Whose devices ring."""
    rows = await db.fetch("SELECT account FROM ring WHERE call = $1 ORDER BY account", call)
    return [row["account"] for row in rows]


async def is_direct(db: Database, channel: UUID) -> bool:
    """Whether there are two at most."""
    return bool(await db.fetchval("SELECT kind = 'direct' FROM channel WHERE id = $1", channel))


# Changing


async def begin(tx: Transaction, one: Live, until: datetime) -> bool:
    """A call begins, if there is none in the channel."""
    tag = await tx.execute(
        """
        INSERT INTO call (channel, id, seq, caller, nonce, until) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (channel) DO NOTHING
        """,
        one.channel,
        one.id,
        one.seq,
        one.caller,
        one.nonce,
        until,
    )
    return tag.endswith("1")


async def answer(tx: Transaction, id: UUID) -> None:
    """Somebody has answered."""
    await tx.execute("UPDATE call SET answered = true WHERE id = $1", id)


async def end(tx: Transaction, id: UUID) -> Live | None:
    """It is over; None when it was before."""
    return _live(await tx.fetchrow(f"DELETE FROM call c WHERE c.id = $1 RETURNING {_COLUMNS}", id))


async def ring(tx: Transaction, call: UUID, accounts: Sequence[UUID]) -> None:
    """The devices of these begin to ring."""
    await tx.execute("INSERT INTO ring (call, account) SELECT $1, unnest($2::uuid[])", call, list(accounts))


async def stop(tx: Transaction, call: UUID, accounts: Sequence[UUID]) -> list[UUID]:
    """Those of these whose devices were ringing: they stop."""
    rows = await tx.fetch(
        "DELETE FROM ring WHERE call = $1 AND account = ANY ($2::uuid[]) RETURNING account", call, list(accounts)
    )
    return sorted(row["account"] for row in rows)


async def tell(tx: Transaction, channel: UUID, nonce: UUID, message: Message) -> datetime | None:
    """The message of a new call; when it disappears, if it does."""
    row = await tx.fetchrow(
        """
        WITH moved AS (UPDATE stream SET last = $2, moved_at = $5 WHERE id = $1)
        INSERT INTO message (channel, seq, author, nonce, sent_at, text, call, expires_at)
        SELECT $1, $2, $3, $4, $5, '', $6, $5 + make_interval(secs => c.disappears_after)
          FROM channel c WHERE c.id = $1 RETURNING expires_at
        """,
        channel,
        message.seq,
        message.author,
        nonce,
        message.sent_at,
        encode(message.call).decode(),
    )
    assert row is not None
    expires: datetime | None = row["expires_at"]
    if expires is not None:
        await tx.execute(
            """
            INSERT INTO due (kind, stream, at) VALUES ('disappearing', $1, $2)
            ON CONFLICT (kind, stream, seq) DO UPDATE SET at = excluded.at WHERE due.at > excluded.at
            """,
            channel,
            expires,
        )
    return expires


async def change(tx: Transaction, channel: UUID, message: Message) -> None:
    """What has become of it."""
    await tx.execute(
        "UPDATE message SET call = $3 WHERE channel = $1 AND seq = $2",
        channel,
        message.seq,
        encode(message.call).decode(),
    )
