"""audit: security events, written in the transaction of what they tell."""

from uuid import UUID

import msgspec

from protocol.audit import AuditEntry, AuditPage
from storage.pool import Database, Row


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
    found = await entries(db, account, before, limit + 1)
    return AuditPage(
        entries=[entry for _, entry in found[:limit]], next=found[limit - 1][0] if len(found) > limit else None
    )


async def entries(db: Database, account: UUID, before: int | None, limit: int) -> list[tuple[int, AuditEntry]]:
    """The same, each with its id."""
    rows = await db.fetch(
        """
        SELECT id, at, action, address, device, detail FROM audit
         WHERE account = $1 AND id < $2 ORDER BY id DESC LIMIT $3
        """,
        account,
        before or 2**63 - 1,
        limit,
    )
    return [(row["id"], _entry(row)) for row in rows]


def _entry(row: Row) -> AuditEntry:
    return AuditEntry(
        at=row["at"],
        action=row["action"],
        address=row["address"],
        device=row["device"],
        detail=msgspec.json.decode(row["detail"]),
    )


async def prune(db: Database, days: int) -> None:
    """Forget what is older than it needs to be."""
    await db.execute("DELETE FROM audit WHERE at < now() - make_interval(days => $1)", days)
