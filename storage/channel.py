"""channel: where messages stand, and who is in. (How each stands there is in storage/membership.py.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from protocol.channel import Channel
from storage.ids import new_id
from storage.pool import Database, Row, Transaction

# Of a table that goes by `c`.
COLUMNS = """
    c.id, c.kind, c.name, c.topic, c.description, c.avatar, c.open, c.owner, c.members, c.created_at, c.space, c.parent,
    c.position, c.slow, c.seats, c.disappears_after, c.keeps_for
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
