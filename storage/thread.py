"""thread: channels within a channel of a space, and who follows them.

Rule 1: who changes a thread holds its stream, and that of its channel when it is told there.
Rule 2: what was put away is got out by who writes there, before the message is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from protocol.thread import Thread, ThreadLast, Threads, ThreadView
from storage import cursor
from storage.pool import Database, Row, Transaction
from storage.standing import ACCESS, Standing
from storage.summons import MEANT

# Of tables that go by `t`, and by `c` for its channel.
COLUMNS = "t.id, t.parent, c.name, c.creator, t.origin, t.locked, t.archived_at, c.created_at"
IDLE_DAYS = 7
_IDLE = f"interval '{IDLE_DAYS} days'"
# For a member $1 of the space.
_VIEW = f"""
    {COLUMNS}, s.moved_at, s.last, coalesce(f.followed, false) AS followed,
    coalesce(k.read, CASE WHEN s.moved_at <= r.joined_at THEN s.last ELSE 0 END) AS read,
    (SELECT count(*) FROM (SELECT FROM mention x WHERE x.account = $1 AND x.channel = t.id
                              AND x.seq > coalesce(k.read, 0) LIMIT 1000) y) AS mentions,
    (SELECT count(*) FROM (SELECT FROM message x WHERE x.channel = t.id AND x.seq > coalesce(k.read, 0) AND {MEANT}
                            LIMIT 1000) y) AS meant
"""
_VIEWED = """
    JOIN channel c ON c.id = t.id JOIN stream s ON s.id = t.id
    JOIN space_member r ON r.space = c.space AND r.account = $1
    LEFT JOIN mark k ON k.channel = t.id AND k.account = $1
"""
_FOLLOW = "LEFT JOIN follow f ON f.thread = t.id AND f.account = $1"


def thread(row: Row) -> Thread:
    """A thread from a row with these columns."""
    return Thread(
        id=row["id"],
        channel=row["parent"],
        name=row["name"],
        owner=row["creator"],
        origin=row["origin"],
        locked=row["locked"],
        archived=row["archived_at"] is not None,
        created_at=row["created_at"],
    )


def _view(row: Row) -> ThreadView:
    return ThreadView(
        thread=thread(row),
        moved_at=row["moved_at"],
        last=row["last"],
        read=row["read"],
        mentions=min(row["mentions"] + row["meant"], 1000),
        followed=row["followed"],
    )


# Looking


async def get(db: Database, id: UUID) -> Thread | None:
    """A thread that is still in a channel."""
    row = await db.fetchrow(f"SELECT {COLUMNS} FROM thread t JOIN channel c ON c.id = t.id WHERE t.id = $1", id)
    return thread(row) if row else None


async def view(db: Database, viewer: UUID, id: UUID) -> ThreadView | None:
    """A thread, and how far the viewer is in it, who is in its space."""
    row = await db.fetchrow(f"SELECT {_VIEW} FROM thread t {_VIEWED} {_FOLLOW} WHERE t.id = $2", viewer, id)
    return _view(row) if row else None


async def made_with(db: Database, creator: UUID, nonce: UUID) -> Thread | None:
    """The thread that this nonce has made."""
    row = await db.fetchrow(
        f"SELECT {COLUMNS} FROM channel c JOIN thread t ON t.id = c.id WHERE c.creator = $1 AND c.nonce = $2",
        creator,
        nonce,
    )
    return thread(row) if row else None


async def started_from(db: Database, channel: UUID, seq: int) -> Thread | None:
    """The thread that has started from a message."""
    row = await db.fetchrow(
        f"SELECT {COLUMNS} FROM thread t JOIN channel c ON c.id = t.id WHERE t.parent = $1 AND t.origin = $2",
        channel,
        seq,
    )
    return thread(row) if row else None


async def listing(
    db: Database, viewer: UUID, channel: Standing, archived: bool, after: str | None, limit: int
) -> Threads:
    """Active threads of a channel, the one that moved last first; or those that were put away, the last first."""
    moved, of = ("t.archived_at", "IS NOT NULL") if archived else ("s.moved_at", "IS NULL")
    at, id = cursor.read(after, cursor.LAST)
    rows = await db.fetch(
        f"""
        SELECT {ACCESS} AS access, p.* FROM stream s LEFT JOIN LATERAL (
            SELECT {_VIEW}, t.at FROM (
                SELECT t.*, {moved} AS at FROM thread t JOIN stream s ON s.id = t.id
                 WHERE t.parent = $2 AND t.archived_at {of} AND ({moved}, t.id) < ($3, $4)
                 ORDER BY {moved} DESC, t.id DESC LIMIT $5) t {_VIEWED} {_FOLLOW}
             ORDER BY t.at DESC, t.id DESC) p ON true
         WHERE s.id = $2
        """,
        viewer,
        channel.id,
        at,
        id,
        limit + 1,
    )
    channel.check(rows)
    found = [_view(row) for row in rows[:limit] if row["id"] is not None]
    last = cursor.write(rows[limit - 1]["at"], rows[limit - 1]["id"]) if len(rows) > limit else None
    return Threads(threads=found, next=last)


async def followed(db: Database, viewer: UUID, space: UUID, before: UUID | None, limit: int) -> list[ThreadView]:
    """Threads of a space that the viewer follows, the newest first, whether they (still) see them or not."""
    rows = await db.fetch(
        f"""
        SELECT {_VIEW} FROM follow f JOIN thread t ON t.id = f.thread {_VIEWED}
         WHERE f.account = $1 AND f.followed AND c.space = $2 AND f.thread < $3 ORDER BY f.thread DESC LIMIT $4
        """,
        viewer,
        space,
        before or cursor.LAST[1],
        limit,
    )
    return [_view(row) for row in rows]


async def count(db: Database, channel: UUID) -> int:
    """How many active ones a channel has."""
    found: int = await db.fetchval("SELECT count(*) FROM thread WHERE parent = $1 AND archived_at IS NULL", channel)
    return found


async def others_wrote(db: Database, id: UUID, owner: UUID) -> bool:
    """Whether somebody else has said something there."""
    found: bool = await db.fetchval(
        "SELECT EXISTS (SELECT FROM message WHERE channel = $1 AND author <> $2 AND deleted_at IS NULL)", id, owner
    )
    return found


# Changing


async def create(tx: Transaction, channel: UUID, id: UUID, origin: int | None) -> None:
    """What a channel of a space is besides as a thread of another."""
    await tx.execute(
        f"INSERT INTO thread (id, parent, origin, due) VALUES ($1, $2, $3, now() + {_IDLE})", id, channel, origin
    )
    if origin is not None:
        await tx.execute("UPDATE message SET thread = $3 WHERE channel = $1 AND seq = $2", channel, origin, id)


async def update(tx: Transaction, changed: Thread) -> None:
    """What can change of a thread."""
    await tx.execute("UPDATE channel SET name = $2 WHERE id = $1", changed.id, changed.name)
    await tx.execute(
        f"""
        UPDATE thread SET locked = $2, archived_at = CASE WHEN $3 THEN coalesce(archived_at, now()) END,
               due = now() + {_IDLE} WHERE id = $1
        """,
        changed.id,
        changed.locked,
        changed.archived,
    )


async def forget_origin(tx: Transaction, gone: Thread) -> None:
    """The message that it has started from tells of it no more."""
    await tx.execute(
        "UPDATE message SET thread = NULL WHERE channel = $1 AND seq = $2 AND thread = $3",
        gone.channel,
        gone.origin,
        gone.id,
    )


# Following


async def follow(db: Database, account: UUID, id: UUID, followed: bool) -> None:
    """Follow a thread from now on, or no more."""
    await db.execute(
        """
        INSERT INTO follow (account, thread, followed) SELECT $1, id, $3 FROM thread WHERE id = $2
        ON CONFLICT (account, thread) DO UPDATE SET followed = excluded.followed
        """,
        account,
        id,
        followed,
    )


async def follow_first(db: Database, pairs: Sequence[tuple[UUID, UUID]]) -> list[UUID]:
    """Accounts that write follow the threads, pair by pair (threads first); which of these are put away, not locked."""
    threads = [id for id, _ in pairs]
    await db.execute(
        """
        INSERT INTO follow (account, thread, followed) SELECT n.account, t.id, true
          FROM unnest($1::uuid[], $2::uuid[]) AS n(thread, account) JOIN thread t ON t.id = n.thread
        ON CONFLICT DO NOTHING
        """,
        threads,
        [account for _, account in pairs],
    )
    rows = await db.fetch(
        "SELECT id FROM thread WHERE id = ANY ($1::uuid[]) AND archived_at IS NOT NULL AND NOT locked", threads
    )
    return [row["id"] for row in rows]


# Telling who follows


class Moved(Struct, frozen=True):
    """A thread in which there is something new, and where it is."""

    space: UUID
    channel: UUID
    last: ThreadLast


async def move(tx: Transaction, ids: Sequence[UUID]) -> None:
    """Something was said in those of these that are threads."""
    await tx.execute(
        """
        UPDATE thread t SET moved_at = now()
          FROM (SELECT id FROM thread WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE) n WHERE t.id = n.id
        """,
        list(ids),
    )


async def moved(db: Database, spaces: Sequence[UUID], seconds: float, limit: int) -> list[Moved]:
    """Threads of spaces in which something was said in the last seconds; of very many those that moved last."""
    rows = await db.fetch(
        """
        SELECT c.space, t.parent, t.id, s.last FROM thread t JOIN channel c USING (id) JOIN stream s USING (id)
         WHERE t.moved_at > now() - make_interval(secs => $2) AND c.space = ANY ($1::uuid[])
         ORDER BY t.moved_at DESC LIMIT $3
        """,
        list(spaces),
        seconds,
        limit,
    )
    return [Moved(row["space"], row["parent"], ThreadLast(thread=row["id"], seq=row["last"])) for row in rows]


async def followers(db: Database, ids: Sequence[UUID], accounts: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
    """Who of these accounts follows which of these threads."""
    rows = await db.fetch(
        """
        SELECT account, thread FROM follow
         WHERE thread = ANY ($1::uuid[]) AND account = ANY ($2::uuid[]) AND followed
        """,
        list(ids),
        list(accounts),
    )
    return [(row["account"], row["thread"]) for row in rows]


# What goes by itself


async def due(db: Database, limit: int) -> list[UUID]:
    """Active ones to look at: whether nobody has written for long."""
    rows = await db.fetch(
        "SELECT id FROM thread WHERE archived_at IS NULL AND due <= now() ORDER BY due LIMIT $1", limit
    )
    return [row["id"] for row in rows]


async def idle(tx: Transaction, id: UUID) -> bool:
    """Whether nobody has written for long; if somebody has, it is looked at again when that will be long ago."""
    found: bool | None = await tx.fetchval(
        f"""
        UPDATE thread t SET due = s.moved_at + {_IDLE} FROM stream s WHERE t.id = $1 AND s.id = t.id
        RETURNING s.moved_at + {_IDLE} <= now()
        """,
        id,
    )
    return bool(found)


async def inside(db: Database, channel: UUID, limit: int) -> list[UUID]:
    """Some threads of a channel."""
    rows = await db.fetch("SELECT id FROM thread WHERE parent = $1 LIMIT $2", channel, limit)
    return [row["id"] for row in rows]


async def among(tx: Transaction, ids: Sequence[UUID]) -> list[UUID]:
    """Those of these that are still threads; their streams are locked."""
    rows = await tx.fetch("SELECT id FROM thread WHERE id = ANY ($1::uuid[])", list(ids))
    return [row["id"] for row in rows]
