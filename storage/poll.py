"""poll: who has chosen what; how many that are stands with the message, and is written while its stream is locked."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from protocol.ballot import Poll
from protocol.codec import encode
from protocol.poll import Vote, Votes
from storage.pool import Database, Transaction
from storage.standing import ACCESS, Standing

_NOBODY = UUID(int=0)


async def chosen(db: Database, channel: UUID, seq: int, account: UUID) -> list[int]:
    """What somebody has chosen."""
    found: list[int] | None = await db.fetchval(
        "SELECT options FROM vote WHERE channel = $1 AND seq = $2 AND account = $3", channel, seq, account
    )
    return found or []


async def own(db: Database, viewer: UUID, channel: Standing, seq: int) -> list[int]:
    """What the viewer has chosen in a channel that they are in."""
    rows = await db.fetch(
        f"""
        SELECT {ACCESS} AS access, v.options FROM stream s
          LEFT JOIN vote v ON v.channel = s.id AND v.seq = $2 AND v.account = $3 WHERE s.id = $1
        """,
        channel.id,
        seq,
        viewer,
    )
    channel.check(rows)
    return rows[0]["options"] or []


async def page(db: Database, channel: Standing, seq: int, after: UUID | None, limit: int) -> Votes:
    """Everybody's votes, in no order but one, strictly after somebody's."""
    rows = await db.fetch(
        f"""
        SELECT {ACCESS} AS access, v.* FROM stream s LEFT JOIN LATERAL (
            SELECT account, options, at FROM vote WHERE channel = s.id AND seq = $2 AND account > $3
             ORDER BY account LIMIT $4) v ON true
         WHERE s.id = $1
        """,
        channel.id,
        seq,
        after or _NOBODY,
        limit + 1,
    )
    channel.check(rows)
    found = [Vote(user=row["account"], options=row["options"], at=row["at"]) for row in rows if row["account"]]
    more = len(found) > limit
    return Votes(votes=found[:limit], next=found[limit - 1].user if more else None)


# Changing; the stream is locked


async def choose(tx: Transaction, channel: UUID, seq: int, account: UUID, options: Sequence[int]) -> None:
    """From now on somebody has chosen these; none takes their vote back."""
    if not options:
        await tx.execute("DELETE FROM vote WHERE channel = $1 AND seq = $2 AND account = $3", channel, seq, account)
        return
    await tx.execute(
        """
        INSERT INTO vote (channel, seq, account, options) VALUES ($1, $2, $3, $4)
        ON CONFLICT (channel, seq, account) DO UPDATE SET options = excluded.options, at = now()
        """,
        channel,
        seq,
        account,
        list(options),
    )


async def keep(tx: Transaction, channel: UUID, seq: int, poll: Poll) -> None:
    """How it is now, told with the message."""
    await tx.execute(
        "UPDATE message SET poll = $3 WHERE channel = $1 AND seq = $2", channel, seq, encode(poll).decode()
    )
