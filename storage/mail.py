"""mail: what is to be sent. Stored with the change it tells of, sent after the commit, at least once."""

from datetime import timedelta
from uuid import UUID

from msgspec import Struct

from storage.ids import new_id
from storage.pool import Database

_CLAIM_SECONDS = 120


class Stored(Struct, frozen=True):
    """One mail, its text still sealed."""

    id: UUID
    to: str
    subject: str
    sealed: bytes
    attempts: int


async def put(db: Database, to: str, subject: str, sealed: bytes) -> None:
    """Have a mail sent once the transaction commits."""
    await db.execute(
        "INSERT INTO mail (id, recipient, subject, sealed) VALUES ($1, $2, $3, $4)",
        new_id(),
        to,
        subject,
        sealed,
    )


async def claim(db: Database, limit: int) -> list[Stored]:
    """Take mails that are due, so that no other process sends them for two minutes."""
    rows = await db.fetch(
        """
        UPDATE mail SET next_at = now() + $2, attempts = attempts + 1 WHERE id = ANY
               (ARRAY(SELECT id FROM mail WHERE next_at <= now() ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING id, recipient, subject, sealed, attempts
        """,
        limit,
        timedelta(seconds=_CLAIM_SECONDS),
    )
    return [Stored(row["id"], row["recipient"], row["subject"], row["sealed"], row["attempts"]) for row in rows]


async def done(db: Database, mail: UUID) -> None:
    """It was sent, or never will be."""
    await db.execute("DELETE FROM mail WHERE id = $1", mail)


async def retry(db: Database, mail: UUID, delay: float) -> None:
    """Try again later."""
    await db.execute("UPDATE mail SET next_at = now() + $2 WHERE id = $1", mail, timedelta(seconds=delay))
