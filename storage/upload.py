"""upload: bytes on their way. Whoever began last is the one that writes: what others still do changes no row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from msgspec import Struct

from storage.pool import Database, Row, Transaction

_COLUMNS = "u.key, u.file, u.writer, u.place, u.parts"


class Upload(Struct, frozen=True):
    """One upload: where its bytes go, and what the store has to know to go on with it."""

    key: UUID
    file: UUID | None
    writer: UUID
    place: str
    parts: list[str]


def _upload(row: Row) -> Upload:
    return Upload(row["key"], row["file"], row["writer"], row["place"], row["parts"])


async def begin(tx: Transaction, key: UUID, file: UUID, writer: UUID) -> Upload:
    """A new one, or the one of this file: now this transfer writes."""
    row = await tx.fetchrow(
        """
        INSERT INTO upload AS u (key, file, writer) VALUES ($1, $2, $3)
        ON CONFLICT (file) DO UPDATE SET writer = excluded.writer, moved_at = now()
        RETURNING u.key, u.file, u.writer, u.place, u.parts
        """,
        key,
        file,
        writer,
    )
    assert row is not None
    return _upload(row)


async def count(tx: Transaction, account: UUID) -> int:
    """How many files an account has begun and not finished."""
    found: int = await tx.fetchval("SELECT count(*) FROM file WHERE owner = $1 AND state = 'uploading'", account)
    return found


async def note(db: Database, key: UUID, writer: UUID, place: str, parts: Sequence[str]) -> bool:
    """What the store has of it now; False when another transfer writes."""
    tag = await db.execute(
        """
        UPDATE upload SET place = $3, parts = $4, moved_at = now()
         WHERE key = $1 AND writer = $2 AND file IS NOT NULL
        """,
        key,
        writer,
        place,
        list(parts),
    )
    return tag.endswith(" 1")


async def writing(db: Database, keys: Sequence[UUID]) -> dict[UUID, UUID]:
    """Who writes these, of those that still are to come; it is noted that they move."""
    rows = await db.fetch(
        "UPDATE upload SET moved_at = now() WHERE key = ANY ($1::uuid[]) AND file IS NOT NULL RETURNING key, writer",
        list(keys),
    )
    return {row["key"]: row["writer"] for row in rows}


async def hold(tx: Transaction, key: UUID, writer: UUID) -> bool:
    """Nobody else begins or cancels it until the transaction ends; whether it is (still) this transfer's."""
    found = await tx.fetchval(
        "SELECT key FROM upload WHERE key = $1 AND writer = $2 AND file IS NOT NULL FOR UPDATE", key, writer
    )
    return found is not None


async def finish(tx: Transaction, key: UUID) -> None:
    """It is a blob now."""
    await tx.execute("DELETE FROM upload WHERE key = $1", key)


async def forget(db: Database, key: UUID) -> None:
    """Nothing is left of it."""
    await db.execute("DELETE FROM upload WHERE key = $1 AND file IS NULL", key)


async def let_go(tx: Transaction, key: UUID) -> None:
    """Its bytes are to be removed."""
    await tx.execute("UPDATE upload SET file = NULL WHERE key = $1", key)


async def abandon(db: Database, hours: float, limit: int) -> None:
    """Give up files that nobody has gone on with."""
    await db.execute(
        """
        DELETE FROM file WHERE state = 'uploading' AND id IN
               (SELECT file FROM upload WHERE moved_at < now() - $1::interval AND file IS NOT NULL
                 ORDER BY moved_at LIMIT $2)
        """,
        timedelta(hours=hours),
        limit,
    )


async def left_over(db: Database, limit: int) -> list[Upload]:
    """Uploads of which nobody needs the bytes."""
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM upload u WHERE u.file IS NULL LIMIT $1", limit)
    return [_upload(row) for row in rows]
