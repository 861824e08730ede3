"""device: logins, their refresh chains and their end.

Rule: a revoked device never comes back; who revokes it tells the other processes after the commit.
"""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from protocol.device import Device, FcmPush, WebPush
from storage.pool import Database, Pool, Row

_MOST = 100
_RETRY_SECONDS = 60


class Chain(msgspec.Struct, frozen=True):
    """The state of a device's refresh chain, locked."""

    id: UUID
    account: UUID
    alive: bool
    current: bytes
    previous: bytes | None
    previous_nonce: UUID | None
    may_retry: bool


async def create(
    db: Database, device: UUID, account: UUID, name: str, address: str, refresh_hash: bytes, days: int
) -> None:
    """A new login; the account's oldest ones beyond a hundred end."""
    await db.execute(
        """
        INSERT INTO device (id, account, name, address, refresh_hash, expires_at)
        VALUES ($1, $2, $3, $4, $5, now() + $6)
        """,
        device,
        account,
        name,
        address,
        refresh_hash,
        timedelta(days=days),
    )
    await db.execute(
        """
        UPDATE device SET revoked_at = now(), push = NULL WHERE id IN
               (SELECT id FROM device WHERE account = $1 AND revoked_at IS NULL ORDER BY seen_at DESC OFFSET $2)
        """,
        account,
        _MOST,
    )


async def fresh(db: Database, device: UUID | None) -> bool:
    """Whether it logged in within the last ten minutes."""
    return bool(
        await db.fetchval("SELECT created_at > now() - interval '10 minutes' FROM device WHERE id = $1", device)
    )


async def known_address(db: Database, account: UUID, address: str) -> bool:
    """Whether the account is logged in from this address."""
    return bool(
        await db.fetchval(
            "SELECT EXISTS (SELECT FROM device WHERE account = $1 AND address = $2 AND revoked_at IS NULL)",
            account,
            address,
        )
    )


async def chain(db: Database, device: UUID) -> Chain | None:
    """The refresh chain, locked until the transaction ends."""
    row = await db.fetchrow(
        """
        SELECT d.id, d.account, d.refresh_hash, d.previous_hash, d.previous_nonce,
               d.revoked_at IS NULL AND d.expires_at > now() AND a.deleted_at IS NULL AS alive,
               d.rotated_at > now() - $2::interval AS may_retry
          FROM device d JOIN account a ON a.id = d.account WHERE d.id = $1 FOR UPDATE OF d
        """,
        device,
        timedelta(seconds=_RETRY_SECONDS),
    )
    if row is None:
        return None
    return Chain(
        row["id"],
        row["account"],
        row["alive"],
        row["refresh_hash"],
        row["previous_hash"],
        row["previous_nonce"],
        row["may_retry"],
    )


async def advance(db: Database, device: UUID, refresh_hash: bytes, nonce: UUID, address: str, days: int) -> None:
    """Replace the refresh token by its successor."""
    await db.execute(
        """
        UPDATE device SET previous_hash = refresh_hash, previous_nonce = $3, refresh_hash = $2, rotated_at = now(),
               seen_at = now(), address = $4, expires_at = now() + $5 WHERE id = $1
        """,
        device,
        refresh_hash,
        nonce,
        address,
        timedelta(days=days),
    )


async def listing(db: Database, account: UUID, current: UUID | None) -> list[Device]:
    """The account's logins, the one last seen first."""
    rows = await db.fetch(
        """
        SELECT id, name, address, created_at, seen_at, push FROM device
         WHERE account = $1 AND revoked_at IS NULL AND expires_at > now() ORDER BY seen_at DESC LIMIT $2
        """,
        account,
        _MOST,
    )
    return [_device(row, current) for row in rows]


def _device(row: Row, current: UUID | None) -> Device:
    return Device(
        id=row["id"],
        name=row["name"],
        address=row["address"],
        created_at=row["created_at"],
        seen_at=row["seen_at"],
        current=row["id"] == current,
        push=row["push"] is not None,
    )


async def own(db: Pool, viewer: UUID, device: UUID) -> Device | None:
    """A live device of the viewer."""
    row = await db.fetchrow(
        """
        SELECT id, name, address, created_at, seen_at, push FROM device
         WHERE id = $2 AND account = $1 AND revoked_at IS NULL
        """,
        viewer,
        device,
    )
    return _device(row, None) if row else None


async def revoke(db: Database, device: UUID) -> list[UUID]:
    """End one login."""
    rows = await db.fetch(
        "UPDATE device SET revoked_at = now(), push = NULL WHERE id = $1 AND revoked_at IS NULL RETURNING id",
        device,
    )
    return [row["id"] for row in rows]


async def revoke_all(db: Database, account: UUID, but: UUID | None = None) -> list[UUID]:
    """End all logins of an account, but perhaps one."""
    rows = await db.fetch(
        """
        UPDATE device SET revoked_at = now(), push = NULL
         WHERE account = $1 AND revoked_at IS NULL AND id IS DISTINCT FROM $2 RETURNING id
        """,
        account,
        but,
    )
    return [row["id"] for row in rows]


async def revoked_since(db: Database, since: datetime | None) -> tuple[datetime, list[UUID]]:
    """The devices and API keys revoked after a moment, and the moment to ask from next time.

    A revocation becomes visible when its transaction commits, later than its `now()`: the caller asks with an overlap.
    """
    rows = await db.fetch(
        """
        SELECT now() AS at, NULL::uuid AS id
        UNION ALL SELECT now(), id FROM device WHERE revoked_at > $1
        UNION ALL SELECT now(), id FROM api_key WHERE revoked_at > $1
        """,
        since,
    )
    return rows[0]["at"], [row["id"] for row in rows if row["id"] is not None]


async def set_push(db: Database, device: UUID, push: WebPush | FcmPush | None) -> None:
    """Where notifications for this device go."""
    text = msgspec.json.encode(push).decode() if push else None
    await db.execute("UPDATE device SET push = $2 WHERE id = $1 AND revoked_at IS NULL", device, text)


async def prune(db: Database) -> None:
    """Forget logins that ended long ago."""
    await db.execute(
        "DELETE FROM device WHERE revoked_at < now() - interval '90 days' OR expires_at < now() - interval '90 days'"
    )
