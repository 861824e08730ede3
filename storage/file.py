"""file: what people have uploaded, who may have it, and what has become of its bytes.

Rule 1: what an account has is counted and added to while its row is locked (`hold`): no two uploads take the same room.
Rule 2: bytes are removed from the store when no row can lead to them any more: first nobody finds them, then they go.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.codec import encode
from protocol.file import Attached, Details, File, Files
from protocol.message import Message
from storage.pool import Database, Row, Transaction

COLUMNS = "f.id, f.purpose, f.name, f.type, f.size, f.hash, f.state, f.created_at, f.details"
PUBLIC = frozenset({"avatar", "emoji", "sticker"})
CARRIED = frozenset({"attachment", "voice"})
_details = msgspec.json.Decoder(Details).decode
_LAST = UUID(int=2**128 - 1)


class Content(Struct, frozen=True):
    """What is read when a file, or a variant of it, is: `key` is its name in the store."""

    blob: UUID
    key: str
    name: str
    type: str
    size: int
    public: bool


def file(row: Row) -> File:
    """A file from a row with these columns."""
    public = row["purpose"] in PUBLIC and row["state"] == "ready"
    return File(
        id=row["id"],
        purpose=row["purpose"],
        name=row["name"],
        type=row["type"],
        size=row["size"],
        hash=row["hash"].hex(),
        state=row["state"],
        created_at=row["created_at"],
        details=_details(row["details"]) if row["details"] else None,
        url=f"/file/{row['id']}/original" if public else None,
    )


def attached(one: File) -> Attached:
    """What a message tells of it."""
    return Attached(id=one.id, name=one.name, type=one.type, size=one.size, purpose=one.purpose, details=one.details)


# Looking


async def own(db: Database, viewer: UUID, id: UUID) -> File | None:
    """One of the viewer's."""
    row = await db.fetchrow(f"SELECT {COLUMNS} FROM file f WHERE f.owner = $1 AND f.id = $2", viewer, id)
    return file(row) if row else None


async def own_all(db: Database, viewer: UUID, ids: Sequence[UUID]) -> list[File] | None:
    """Files, all of which are the viewer's, in this order."""
    ids = list(dict.fromkeys(ids))
    rows = await db.fetch(f"SELECT {COLUMNS} FROM file f WHERE f.owner = $1 AND f.id = ANY ($2::uuid[])", viewer, ids)
    found = {row["id"]: file(row) for row in rows}
    return [found[id] for id in ids] if all(id in found for id in ids) else None


async def listing(db: Database, account: UUID, after: str | None, limit: int, quota: int) -> Files:
    """An account's, the newest first."""
    rows = await db.fetch(
        f"SELECT {COLUMNS} FROM file f WHERE f.owner = $1 AND f.id < $2 ORDER BY f.id DESC LIMIT $3",
        account,
        _cursor(after),
        limit + 1,
    )
    more = str(rows[limit - 1]["id"]) if len(rows) > limit else None
    return Files(files=[file(row) for row in rows[:limit]], used=await used(db, account), quota=quota, next=more)


def _cursor(text: str | None) -> UUID:
    """Where a page begins; a cursor that is none begins at the beginning."""
    try:
        return UUID(text) if text else _LAST
    except ValueError:
        return _LAST


async def used(db: Database, account: UUID) -> int:
    """How many bytes an account's files take, with what is being uploaded."""
    found: int = await db.fetchval(
        """
        SELECT (SELECT coalesce(sum(size), 0) FROM blob WHERE owner = $1 AND NOT gone)
             + (SELECT coalesce(sum(size), 0) FROM file WHERE owner = $1 AND state = 'uploading')
        """,
        account,
    )
    return int(found)


async def content(db: Database, id: UUID, variant: str) -> Content | None:
    """The bytes of a file that is ready, or of a variant of it; a variant may stand for the original itself."""
    row = await db.fetchrow(
        """
        SELECT f.blob, f.purpose, f.name, v.name AS variant, coalesce(v.type, f.type) AS type,
               coalesce(v.size, f.size) AS size
          FROM file f LEFT JOIN variant v ON v.blob = f.blob AND v.name = $2
         WHERE f.id = $1 AND f.state = 'ready' AND (v.name IS NOT NULL OR $2 = 'original')
        """,
        id,
        variant,
    )
    if row is None:
        return None
    key = str(row["blob"]) + ("" if row["variant"] is None else f".{variant}")
    return Content(row["blob"], key, row["name"], row["type"], row["size"], row["purpose"] in PUBLIC)


async def content_of(db: Database, id: UUID) -> UUID | None:
    """The blob of a file, whatever its state."""
    found: UUID | None = await db.fetchval("SELECT blob FROM file WHERE id = $1", id)
    return found


async def carried(db: Database, message: Message, id: UUID) -> File | None:
    """A file that a message carries, if there is still such a file."""
    row = await db.fetchrow(f"SELECT {COLUMNS} FROM file f WHERE f.id = $1", id)
    return file(row) if row and any(one.id == id for one in message.files) else None


async def is_used(tx: Transaction, id: UUID) -> bool:
    """Whether a message carries it."""
    found: bool = await tx.fetchval("SELECT EXISTS (SELECT FROM file_use WHERE file = $1)", id)
    return found


# Changing


async def hold(tx: Transaction, account: UUID) -> bool:
    """Nobody else adds to what an account has until the transaction ends; whether the account (still) lives."""
    found = await tx.fetchval("SELECT id FROM account WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE", account)
    return found is not None


async def add(tx: Transaction, account: UUID, one: File, blob: UUID | None) -> None:
    """A new file."""
    await tx.execute(
        """
        INSERT INTO file (id, owner, purpose, name, type, size, hash, state, blob, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        one.id,
        account,
        one.purpose,
        one.name,
        one.type,
        one.size,
        bytes.fromhex(one.hash),
        one.state,
        blob,
        one.created_at,
    )


async def finished(tx: Transaction, account: UUID, blob: UUID, purpose: str, name: str) -> File | None:
    """The file that these bytes are under this name, for this purpose."""
    row = await tx.fetchrow(
        f"""
        SELECT {COLUMNS} FROM file f WHERE f.blob = $2 AND f.owner = $1 AND f.purpose = $3 AND f.name = $4
         ORDER BY f.id DESC LIMIT 1
        """,
        account,
        blob,
        purpose,
        name,
    )
    return file(row) if row else None


async def unfinished(tx: Transaction, account: UUID, purpose: str, hash: str, size: int) -> File | None:
    """The file with this content that was begun for this purpose."""
    row = await tx.fetchrow(
        f"""
        SELECT {COLUMNS} FROM file f WHERE f.owner = $1 AND f.purpose = $2 AND f.hash = $3 AND f.size = $4
           AND f.state = 'uploading' ORDER BY f.id LIMIT 1
        """,
        account,
        purpose,
        bytes.fromhex(hash),
        size,
    )
    return file(row) if row else None


async def rename(tx: Transaction, id: UUID, name: str, type: str) -> None:
    """It is called otherwise from now on."""
    await tx.execute("UPDATE file SET name = $2, type = $3 WHERE id = $1", id, name, type)


async def kept_blob(tx: Transaction, account: UUID, hash: str, size: int) -> UUID | None:
    """The bytes of an account with this hash."""
    found: UUID | None = await tx.fetchval(
        "SELECT id FROM blob WHERE owner = $1 AND hash = $2 AND size = $3 AND NOT gone FOR KEY SHARE",
        account,
        bytes.fromhex(hash),
        size,
    )
    return found


async def keep_blob(tx: Transaction, key: UUID, account: UUID, one: File) -> None:
    """These bytes are in the store."""
    await tx.execute(
        "INSERT INTO blob (id, owner, hash, size) VALUES ($1, $2, $3, $4)",
        key,
        account,
        bytes.fromhex(one.hash),
        one.size,
    )


async def unsettled(db: Database, limit: int) -> list[tuple[UUID, File]]:
    """Files that were finished long ago, and that whoever looked into them has left; and whose they are."""
    rows = await db.fetch(
        f"""
        SELECT f.owner, {COLUMNS} FROM file f WHERE f.state = 'processing' AND f.created_at < now() - interval '1 hour'
         ORDER BY f.id LIMIT $1
        """,
        limit,
    )
    return [(row["owner"], file(row)) for row in rows]


async def settle(
    db: Database,
    id: UUID,
    state: str,
    blob: UUID | None = None,
    details: Details | None = None,
    type: str | None = None,
) -> None:
    """What has become of it; what is not given stays."""
    await db.execute(
        "UPDATE file SET state = $2, blob = coalesce($3, blob), details = coalesce($4, details), "
        "type = coalesce($5, type) WHERE id = $1",
        id,
        state,
        blob,
        encode(details).decode() if details is not None else None,
        type,
    )


async def loosen(tx: Transaction, id: UUID, hours: float) -> None:
    """It goes after so many hours, unless a message carries it by then."""
    await tx.execute(
        """
        INSERT INTO file_loose AS l (file, due) VALUES ($1, now() + $2)
        ON CONFLICT (file) DO UPDATE SET due = greatest(l.due, excluded.due)
        """,
        id,
        timedelta(hours=hours),
    )


async def delete(db: Database, account: UUID, ids: Sequence[UUID]) -> int:
    """They are no more; how many there were."""
    tag = await db.execute("DELETE FROM file WHERE owner = $1 AND id = ANY ($2::uuid[])", account, list(ids))
    return int(tag.split()[-1])


async def some(db: Database, account: UUID, limit: int) -> list[UUID]:
    """Some of an account's."""
    rows = await db.fetch("SELECT id FROM file WHERE owner = $1 ORDER BY id LIMIT $2", account, limit)
    return [row["id"] for row in rows]


# What goes by itself


async def let_go(db: Database, limit: int) -> int:
    """Delete files whose time has come and that no message carries; how many were looked at."""
    found: int = await db.fetchval(
        """
        WITH due AS (DELETE FROM file_loose WHERE file = ANY (ARRAY
                        (SELECT file FROM file_loose WHERE due <= now() ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED))
                     RETURNING file),
             gone AS (DELETE FROM file WHERE id IN
                         (SELECT f.id FROM due d JOIN file f ON f.id = d.file WHERE f.purpose = ANY ($2::text[])
                             AND NOT EXISTS (SELECT FROM file_use u WHERE u.file = f.id)
                             FOR UPDATE OF f SKIP LOCKED))
        SELECT count(*) FROM due
        """,
        limit,
        list(CARRIED),
    )
    return found


async def forsake(db: Database, limit: int) -> list[UUID]:
    """Blobs that no file has: nobody finds them from now on. And those of which that is so already."""
    await db.execute(
        """
        UPDATE blob b SET gone = true WHERE b.id = ANY (ARRAY
               (SELECT b.id FROM blob b WHERE NOT b.gone AND NOT EXISTS (SELECT FROM file f WHERE f.blob = b.id)
                 LIMIT $1 FOR UPDATE SKIP LOCKED))
           AND NOT EXISTS (SELECT FROM file f WHERE f.blob = b.id)
        """,
        limit,
    )
    rows = await db.fetch("SELECT id FROM blob WHERE gone LIMIT $1", limit)
    return [row["id"] for row in rows]


async def variants(db: Database, blob: UUID) -> list[str]:
    """What else there is of a blob."""
    rows = await db.fetch("SELECT name FROM variant WHERE blob = $1", blob)
    return [row["name"] for row in rows]


async def add_variant(db: Database, blob: UUID, name: str, type: str, size: int) -> None:
    """There is something else of a blob; it is in the store already."""
    await db.execute(
        """
        INSERT INTO variant (blob, name, type, size) VALUES ($1, $2, $3, $4)
        ON CONFLICT (blob, name) DO UPDATE SET type = excluded.type, size = excluded.size
        """,
        blob,
        name,
        type,
        size,
    )


async def forget_blob(db: Database, blob: UUID) -> None:
    """Its bytes are removed."""
    await db.execute("DELETE FROM blob WHERE id = $1 AND gone", blob)
