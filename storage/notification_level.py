"""notification_level: what accounts want to be notified of, in spaces and channels."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from protocol.notification import Level, Setting
from storage.pool import Database, Transaction

MOST = 500


async def configure(tx: Transaction, account: UUID, place: UUID, level: Level | None, until: datetime | None) -> bool:
    """Keep what somebody has chosen; False when there is no room for one more."""
    await tx.execute(
        "DELETE FROM notification_level WHERE account = $1 AND (place = $2 OR until <= now())", account, place
    )
    if level is None:
        return True
    tag = await tx.execute(
        f"""
        INSERT INTO notification_level (account, place, level, until)
        SELECT $1::uuid, $2::uuid, $3::text, $4::timestamptz
         WHERE (SELECT count(*) FROM notification_level WHERE account = $1) < {MOST}
        """,
        account,
        place,
        level,
        until,
    )
    return tag.endswith(" 1")


async def chosen(db: Database, account: UUID, place: UUID) -> tuple[Level | None, datetime | None]:
    """What somebody has chosen for a place."""
    row = await db.fetchrow(
        """
        SELECT level, until FROM notification_level
         WHERE account = $1 AND place = $2 AND (until IS NULL OR until > now())
        """,
        account,
        place,
    )
    return (row["level"], row["until"]) if row is not None else (None, None)


async def settings(db: Database, account: UUID) -> list[Setting]:
    """All that somebody has chosen."""
    rows = await db.fetch(
        """
        SELECT p.id AS space, c.id AS channel, l.level, l.until FROM notification_level l
          LEFT JOIN space p ON p.id = l.place LEFT JOIN channel c ON c.id = l.place
         WHERE l.account = $1 AND (l.until IS NULL OR l.until > now()) ORDER BY l.place
        """,
        account,
    )
    return [Setting(space=row["space"], channel=row["channel"], level=row["level"], until=row["until"]) for row in rows]
