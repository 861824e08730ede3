"""deed: what was done in spaces: by whom, to what, what it was before and after, and why."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from protocol.codec import encode
from storage.pool import Database


async def note(
    db: Database,
    space: UUID,
    by: UUID | None,
    action: str,
    target: UUID | None,
    before: Struct | None,
    after: Struct | None,
    reason: str,
) -> None:
    """Written in the transaction of what it tells; of what stood before and after only what differs is kept."""
    was, now = _told(before), _told(after)
    same = {name for name in was.keys() & now.keys() if was[name] == now[name]}
    await db.execute(
        """
        INSERT INTO deed (space, by, action, target, before, after, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        space,
        by,
        action,
        target,
        encode({name: value for name, value in was.items() if name not in same}).decode(),
        encode({name: value for name, value in now.items() if name not in same}).decode(),
        reason,
    )


def _told(body: Struct | None) -> dict[str, object]:
    return {name: getattr(body, name) for name in body.__struct_fields__ if name != "id"} if body is not None else {}
