"""expiry: messages that disappear at a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from storage.pool import Transaction


async def expired(tx: Transaction, channel: UUID, limit: int) -> list[int]:
    """Some whose time is over, those first that have been waiting for longest."""
    rows = await tx.fetch(
        "SELECT seq FROM message WHERE channel = $1 AND expires_at <= now() ORDER BY expires_at LIMIT $2",
        channel,
        limit,
    )
    return [row["seq"] for row in rows]


async def next_at(tx: Transaction, channel: UUID, pause: float) -> datetime | None:
    """When the next one disappears, but not before so many seconds: those until then go together with it."""
    found: datetime | None = await tx.fetchval(
        """
        SELECT greatest(expires_at, now() + $2) FROM message WHERE channel = $1 AND expires_at IS NOT NULL
         ORDER BY expires_at LIMIT 1
        """,
        channel,
        timedelta(seconds=pause),
    )
    return found
