"""space: communities, and what decides in them: roles, channels and overwrites.

Rule 1: whoever changes anything here holds the space's stream (`stream_lock`).
Rule 2: what decides who sees or may do what moves `structure` with it; processes know it as of that number.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from protocol.channel import Channel
from protocol.emoji import Emoji
from protocol.permission import Overwrite, names
from protocol.role import Role
from protocol.space import ChannelMark, Discovered, Last, Space
from protocol.sticker import Sticker
from storage import channel as channels
from storage.emoji import EMOJI
from storage.pool import Database, Row, Transaction
from storage.standing import ACCESS
from storage.sticker import STICKERS
from storage.summons import MEANT

# Of a table that goes by `p`.
COLUMNS = "p.id, p.name, p.description, p.avatar, p.open, p.owner, p.members, p.created_at, p.keeps_for"


def space(row: Row) -> Space:
    """A space from a row with these columns."""
    return Space(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        avatar=row["avatar"],
        open=row["open"],
        owner=row["owner"],
        members=row["members"],
        created_at=row["created_at"],
        keeps_for=row["keeps_for"],
    )


class Layout(Struct, frozen=True):
    """Everything that decides in a space, as it is under the number `structure`."""

    space: Space
    structure: int
    roles: Sequence[Role]
    channels: Sequence[Channel]
    overwrites: dict[UUID, list[Overwrite]]
    rules: int
    emoji: Sequence[Emoji]
    stickers: Sequence[Sticker]


async def layouts(db: Database, spaces: Sequence[UUID]) -> list[Layout]:
    """Those of spaces that exist; one query, so that all of it is of one moment."""
    rows = await db.fetch(
        f"""
        SELECT {COLUMNS}, p.structure, p.rules,
               ARRAY(SELECT (r.id, r.name, r.colour, r.position, r.permissions, r.apart, r.mentionable)
                       FROM role r WHERE r.space = p.id ORDER BY r.position, r.id) AS roles,
               {EMOJI.rows}, {STICKERS.rows},
               ARRAY(SELECT ({channels.COLUMNS}) FROM channel c WHERE c.space = p.id AND c.kind <> 'thread'
                      ORDER BY c.position, c.id) AS channels,
               ARRAY(SELECT (o.channel, o.target, o.member, o.allow, o.deny)
                       FROM overwrite o JOIN channel c ON c.id = o.channel
                      WHERE c.space = p.id ORDER BY o.channel, o.target) AS overwrites
          FROM space p WHERE p.id = ANY ($1::uuid[]) AND p.deleted_at IS NULL
        """,
        list(spaces),
    )
    return [_layout(row) for row in rows]


def _layout(row: Row) -> Layout:
    overwrites: dict[UUID, list[Overwrite]] = {}
    for channel, target, member, allow, deny in row["overwrites"]:
        one = Overwrite(target=target, member=member, allow=names(allow), deny=names(deny))
        overwrites.setdefault(channel, []).append(one)
    return Layout(
        space=space(row),
        structure=row["structure"],
        roles=[_role(*one) for one in row["roles"]],
        channels=[Channel(**dict(zip(Channel.__struct_fields__, one, strict=True))) for one in row["channels"]],
        overwrites=overwrites,
        rules=row["rules"],
        emoji=EMOJI.made_of(row["emoji"]),
        stickers=STICKERS.made_of(row["sticker"]),
    )


def _role(id: UUID, name: str, colour: int | None, position: int, allowed: int, apart: bool, mentionable: bool) -> Role:
    return Role(
        id=id,
        name=name,
        colour=colour,
        position=position,
        permissions=names(allowed),
        apart=apart,
        mentionable=mentionable,
    )


class Seat(Struct, frozen=True):
    """An account in a space, all of one moment."""

    space: UUID
    account: UUID
    roles: Sequence[UUID]
    timed_out: bool
    structure: int
    access: int


async def seats(db: Database, spaces: Sequence[UUID], accounts: Sequence[UUID]) -> list[Seat | None]:
    """Accounts in spaces, pair by pair; None for who is no member."""
    rows = await db.fetch(
        """
        SELECT t.k, p.id, m.account, m.roles, coalesce(m.timeout_until > now(), false) AS timed_out,
               p.structure, s.access
          FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS t(space, account, k)
          JOIN space p ON p.id = t.space AND p.deleted_at IS NULL JOIN stream s ON s.id = p.id
          JOIN space_member m ON m.space = p.id AND m.account = t.account
        """,
        list(spaces),
        list(accounts),
    )
    found: list[Seat | None] = [None] * len(spaces)
    for row in rows:
        found[row["k"] - 1] = Seat(*row[1:])
    return found


# Looking


async def get(db: Database, id: UUID) -> Space | None:
    """A space that exists."""
    row = await db.fetchrow(f"SELECT {COLUMNS} FROM space p WHERE p.id = $1 AND p.deleted_at IS NULL", id)
    return space(row) if row else None


async def enterable(db: Database, viewer: UUID, id: UUID) -> Space | None:
    """A space that the viewer is in, or may enter because it is open."""
    row = await db.fetchrow(
        f"""
        SELECT {COLUMNS} FROM space p WHERE p.id = $2 AND p.deleted_at IS NULL
           AND (p.open AND NOT EXISTS (SELECT FROM ban b WHERE b.space = p.id AND b.account = $1)
                OR EXISTS (SELECT FROM space_member m WHERE m.space = p.id AND m.account = $1))
        """,
        viewer,
        id,
    )
    return space(row) if row else None


async def made_with(db: Database, creator: UUID, nonce: UUID) -> Space | None:
    """The space that this nonce has made, if it still exists."""
    row = await db.fetchrow(
        f"SELECT {COLUMNS} FROM space p WHERE p.creator = $1 AND p.nonce = $2 AND p.deleted_at IS NULL", creator, nonce
    )
    return space(row) if row else None


async def discover(db: Database, viewer: UUID, text: str, after: str | None, limit: int) -> Discovered:
    """Open spaces that the viewer is not kept out of, the largest first."""
    members, id = _read_cursor(after)
    rows = await db.fetch(
        f"""
        SELECT {COLUMNS} FROM space p WHERE p.open AND p.deleted_at IS NULL AND (p.members, p.id) < ($3, $4)
           AND strpos(lower(p.name), lower($2)) > 0
           AND NOT EXISTS (SELECT FROM ban b WHERE b.space = p.id AND b.account = $1)
         ORDER BY p.members DESC, p.id DESC LIMIT $5
        """,
        viewer,
        text,
        members,
        id,
        limit + 1,
    )
    found = [space(row) for row in rows[:limit]]
    return Discovered(spaces=found, next=f"{found[-1].members} {found[-1].id}" if len(rows) > limit else None)


def _read_cursor(text: str | None) -> tuple[int, UUID]:
    """Where a page begins; a cursor that is none begins at the beginning."""
    try:
        members, _, id = (text or "").partition(" ")
        return min(int(members), 2**31 - 1), UUID(id)
    except ValueError:
        return 2**31 - 1, UUID(int=2**128 - 1)


async def lasts(db: Database, spaces: Sequence[UUID], seconds: float) -> list[tuple[UUID, Last]]:
    """The last messages of channels, of which some came in the last seconds; by space."""
    rows = await db.fetch(
        """
        SELECT s.guard, s.id, s.last FROM channel c JOIN stream s ON s.id = c.id
         WHERE c.space = ANY ($1::uuid[]) AND c.kind <> 'thread' AND s.moved_at > now() - make_interval(secs => $2)
        """,
        list(spaces),
        seconds,
    )
    return [(row["guard"], Last(channel=row["id"], seq=row["last"])) for row in rows]


class State(Struct, frozen=True):
    """How many members a space has, how often its queue has changed, and its access version."""

    members: int
    reported: int
    access: int


async def states(db: Database, spaces: Sequence[UUID]) -> dict[UUID, State]:
    """How spaces are now."""
    rows = await db.fetch(
        f"""
        SELECT id, p.members, p.reported, {ACCESS} AS access FROM space p JOIN stream s USING (id)
         WHERE id = ANY ($1::uuid[])
        """,
        list(spaces),
    )
    return {row["id"]: State(row["members"], row["reported"], row["access"]) for row in rows}


async def sizes(db: Database, spaces: Sequence[UUID]) -> dict[UUID, int]:
    """How many members spaces have."""
    rows = await db.fetch("SELECT id, members FROM space WHERE id = ANY ($1::uuid[])", list(spaces))
    return {row["id"]: row["members"] for row in rows}


async def marks(db: Database, account: UUID, space: UUID, channels: Sequence[UUID]) -> list[ChannelMark]:
    """How far a member is in channels with messages."""
    rows = await db.fetch(
        f"""
        SELECT s.id, s.last, k.muted_until,
               coalesce(k.read, CASE WHEN s.moved_at <= r.joined_at THEN s.last ELSE 0 END) AS read,
               (SELECT count(*) FROM (SELECT FROM mention x WHERE x.account = $1 AND x.channel = s.id
                                         AND x.seq > coalesce(k.read, 0) LIMIT 1000) y) AS mentions,
               (SELECT count(*) FROM (SELECT FROM message x WHERE x.channel = s.id
                                         AND x.seq > coalesce(k.read, 0) AND {MEANT} LIMIT 1000) y) AS meant
          FROM stream s JOIN space_member r ON r.space = $2 AND r.account = $1
          LEFT JOIN mark k ON k.channel = s.id AND k.account = $1
         WHERE s.id = ANY ($3::uuid[]) AND s.last > 0
        """,
        account,
        space,
        list(channels),
    )
    return [
        ChannelMark(
            channel=row["id"],
            last=row["last"],
            read=row["read"],
            mentions=min(row["mentions"] + row["meant"], 1000),
            muted_until=row["muted_until"],
        )
        for row in rows
    ]


# Changing; the space's stream is held


async def create(tx: Transaction, owner: UUID, one: Space, nonce: UUID) -> None:
    """A space of an existing stream, with nobody in it yet."""
    await tx.execute(
        """
        INSERT INTO space (id, name, description, avatar, open, owner, creator, nonce)
        VALUES ($1, $2, $3, $4, $5, $6, $6, $7)
        """,
        one.id,
        one.name,
        one.description,
        one.avatar,
        one.open,
        owner,
        nonce,
    )


async def update(tx: Transaction, changed: Space) -> None:
    """What can change of a space."""
    await tx.execute(
        """
        UPDATE space SET name = $2, description = $3, avatar = $4, open = $5, owner = $6, keeps_for = $7 WHERE id = $1
        """,
        changed.id,
        changed.name,
        changed.description,
        changed.avatar,
        changed.open,
        changed.owner,
        changed.keeps_for,
    )


async def restructure(tx: Transaction, id: UUID) -> None:
    """What decides there has changed."""
    await tx.execute("UPDATE space SET structure = structure + 1 WHERE id = $1", id)


async def overwrite(tx: Transaction, channel: UUID, target: UUID, member: bool, allow: int, deny: int) -> None:
    """What a channel allows and denies to somebody; nothing at all is no overwrite."""
    if not allow | deny:
        await tx.execute("DELETE FROM overwrite WHERE channel = $1 AND target = $2", channel, target)
        return
    await tx.execute(
        """
        INSERT INTO overwrite (channel, target, member, allow, deny) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (channel, target) DO UPDATE SET allow = excluded.allow, deny = excluded.deny
        """,
        channel,
        target,
        member,
        allow,
        deny,
    )


async def reorder(tx: Transaction, channels: Sequence[UUID], parent: UUID | None) -> None:
    """Put channels into a category, in this order."""
    await tx.execute(
        """
        UPDATE channel c SET position = n.position, parent = $2
          FROM unnest($1::uuid[]) WITH ORDINALITY AS n(id, position) WHERE c.id = n.id
        """,
        list(channels),
        parent,
    )


async def prune(db: Database) -> None:
    """Forget until when people had to wait in slow channels."""
    await db.execute("DELETE FROM pace WHERE until < now()")


# The end


async def bury(tx: Transaction, id: UUID) -> None:
    """Nobody has a right there any more; what is left goes bit by bit."""
    await tx.execute("UPDATE space SET deleted_at = now(), open = false, owner = NULL WHERE id = $1", id)
    await tx.execute("DELETE FROM invite WHERE space = $1", id)
    await tx.execute("INSERT INTO ruin (space) VALUES ($1) ON CONFLICT DO NOTHING", id)


async def left_over(db: Database, id: UUID, limit: int) -> list[UUID]:
    """Some who are still to be told."""
    rows = await db.fetch("SELECT account FROM space_member WHERE space = $1 ORDER BY account LIMIT $2", id, limit)
    return [row["account"] for row in rows]


async def dismiss(tx: Transaction, id: UUID, accounts: Sequence[UUID]) -> list[UUID]:
    """These are told now, their streams are locked; those who were not told yet."""
    rows = await tx.fetch(
        "DELETE FROM space_member WHERE space = $1 AND account = ANY ($2::uuid[]) RETURNING account", id, list(accounts)
    )
    return [row["account"] for row in rows]


async def standing_channel(db: Database, id: UUID) -> UUID | None:
    """One of its channels that was not done away with."""
    found: UUID | None = await db.fetchval(
        """
        (SELECT id FROM channel WHERE space = $1 AND kind <> 'thread' LIMIT 1) UNION ALL
        (SELECT id FROM channel WHERE space = $1 AND kind = 'thread' LIMIT 1) LIMIT 1
        """,
        id,
    )
    return found
