"""api_key: keys of programs; only hashes are kept."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from msgspec import Struct

from protocol.api_key import ApiKey
from storage.ids import new_id
from storage.pool import Database, Pool, Row

MOST = 50


class Grant(Struct, frozen=True):
    """What a valid key stands for."""

    id: UUID
    account: UUID
    scopes: list[str]


def _key(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        scopes=row["scopes"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
    )


async def create(
    db: Database, account: UUID, name: str, digest: bytes, scopes: Sequence[str], days: int | None
) -> ApiKey | None:
    """A new key; None when the account has as many as it may."""
    row = await db.fetchrow(
        """
        INSERT INTO api_key (id, account, name, hash, scopes, expires_at)
        SELECT $1, $2, $3, $4, $5, now() + $6::interval
         WHERE (SELECT count(*) FROM api_key WHERE account = $2 AND revoked_at IS NULL) < $7
        RETURNING id, name, scopes, created_at, expires_at, used_at
        """,
        new_id(),
        account,
        name,
        digest,
        list(scopes),
        timedelta(days=days) if days else None,
        MOST,
    )
    return _key(row) if row else None


async def listing(db: Database, account: UUID) -> list[ApiKey]:
    """The account's keys, the newest first."""
    rows = await db.fetch(
        """
        SELECT id, name, scopes, created_at, expires_at, used_at FROM api_key
         WHERE account = $1 AND revoked_at IS NULL ORDER BY created_at DESC LIMIT $2
        """,
        account,
        MOST,
    )
    return [_key(row) for row in rows]


async def own(db: Pool, viewer: UUID, key: UUID) -> ApiKey | None:
    """A live key of the viewer."""
    row = await db.fetchrow(
        """
        SELECT id, name, scopes, created_at, expires_at, used_at FROM api_key
         WHERE id = $2 AND account = $1 AND revoked_at IS NULL
        """,
        viewer,
        key,
    )
    return _key(row) if row else None


async def use(db: Database, digest: bytes) -> Grant | None:
    """The live key with this hash, noting that it was used."""
    row = await db.fetchrow(
        """
        UPDATE api_key k SET used_at = now() FROM account a
         WHERE k.hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
           AND a.id = k.account AND a.deleted_at IS NULL
        RETURNING k.id, k.account, k.scopes
        """,
        digest,
    )
    return Grant(row["id"], row["account"], row["scopes"]) if row else None


async def revoke(db: Database, key: UUID) -> list[UUID]:
    """End one key."""
    rows = await db.fetch(
        "UPDATE api_key SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING id", key
    )
    return [row["id"] for row in rows]


async def revoke_all(db: Database, account: UUID) -> list[UUID]:
    """End all keys of an account."""
    rows = await db.fetch(
        "UPDATE api_key SET revoked_at = now() WHERE account = $1 AND revoked_at IS NULL RETURNING id",
        account,
    )
    return [row["id"] for row in rows]
