"""member: who is in a space. The space's stream is held by who writes here.

Rule: who is listed is listed by an index: a page costs the same in a space of a hundred thousand.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from protocol.member import Ban, Bans, Member, Members
from protocol.user import User
from storage import cursor, stats
from storage import user as users
from storage.pool import Database, Row, Transaction

COLUMNS = f"{users.COLUMNS}, m.nick, m.roles, m.joined_at, m.timeout_until"
_SHOWN = "lower(coalesce(nullif({nick}, ''), nullif(a.display_name, ''), a.username))"


def member(row: Row) -> Member:
    """A member from a row with these columns."""
    return Member(
        user=users.user_of(row),
        nick=row["nick"],
        roles=row["roles"],
        joined_at=row["joined_at"],
        timeout_until=row["timeout_until"],
    )


class Kept(Struct, frozen=True):
    """How somebody is kept out."""

    by: UUID
    reason: str
    at: datetime


async def get(db: Database, space: UUID, account: UUID) -> Member | None:
    """Somebody in a space."""
    row = await db.fetchrow(
        f"""
        SELECT {COLUMNS} FROM space_member m JOIN account a ON a.id = m.account
         WHERE m.space = $1 AND m.account = $2
        """,
        space,
        account,
    )
    return member(row) if row else None


async def page(db: Database, space: UUID, offset: int, limit: int, role: UUID | None) -> Members:
    """A range by name."""
    with_role = "AND m.roles @> ARRAY[$4::uuid]" if role is not None else "AND $4::uuid IS NULL"
    rows = await db.fetch(
        f"""
        SELECT {COLUMNS} FROM (
            SELECT m.account FROM space_member m WHERE m.space = $1 {with_role}
             ORDER BY m.space, m.name, m.account OFFSET $2 LIMIT $3) found
          JOIN space_member m ON m.space = $1 AND m.account = found.account
          JOIN account a ON a.id = m.account ORDER BY m.name, m.account
        """,
        space,
        offset,
        limit,
        role,
    )
    total = await db.fetchval(
        f"SELECT count(*) FROM space_member m WHERE m.space = $1 {with_role.replace('$4', '$2')}"
        if role is not None
        else "SELECT members FROM space WHERE id = $1 AND $2::uuid IS NULL",
        space,
        role,
    )
    return Members(members=[member(row) for row in rows], total=total or 0)


async def usernames(db: Database, space: UUID, after: str | None, limit: int) -> list[User]:
    """Everybody in a space, by username, strictly after `after`."""
    rows = await db.fetch(
        f"""
        SELECT {users.COLUMNS} FROM space_member m JOIN account a ON a.id = m.account
         WHERE m.space = $1 AND lower(a.username) ~>~ lower($2) ORDER BY lower(a.username) USING ~<~ LIMIT $3
        """,
        space,
        after or "",
        limit,
    )
    return [users.user_of(row) for row in rows]


async def beginning(db: Database, space: UUID, text: str, limit: int) -> list[Member]:
    """Members whose shown name or username begins with a text, by name."""
    rows = await db.fetch(
        f"""
        SELECT {COLUMNS} FROM (
            (SELECT * FROM space_member m
              WHERE m.space = $1 AND m.name >= lower($2) AND m.name < lower($2) || chr(1114111)
              ORDER BY m.space, m.name, m.account LIMIT $3)
            UNION
            (SELECT m.* FROM account b JOIN space_member m ON m.space = $1 AND m.account = b.id
              WHERE lower(b.username) ~>=~ lower($2) AND lower(b.username) ~<~ (lower($2) || chr(1114111))
                AND b.deleted_at IS NULL LIMIT $3)) m
          JOIN account a ON a.id = m.account ORDER BY m.name, m.account LIMIT $3
        """,
        space,
        text,
        limit,
    )
    return [member(row) for row in rows]


async def spaces(db: Database, account: UUID, after: UUID | None, limit: int) -> list[UUID]:
    """The spaces that an account is in."""
    rows = await db.fetch(
        """
        SELECT m.space FROM space_member m JOIN space p ON p.id = m.space AND p.deleted_at IS NULL
         WHERE m.account = $1 AND m.space > $2 ORDER BY m.space LIMIT $3
        """,
        account,
        after or UUID(int=0),
        limit,
    )
    return [row["space"] for row in rows]


async def roles(db: Database, account: UUID) -> set[UUID]:
    """The roles that an account has, wherever; there may be some that are no more."""
    rows = await db.fetch("SELECT unnest(m.roles) AS role FROM space_member m WHERE m.account = $1", account)
    return {row["role"] for row in rows}


# Changing


async def enter(tx: Transaction, space: UUID, account: UUID, role: UUID | None) -> bool:
    """Let an account in; whether it was not there before."""
    tag = await tx.execute(
        f"""
        INSERT INTO space_member (space, account, name, roles, summons)
        SELECT $1, a.id, {_SHOWN.format(nick="''")}, CASE WHEN $3::uuid IS NULL THEN '{{}}' ELSE ARRAY[$3::uuid] END,
               (SELECT p.summons FROM space p WHERE p.id = $1)
          FROM account a WHERE a.id = $2 AND a.deleted_at IS NULL
        ON CONFLICT DO NOTHING
        """,
        space,
        account,
        role,
    )
    if not tag.endswith("1"):
        return False
    await tx.execute("UPDATE space SET members = members + 1 WHERE id = $1", space)
    await stats.moved(tx, space, 1, 0)
    return True


async def leave(tx: Transaction, space: UUID, account: UUID) -> bool:
    """Put an account out, with what it kept of its channels and the invites that it made; whether it was there."""
    tag = await tx.execute("DELETE FROM space_member WHERE space = $1 AND account = $2", space, account)
    if not tag.endswith("1"):
        return False
    await tx.execute("UPDATE space SET members = members - 1 WHERE id = $1", space)
    await stats.moved(tx, space, 0, 1)
    for table in ("mark", "draft", "mention"):
        await tx.execute(
            f"DELETE FROM {table} t USING channel c WHERE c.id = t.channel AND c.space = $1 AND t.account = $2",
            space,
            account,
        )
    await tx.execute(
        "DELETE FROM overwrite o USING channel c WHERE c.id = o.channel AND c.space = $1 AND o.target = $2",
        space,
        account,
    )
    await tx.execute(
        "DELETE FROM follow f USING channel c WHERE c.id = f.thread AND c.space = $1 AND f.account = $2", space, account
    )
    await tx.execute("DELETE FROM invite WHERE space = $1 AND by = $2 AND NOT vanity", space, account)
    return True


async def heir(tx: Transaction, space: UUID) -> UUID | None:
    """Who has been in it longest, of those who are still there."""
    found: UUID | None = await tx.fetchval(
        """
        SELECT m.account FROM space_member m JOIN account a ON a.id = m.account
         WHERE m.space = $1 AND a.deleted_at IS NULL ORDER BY m.joined_at, m.account LIMIT 1
        """,
        space,
    )
    return found


async def rename(tx: Transaction, space: UUID, account: UUID, nick: str) -> None:
    """Call a member otherwise."""
    await tx.execute(
        f"""
        UPDATE space_member m SET nick = $3, name = {_SHOWN.format(nick="$3")} FROM account a
         WHERE m.space = $1 AND m.account = $2 AND a.id = m.account
        """,
        space,
        account,
        nick,
    )


async def rename_everywhere(db: Database, account: UUID) -> None:
    """An account has another name: it is listed by that where it has no nick."""
    await db.execute(
        f"""
        UPDATE space_member m SET name = {_SHOWN.format(nick="''")} FROM account a
         WHERE m.account = $1 AND a.id = m.account AND m.nick = ''
        """,
        account,
    )


async def time_out(tx: Transaction, space: UUID, account: UUID, until: datetime | None) -> None:
    """Until when a member may only read."""
    await tx.execute(
        "UPDATE space_member SET timeout_until = $3 WHERE space = $1 AND account = $2", space, account, until
    )


# Bans


async def ban(tx: Transaction, space: UUID, account: UUID, by: UUID, reason: str) -> bool:
    """Keep an account out; whether it was not kept out before."""
    tag = await tx.execute(
        """
        INSERT INTO ban (space, account, by, reason) VALUES ($1, $2, $3, $4)
        ON CONFLICT (space, account) DO NOTHING
        """,
        space,
        account,
        by,
        reason,
    )
    return tag.endswith("1")


async def unban(tx: Transaction, space: UUID, account: UUID) -> Kept | None:
    """Let an account come back; how it was kept out."""
    row = await tx.fetchrow(
        "DELETE FROM ban WHERE space = $1 AND account = $2 RETURNING by, reason, at", space, account
    )
    return Kept(**row) if row else None


async def banned(db: Database, space: UUID, account: UUID) -> bool:
    """Whether an account is kept out."""
    found: bool = await db.fetchval("SELECT EXISTS (SELECT FROM ban WHERE space = $1 AND account = $2)", space, account)
    return found


async def bans(db: Database, space: UUID, after: str | None, limit: int) -> Bans:
    """Who is kept out, in the order in which that was decided."""
    at, account = cursor.read(after, cursor.FIRST)
    rows = await db.fetch(
        f"""
        SELECT {users.COLUMNS}, b.by, b.reason, b.at FROM ban b JOIN account a ON a.id = b.account
         WHERE b.space = $1 AND (b.at, b.account) > ($2, $3) ORDER BY b.at, b.account LIMIT $4
        """,
        space,
        at,
        account,
        limit + 1,
    )
    found = [Ban(user=users.user_of(row), by=row["by"], reason=row["reason"], at=row["at"]) for row in rows[:limit]]
    return Bans(bans=found, next=cursor.write(found[-1].at, found[-1].user.id) if len(rows) > limit else None)
