"""instance: what this database belongs to."""

from collections.abc import Set

from storage.ids import new_id
from storage.pool import Pool, StorageError


async def claim(db: Pool, key_id: str, accepted: Set[str]) -> None:
    """Note which key this database is used with, and refuse a server that cannot read what it holds."""
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO instance (id, key_id) VALUES ($1, $2) ON CONFLICT DO NOTHING", new_id(), key_id)
        known = await tx.fetchval("SELECT key_id FROM instance FOR UPDATE")
        if known not in accepted:
            raise StorageError(
                "this database was made with another secret: set ONESOCKET_SECRET (or put secret.key into the data "
                "folder) as it was, or add the old one to `previous_secrets` when rotating"
            )
        lost = await tx.fetchval(
            "SELECT count(*) FROM two_factor WHERE encode(substr(secret, 1, 6), 'hex') <> ALL($1::text[])",
            list(accepted),
        )
        if lost:
            raise StorageError(
                f"{lost} authenticators were sealed with a secret that this server is not given any more: add it to "
                "`previous_secrets` once more, or their owners cannot log in"
            )
        if known != key_id:
            await tx.execute("UPDATE instance SET key_id = $1", key_id)


async def has_owner(db: Pool) -> bool:
    """Whether somebody owns this server."""
    return bool(await db.fetchval("SELECT EXISTS (SELECT FROM account WHERE role = 'owner')"))
