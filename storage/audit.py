"""audit: security events, written in the transaction of what they tell."""

from uuid import UUID

import msgspec

from protocol.audit import AuditEntry, AuditPage
from storage.pool import Database


class Origin(msgspec.Struct, frozen=True):
    """Where a request came from."""

    address: str = ""
    device: UUID | None = None


async def record(db: Database, account: UUID, action: str, origin: Origin, **detail: str) -> None:
    """Remember what happened; `detail` holds names and ids, never secrets."""
    await db.execute(
        "INSERT INTO audit (account, action, address, device, detail) VALUES ($1, $2, $3, $4, $5)",
        account,
        action,
        origin.address,
        origin.device,
        msgspec.json.encode(detail).decode(),
    )


async def page(db: Database, account: UUID, before: int | None, limit: int) -> AuditPage:
    """Newest first, strictly older than `before`."""
    rows = await db.fetch(
        """
        SELECT id, at, action, address, device, detail FROM audit
         WHERE account = $1 AND id < $2 ORDER BY id DESC LIMIT $3
        """,
        account,
        before or 2**63 - 1,
        limit + 1,
    )
    entries = [
        AuditEntry(
            at=row["at"],
            action=row["action"],
            address=row["address"],
            device=row["device"],
            detail=msgspec.json.decode(row["detail"]),
        )
        for row in rows[:limit]
    ]
    return AuditPage(entries=entries, next=rows[limit - 1]["id"] if len(rows) > limit else None)


async def prune(db: Database, days: int) -> None:
    """Forget what is older than it needs to be."""
    await db.execute("DELETE FROM audit WHERE at < now() - make_interval(days => $1)", days)
