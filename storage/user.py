"""user: accounts as others may see them. Who blocks or is blocked is invisible, as if there were nobody."""

from collections.abc import Iterable
from uuid import UUID

from protocol.user import User, Users
from storage.pool import Database, Row
from storage.standing import ACCESS, Standing

# Of an account that goes by `a`: columns that others may see, and nothing else; and whether $1 may see it.
COLUMNS = "a.id, a.username, a.display_name, a.bio, a.avatar, a.city, a.interests, a.created_at"
VISIBLE = """
    a.deleted_at IS NULL AND NOT EXISTS
    (SELECT FROM block b WHERE (b.account = a.id AND b.blocked = $1) OR (b.account = $1 AND b.blocked = a.id))
"""

_END = "chr(1114111)"  # behind whatever may follow a beginning
_LOOKED_AT = 1000
# What `name_parts` must have of names that contain $2: its letters three by three; of a shorter text what begins so.
_PARTS = r"""
    SELECT string_agg('''' || replace(replace(substr(lower($2), at, 3), '\', '\\'), '''', '''''')
                      || CASE WHEN length(lower($2)) < 3 THEN ''':*' ELSE '''' END, ' & ')::tsquery
      FROM generate_series(1, greatest(length(lower($2)) - 2, 1)) AS at
"""


def user_of(row: Row) -> User:
    """A user from a row with these columns."""
    return User(
        id=row["id"],
        username=row["username"],
        display_name=row["display_name"],
        bio=row["bio"],
        avatar=row["avatar"],
        city=row["city"],
        interests=row["interests"],
        created_at=row["created_at"],
    )


async def visible(db: Database, viewer: UUID, user: UUID) -> User | None:
    """A user whom the viewer may see."""
    row = await db.fetchrow(f"SELECT {COLUMNS} FROM account a WHERE a.id = $2 AND {VISIBLE}", viewer, user)
    return user_of(row) if row else None


async def reportable(db: Database, viewer: UUID, user: UUID) -> User | None:
    """A user whom the viewer may see, or who is in a channel or space of the viewer's: also who blocks them."""
    row = await db.fetchrow(
        f"""
        SELECT {COLUMNS} FROM account a WHERE a.id = $2 AND a.id <> $1 AND a.deleted_at IS NULL AND ({VISIBLE}
            OR EXISTS (SELECT FROM member m JOIN member n USING (channel) WHERE m.account = $1 AND n.account = $2)
            OR EXISTS (SELECT FROM space_member m JOIN space_member n USING (space)
                         JOIN space p ON p.id = m.space AND p.deleted_at IS NULL
                        WHERE m.account = $1 AND n.account = $2))
        """,
        viewer,
        user,
    )
    return user_of(row) if row else None


async def living(db: Database, users: Iterable[UUID]) -> set[UUID]:
    """Those of these accounts that were not deleted."""
    rows = await db.fetch(
        "SELECT a.id FROM account a WHERE a.id = ANY ($1::uuid[]) AND a.deleted_at IS NULL", list(users)
    )
    return {row["id"] for row in rows}


async def get(db: Database, user: UUID) -> User | None:
    """Any account that there is."""
    row = await db.fetchrow(f"SELECT {COLUMNS} FROM account a WHERE a.id = $1", user)
    return user_of(row) if row else None


async def blockable(db: Database, viewer: UUID, user: UUID) -> User | None:
    """A user whom the viewer may block: visible, or blocked already, and not the viewer."""
    row = await db.fetchrow(
        f"""
        SELECT {COLUMNS} FROM account a WHERE a.id = $2 AND a.id <> $1 AND a.deleted_at IS NULL
           AND NOT EXISTS (SELECT FROM block b WHERE b.account = a.id AND b.blocked = $1)
        """,
        viewer,
        user,
    )
    return user_of(row) if row else None


async def blocked_by(db: Database, viewer: UUID, user: UUID) -> User | None:
    """A user whom the viewer has blocked."""
    row = await db.fetchrow(
        f"SELECT {COLUMNS} FROM block k JOIN account a ON a.id = k.blocked WHERE k.account = $1 AND k.blocked = $2",
        viewer,
        user,
    )
    return user_of(row) if row else None


async def page(db: Database, viewer: UUID, after: str | None, limit: int) -> Users:
    """Everybody by name, strictly after `after`."""
    rows = await db.fetch(
        f"""
        SELECT {COLUMNS} FROM account a WHERE lower(a.username) ~>~ lower($2) AND {VISIBLE}
         ORDER BY lower(a.username) USING ~<~ LIMIT $3
        """,
        viewer,
        after or "",
        limit + 1,
    )
    return _page(rows, limit, "username")


async def search(db: Database, viewer: UUID, text: str, limit: int) -> Users:
    """Names that begin with the text first, then those that contain it; of very many of either only some."""
    rows = await db.fetch(
        f"""
        SELECT {COLUMNS} FROM account a WHERE {VISIBLE} AND a.id IN (
            (SELECT id FROM account WHERE lower(username) ~>=~ lower($2) AND lower(username) ~<~ (lower($2) || {_END})
                AND deleted_at IS NULL ORDER BY lower(username) USING ~<~ LIMIT {_LOOKED_AT})
            UNION
            (SELECT id FROM account
              WHERE name_parts(username || ' ' || display_name) @@ ({_PARTS})
                AND (strpos(lower(username), lower($2)) > 0 OR strpos(lower(display_name), lower($2)) > 0)
                AND deleted_at IS NULL LIMIT {_LOOKED_AT}))
         ORDER BY NOT starts_with(lower(a.username), lower($2)), length(a.username), lower(a.username) LIMIT $3
        """,
        viewer,
        text,
        limit,
    )
    return Users(users=[user_of(row) for row in rows], next=None)


async def visible_all(db: Database, viewer: UUID, users: list[UUID]) -> list[User] | None:
    """Users every one of whom the viewer may see."""
    rows = await db.fetch(f"SELECT {COLUMNS} FROM account a WHERE a.id = ANY ($2::uuid[]) AND {VISIBLE}", viewer, users)
    return [user_of(row) for row in rows] if len(rows) == len(set(users)) else None


async def in_channel(db: Database, channel: Standing, after: str | None, limit: int) -> Users:
    """Who is in a channel, by name, strictly after `after`; also those who block or are blocked."""
    rows = await db.fetch(
        f"""
        SELECT {ACCESS} AS access, p.* FROM stream s LEFT JOIN LATERAL (
            SELECT {COLUMNS} FROM member m JOIN account a ON a.id = m.account
             WHERE m.channel = s.id AND a.deleted_at IS NULL AND lower(a.username) ~>~ lower($2)
             ORDER BY lower(a.username) USING ~<~ LIMIT $3) p ON true
         WHERE s.id = $1
        """,
        channel.id,
        after or "",
        limit + 1,
    )
    channel.check(rows)
    return _page([row for row in rows if row["username"] is not None], limit, "username")


async def block(db: Database, account: UUID, user: UUID) -> None:
    """Block a user; again is no error."""
    await db.execute("INSERT INTO block (account, blocked) VALUES ($1, $2) ON CONFLICT DO NOTHING", account, user)


async def unblock(db: Database, account: UUID, user: UUID) -> None:
    """Take a block back."""
    await db.execute("DELETE FROM block WHERE account = $1 AND blocked = $2", account, user)


async def blocked(db: Database, account: UUID, after: str | None, limit: int) -> Users:
    """Whom the account has blocked, by name, strictly after `after`."""
    rows = await db.fetch(
        f"""
        SELECT {COLUMNS} FROM block k JOIN account a ON a.id = k.blocked
         WHERE k.account = $1 AND lower(a.username) ~>~ lower($2) ORDER BY lower(a.username) USING ~<~ LIMIT $3
        """,
        account,
        after or "",
        limit + 1,
    )
    return _page(rows, limit, "username")


def _page(rows: list[Row], limit: int, key: str) -> Users:
    return Users(users=[user_of(row) for row in rows[:limit]], next=rows[limit - 1][key] if len(rows) > limit else None)
