"""channel: where messages stand, who is in, and how each stands there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from protocol.channel import Channel, Membership, Memberships
from protocol.codec import encode
from protocol.message import Marks
from storage import message
from storage.ids import new_id
from storage.pool import Database, Row, Transaction
from storage.standing import Standing

# Of a table that goes by `c`.
COLUMNS = """
    c.id, c.kind, c.name, c.topic, c.description, c.avatar, c.open, c.owner, c.members, c.created_at, c.space, c.parent,
    c.position, c.slow, c.seats, c.disappears_after, c.keeps_for
"""
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


def channel(row: Row) -> Channel:
    """A channel from a row with its columns."""
    return Channel(
        id=row["id"],
        kind=row["kind"],
        name=row["name"],
        topic=row["topic"],
        description=row["description"],
        avatar=row["avatar"],
        open=row["open"],
        owner=row["owner"],
        members=row["members"],
        created_at=row["created_at"],
        space=row["space"],
        parent=row["parent"],
        position=row["position"],
        slow=row["slow"],
        seats=row["seats"],
        disappears_after=row["disappears_after"],
        keeps_for=row["keeps_for"],
    )


# Looking at one


async def enterable(db: Database, viewer: UUID, channel: UUID) -> Channel | None:
    """A channel that the viewer is in, or an open group."""
    row = await db.fetchrow(
        f"""
        SELECT {COLUMNS} FROM channel c WHERE c.id = $2
           AND (c.open OR EXISTS (SELECT FROM member m WHERE m.channel = c.id AND m.account = $1))
        """,
        viewer,
        channel,
    )
    return _channel_or_none(row)


def _channel_or_none(row: Row | None) -> Channel | None:
    return channel(row) if row else None


async def get(db: Database, id: UUID) -> Channel:
    """A channel that exists."""
    row = await db.fetchrow(f"SELECT {COLUMNS} FROM channel c WHERE c.id = $1", id)
    assert row is not None
    return channel(row)


# Memberships


def _membership(row: Row, viewer: UUID) -> Membership:
    low, high = row["low"], row["high"]
    last = message.message(row) if row["seq"] is not None else None
    return Membership(
        channel=channel(row),
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


async def _memberships(db: Database, chosen: str, viewer: UUID, *values: Any) -> list[Row]:
    """One query, whatever the number: `chosen` selects members with their stream's head."""
    return await db.fetch(
        f"""
        SELECT {COLUMNS}, m.head, m.read, m.delivered, m.muted_until, m.moved_at, d.low, d.high,
               {_UNREAD} AS unread, {_MENTIONS} AS unread_mentions, l.*
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


async def membership(db: Database, viewer: UUID, channel: UUID, *, in_space: bool = False) -> Membership | None:
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
    rows = await _memberships(db, chosen, viewer, channel)
    return _membership(rows[0], viewer) if rows else None


async def memberships(db: Database, viewer: UUID, after: str | None, limit: int) -> Memberships:
    """The viewer's channels, the one that moved last first; fewer when a frame holds no more."""
    chosen = """
        SELECT m.*, s.head, s.moved_at FROM member m JOIN stream s ON s.id = m.channel
         WHERE m.account = $1 AND (s.moved_at, s.id) < ($2, $3) ORDER BY s.moved_at DESC, s.id DESC LIMIT $4
    """
    moved_at, channel = _read_cursor(after)
    rows = await _memberships(db, chosen, viewer, moved_at, channel, limit + 1)
    cursors = [f"{row['moved_at'].isoformat()} {row['id']}" for row in rows]
    found = [_membership(row, viewer) for row in rows[:limit]]
    size = 0
    for number, one in enumerate(found):
        size += len(encode(one))
        if size > _PAGE_BYTES and number:
            return Memberships(channels=found[:number], next=cursors[number - 1])
    return Memberships(channels=found, next=cursors[limit - 1] if len(rows) > limit else None)


async def memberships_in(db: Database, viewer: UUID, channels: Sequence[UUID]) -> list[Membership]:
    """How the viewer stands in those of these channels that they are in, in this order."""
    chosen = """
        SELECT m.*, s.head, s.moved_at FROM member m JOIN stream s ON s.id = m.channel
         WHERE m.account = $1 AND m.channel = ANY ($2::uuid[])
    """
    found = {row["id"]: _membership(row, viewer) for row in await _memberships(db, chosen, viewer, list(channels))}
    return [found[channel] for channel in channels if channel in found]


def _read_cursor(text: str | None) -> tuple[datetime, UUID]:
    """Where a page begins; a cursor that is none begins at the beginning."""
    try:
        moved_at, _, channel = (text or "").partition(" ")
        at = datetime.fromisoformat(moved_at)
        return (at.astimezone(UTC), UUID(channel)) if at.tzinfo else (_END, _LAST_ID)
    except (ValueError, OverflowError):
        return _END, _LAST_ID


_END, _LAST_ID = datetime.fromisoformat("9999-01-01T00:00:00+00:00"), UUID(int=2**128 - 1)


# Making


async def create(tx: Transaction, kind: str, id: UUID, creator: UUID, **fields: Any) -> None:
    """A channel of an existing stream, with nobody in it yet."""
    await tx.execute(
        """
        INSERT INTO channel
               (id, kind, name, topic, description, avatar, open, owner, creator, nonce, space, parent, slow, seats,
                position)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, CASE WHEN $11::uuid IS NULL THEN 0 ELSE
               (SELECT coalesce(max(position), -1) + 1 FROM channel WHERE space = $11 AND kind <> 'thread') END)
        """,
        id,
        kind,
        fields.get("name", ""),
        fields.get("topic", ""),
        fields.get("description", ""),
        fields.get("avatar", ""),
        fields.get("open", False),
        creator if kind in ("group", "saved") else None,
        creator,
        fields.get("nonce") or new_id(),
        fields.get("space"),
        fields.get("parent"),
        fields.get("slow", 0),
        fields.get("seats", 0),
    )


async def made_with(db: Database, creator: UUID, nonce: UUID) -> UUID | None:
    """The channel that this nonce has made."""
    found: UUID | None = await db.fetchval("SELECT id FROM channel WHERE creator = $1 AND nonce = $2", creator, nonce)
    return found


async def direct(db: Database, one: UUID, other: UUID) -> UUID | None:
    """The channel of two, if they have one."""
    low, high = sorted((one, other))
    found: UUID | None = await db.fetchval("SELECT channel FROM direct WHERE low = $1 AND high = $2", low, high)
    return found


async def pair(tx: Transaction, one: UUID, other: UUID, channel: UUID) -> bool:
    """Make a channel that of two; False when they have one."""
    low, high = sorted((one, other))
    tag = await tx.execute(
        "INSERT INTO direct (low, high, channel) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", low, high, channel
    )
    return tag.endswith("1")


# Changing; the stream is locked


async def enter(tx: Transaction, channel: UUID, accounts: Sequence[UUID], head: int) -> list[UUID]:
    """Put accounts in, with everything so far counted as read; those who were not there."""
    rows = await tx.fetch(
        """
        INSERT INTO member (channel, account, read, delivered)
        SELECT $1, a.id, $3, $3 FROM unnest($2::uuid[]) AS t(id) JOIN account a USING (id) WHERE a.deleted_at IS NULL
        ON CONFLICT DO NOTHING RETURNING account
        """,
        channel,
        list(accounts),
        head,
    )
    await tx.execute("UPDATE channel SET members = members + $2 WHERE id = $1", channel, len(rows))
    return [row["account"] for row in rows]


async def leave(tx: Transaction, channel: UUID, account: UUID) -> bool:
    """Take an account out; whether it was there."""
    tag = await tx.execute("DELETE FROM member WHERE channel = $1 AND account = $2", channel, account)
    if not tag.endswith("1"):
        return False
    await tx.execute("DELETE FROM draft WHERE channel = $1 AND account = $2", channel, account)
    await tx.execute("DELETE FROM mention WHERE channel = $1 AND account = $2", channel, account)
    await tx.execute("UPDATE channel SET members = members - 1 WHERE id = $1", channel)
    return True


async def hand_over(tx: Transaction, channel: UUID) -> UUID | None:
    """Let who has been in it longest own it; nobody, when all who are left are about to leave."""
    owner: UUID | None = await tx.fetchval(
        """
        UPDATE channel SET owner =
               (SELECT m.account FROM member m JOIN account a ON a.id = m.account
                 WHERE m.channel = $1 AND a.deleted_at IS NULL ORDER BY m.joined_at, m.account LIMIT 1)
         WHERE id = $1 RETURNING owner
        """,
        channel,
    )
    return owner


async def not_in(tx: Transaction, channel: UUID, accounts: Sequence[UUID]) -> list[UUID]:
    """Those of these accounts that are not in the channel, and could be."""
    rows = await tx.fetch(
        """
        SELECT a.id FROM account a WHERE a.id = ANY ($2::uuid[]) AND a.deleted_at IS NULL
           AND NOT EXISTS (SELECT FROM member m WHERE m.channel = $1 AND m.account = a.id)
        """,
        channel,
        list(accounts),
    )
    return [row["id"] for row in rows]


async def count(tx: Transaction, channel: UUID) -> int:
    """How many are in it."""
    found: int = await tx.fetchval("SELECT members FROM channel WHERE id = $1", channel)
    return found


async def update(tx: Transaction, id: UUID, changed: Channel) -> None:
    """What can change of a channel."""
    await tx.execute(
        """
        UPDATE channel SET name = $2, topic = $3, description = $4, avatar = $5, open = $6, slow = $7,
               disappears_after = $8, keeps_for = $9, seats = $10
         WHERE id = $1
        """,
        id,
        changed.name,
        changed.topic,
        changed.description,
        changed.avatar,
        changed.open,
        changed.slow,
        changed.disappears_after,
        changed.keeps_for,
        changed.seats,
    )


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


# How far


class Marked(Struct, frozen=True):
    """How far somebody is in a channel, whether that has changed, and among how many."""

    marks: Marks
    moved: bool
    members: int


async def mark(db: Database, account: UUID, channel: Standing, read: int, delivered: int) -> Marked | None:
    """Move positions forward, as far as there are facts; where they are now."""
    table = await _marked_in(db, channel, account)
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
        SELECT m.head, m.read, m.delivered, m.moved, {_UNREAD} AS unread, {_MENTIONS} AS mentions, c.members
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
