"""membership: how somebody stands in a channel: how far they are, and what is unread there.

In groups that is in the row of the member; in a space in `mark`, which is made when it is needed first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from protocol.channel import Membership, Memberships
from protocol.codec import encode
from protocol.message import Marks
from storage import channel as channels
from storage import cursor, message
from storage.pool import Database, Row, Transaction
from storage.standing import Standing
from storage.summons import MEANT

_PREVIEW = 200
_PAGE_BYTES = 200_000
_SCANNED, _SCANNED_FOR_LAST = 2000, 500  # newest messages, of whatever kind: a scan for what is there is not endless
_HIDDEN = "(SELECT FROM hidden h WHERE h.channel = x.channel AND h.account = $1 AND h.seq = x.seq)"
# Of a member `m` of channel `m.channel`, who is $1.
_UNREAD = f"""
    (SELECT count(*) FROM (
        SELECT FROM (SELECT x.channel, x.seq, x.author, x.deleted_at FROM message x
                      WHERE x.channel = m.channel AND x.seq > m.read ORDER BY x.seq DESC LIMIT {_SCANNED}) x
         WHERE x.author <> $1 AND x.deleted_at IS NULL AND NOT EXISTS {_HIDDEN} LIMIT 1000) y)
"""
_MENTIONS = f"""
    (SELECT count(*) FROM (
        SELECT FROM (SELECT x.channel, x.seq FROM mention x
                      WHERE x.account = $1 AND x.channel = m.channel AND x.seq > m.read
                      ORDER BY x.seq DESC LIMIT {_SCANNED}) x
         WHERE NOT EXISTS {_HIDDEN} LIMIT 1000) y)
"""
# The same of roles and of everyone, in spaces.
_MEANT = f"""
    (SELECT count(*) FROM (
        SELECT FROM message x JOIN channel e ON e.id = x.channel
          JOIN space_member r ON r.space = e.space AND r.account = $1
         WHERE x.channel = m.channel AND x.seq > m.read AND {MEANT} AND NOT EXISTS {_HIDDEN} LIMIT 1000) y)
"""
_MENTIONS_IN = {False: _MENTIONS, True: f"least(1000, {_MENTIONS} + {_MEANT})"}  # by whether it is in a space


def _membership(row: Row, viewer: UUID) -> Membership:
    low, high = row["low"], row["high"]
    last = message.message(row) if row["seq"] is not None else None
    return Membership(
        channel=channels.channel(row),
        joined=True,
        peer=None if low is None or low == high else high if low == viewer else low,
        head=row["head"],
        read=row["read"],
        delivered=row["delivered"],
        unread=row["unread"],
        mentions=row["unread_mentions"],
        muted_until=row["muted_until"],
        last=last,
    )


_LAST = message.COLUMNS.replace("m.text", f"left(m.text, {_PREVIEW}) AS text")


async def _memberships(db: Database, chosen: str, viewer: UUID, *values: Any, in_space: bool = False) -> list[Row]:
    """One query, whatever the number: `chosen` selects members with their stream's head."""
    return await db.fetch(
        f"""
        SELECT {channels.COLUMNS}, m.head, m.read, m.delivered, m.muted_until, m.moved_at, d.low, d.high,
               {_UNREAD} AS unread, {_MENTIONS_IN[in_space]} AS unread_mentions, l.*
          FROM ({chosen}) m JOIN channel c ON c.id = m.channel LEFT JOIN direct d ON d.channel = c.id
          LEFT JOIN LATERAL (
              SELECT {_LAST}
                FROM (SELECT * FROM message m WHERE m.channel = c.id ORDER BY m.seq DESC LIMIT {_SCANNED_FOR_LAST}) m
               WHERE m.deleted_at IS NULL AND NOT EXISTS
                   (SELECT FROM hidden h WHERE h.channel = m.channel AND h.account = $1 AND h.seq = m.seq)
               ORDER BY m.seq DESC LIMIT 1) l ON true
         ORDER BY m.moved_at DESC, c.id DESC
        """,
        viewer,
        *values,
    )


# How far who has never looked counts as having read channel `s`: what was there when they came, as `r`.
_READ_AT_FIRST = f"""
    CASE WHEN s.moved_at <= r.joined_at THEN s.last ELSE
         (SELECT coalesce(max(x.seq), 0) FROM (SELECT x.seq, x.sent_at FROM message x WHERE x.channel = s.id
                   ORDER BY x.seq DESC LIMIT {_SCANNED}) x WHERE x.sent_at <= r.joined_at) END
"""


async def get(db: Database, viewer: UUID, channel: UUID, *, in_space: bool = False) -> Membership | None:
    """How the viewer stands in a channel; in a space, one that they see."""
    chosen = """
        SELECT m.*, s.head, s.moved_at FROM member m JOIN stream s ON s.id = m.channel
         WHERE m.account = $1 AND m.channel = $2
    """
    if in_space:
        chosen = f"""
            SELECT s.id AS channel, r.account, s.head, s.moved_at, k.muted_until, coalesce(k.delivered, 0) AS delivered,
                   coalesce(k.read, {_READ_AT_FIRST}) AS read
              FROM channel e JOIN stream s ON s.id = e.id JOIN space_member r ON r.space = e.space AND r.account = $1
              LEFT JOIN mark k ON k.channel = s.id AND k.account = $1 WHERE e.id = $2
        """
    rows = await _memberships(db, chosen, viewer, channel, in_space=in_space)
    return _membership(rows[0], viewer) if rows else None


async def page(db: Database, viewer: UUID, after: str | None, limit: int) -> Memberships:
    """The viewer's channels, the one that moved last first; fewer when a frame holds no more."""
    chosen = """
        SELECT m.*, s.head, s.moved_at FROM member m JOIN stream s ON s.id = m.channel
         WHERE m.account = $1 AND (s.moved_at, s.id) < ($2, $3) ORDER BY s.moved_at DESC, s.id DESC LIMIT $4
    """
    moved_at, channel = cursor.read(after, cursor.LAST)
    rows = await _memberships(db, chosen, viewer, moved_at, channel, limit + 1)
    cursors = [cursor.write(row["moved_at"], row["id"]) for row in rows]
    found = [_membership(row, viewer) for row in rows[:limit]]
    size = 0
    for number, one in enumerate(found):
        size += len(encode(one))
        if size > _PAGE_BYTES and number:
            return Memberships(channels=found[:number], next=cursors[number - 1])
    return Memberships(channels=found, next=cursors[limit - 1] if len(rows) > limit else None)


async def among(db: Database, viewer: UUID, channels: Sequence[UUID]) -> list[Membership]:
    """How the viewer stands in those of these channels that they are in, in this order."""
    chosen = """
        SELECT m.*, s.head, s.moved_at FROM member m JOIN stream s ON s.id = m.channel
         WHERE m.account = $1 AND m.channel = ANY ($2::uuid[])
    """
    found = {row["id"]: _membership(row, viewer) for row in await _memberships(db, chosen, viewer, list(channels))}
    return [found[channel] for channel in channels if channel in found]


# Changing


async def mute(tx: Transaction, channel: Standing, account: UUID, until: datetime | None) -> None:
    """Until when somebody is not notified."""
    table = await _marked_in(tx, channel, account)
    await tx.execute(
        f"UPDATE {table} SET muted_until = $3 WHERE channel = $1 AND account = $2", channel.id, account, until
    )


async def _marked_in(db: Database, channel: Standing, account: UUID) -> str:
    """The table with what an account keeps of a channel; in a space the row is made when it is needed first."""
    if channel.space is None:
        return "member"
    await db.execute(
        f"""
        INSERT INTO mark (channel, account, read) SELECT s.id, r.account, {_READ_AT_FIRST}
          FROM stream s JOIN space_member r ON r.space = s.guard AND r.account = $2 WHERE s.id = $1
        ON CONFLICT DO NOTHING
        """,
        channel.id,
        account,
    )
    return "mark"


class Marked(Struct, frozen=True):
    """How far somebody is in a channel, whether that has changed, and among how many."""

    marks: Marks
    moved: bool
    members: int


async def mark(db: Database, account: UUID, channel: Standing, read: int, delivered: int) -> Marked | None:
    """Move positions forward, as far as there are facts; where they are now."""
    table, mentions = await _marked_in(db, channel, account), _MENTIONS_IN[channel.space is not None]
    row = await db.fetchrow(
        f"""
        WITH before AS (
            SELECT s.head, m.read, m.delivered, greatest(m.read, least(s.head, $3)) AS to_read,
                   greatest(m.delivered, least(s.head, greatest($3, $4))) AS to_delivered
              FROM {table} m JOIN stream s ON s.id = m.channel WHERE m.account = $1 AND m.channel = $2 FOR UPDATE OF m
        ), m AS (
            UPDATE {table} SET read = to_read, delivered = to_delivered FROM before
             WHERE account = $1 AND channel = $2 RETURNING channel, head, to_read AS read, to_delivered AS delivered,
                   (before.read, before.delivered) <> (to_read, to_delivered) AS moved
        )
        SELECT m.head, m.read, m.delivered, m.moved, {_UNREAD} AS unread, {mentions} AS mentions, c.members
          FROM m JOIN channel c ON c.id = m.channel
        """,
        account,
        channel.id,
        read,
        delivered,
    )
    if row is None:
        return None
    marks = Marks(
        head=row["head"],
        read=row["read"],
        delivered=row["delivered"],
        unread=row["unread"],
        mentions=row["mentions"],
    )
    return Marked(marks, row["moved"], row["members"])
