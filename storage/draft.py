"""draft: what somebody has begun to write in a channel."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from protocol.draft import Draft, Drafts
from storage.pool import Database, Row, Transaction

# Of a table that goes by `d`, beside the columns of others.
COLUMNS = "d.channel AS drafted, d.text AS draft, d.reply_to AS draft_reply_to, d.saved_at"
_MOST = 100


def draft(row: Row) -> Draft:
    """A draft from a row with these columns."""
    return Draft(channel=row["drafted"], text=row["draft"], reply_to=row["draft_reply_to"], saved_at=row["saved_at"])


async def save(tx: Transaction, account: UUID, channel: UUID, text: str, reply_to: int | None) -> datetime | None:
    """Keep it; when that was, None when there is no room for another."""
    at: datetime | None = await tx.fetchval(
        f"""
        INSERT INTO draft (account, channel, text, reply_to) SELECT $1::uuid, $2::uuid, $3::text, $4::bigint
         WHERE (SELECT count(*) FROM draft WHERE account = $1 AND channel <> $2) < {_MOST}
        ON CONFLICT (account, channel) DO UPDATE
           SET text = excluded.text, reply_to = excluded.reply_to, saved_at = now()
        RETURNING saved_at
        """,
        account,
        channel,
        text,
        reply_to,
    )
    return at


async def clear(tx: Transaction, account: UUID, channel: UUID) -> bool:
    """Forget it; whether there was one."""
    return (await tx.execute("DELETE FROM draft WHERE account = $1 AND channel = $2", account, channel)).endswith("1")


async def listing(db: Database, account: UUID) -> Drafts:
    """The newest first."""
    rows = await db.fetch(
        f"SELECT {COLUMNS} FROM draft d WHERE account = $1 ORDER BY saved_at DESC LIMIT {_MOST}", account
    )
    return Drafts(drafts=[draft(row) for row in rows])
