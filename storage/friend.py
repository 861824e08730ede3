"""friend: what two are to each other, and who may turn to whom.

Rule: what two are to each other is two rows, one as each of them sees it, written while both streams are held.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from protocol.friend import Directs, Friend, Friends, PrivacyChoice, Requests, State
from storage import cursor
from storage import user as users
from storage.pool import Database, Row, Transaction

_BOTH = "(account, other) IN (($1, $2), ($2, $1))"
_LAST_STATE = "z"  # behind all names of states


def friend(row: Row) -> Friend:
    """What somebody is to another, from their row."""
    return Friend(user=row["other"], state=row["state"], since=row["since"])


# What two are to each other; both streams are held by who changes it


async def between(db: Database, account: UUID, other: UUID) -> Friend | None:
    """What the other is to the account."""
    row = await db.fetchrow("SELECT other, state, since FROM friend WHERE account = $1 AND other = $2", account, other)
    return friend(row) if row else None


async def put(tx: Transaction, account: UUID, other: UUID, state: State, for_other: State) -> datetime:
    """What they are to each other from now on; since when."""
    since: datetime = await tx.fetchval(
        """
        INSERT INTO friend (account, other, state) VALUES ($1, $2, $3), ($2, $1, $4)
        ON CONFLICT (account, other) DO UPDATE SET state = excluded.state, since = excluded.since RETURNING since
        """,
        account,
        other,
        state,
        for_other,
    )
    return since


async def part(tx: Transaction, account: UUID, other: UUID) -> bool:
    """They are nothing to each other from now on; whether they were."""
    return await tx.execute(f"DELETE FROM friend WHERE {_BOTH}", account, other) != "DELETE 0"


async def count(db: Database, account: UUID, state: State) -> int:
    """How many are that to the account."""
    found: int = await db.fetchval("SELECT count(*) FROM friend WHERE account = $1 AND state = $2", account, state)
    return found


# Those of an account


async def listing(db: Database, account: UUID, state: State | None, after: str | None, limit: int) -> Friends:
    """Those whom the account may see: by state, the newest first."""
    rows = await db.fetch(
        f"""
        SELECT f.other, f.state, f.since, {users.COLUMNS} FROM friend f JOIN account a ON a.id = f.other
         WHERE f.account = $1 AND (f.state, f.since, f.other) < ($2, $3, $4) AND f.state >= $5 AND {users.VISIBLE}
         ORDER BY f.state DESC, f.since DESC, f.other DESC LIMIT $6
        """,
        account,
        *_read_cursor(state, after),
        state or "",
        limit + 1,
    )
    some = rows[:limit]
    return Friends(
        friends=[friend(row) for row in some],
        users=[users.user_of(row) for row in some],
        next=_cursor(some[-1]) if len(rows) > limit else None,
    )


def _cursor(row: Row) -> str:
    return f"{row['state']} {row['since'].isoformat()} {row['other']}"


def _read_cursor(state: State | None, text: str | None) -> tuple[str, datetime, UUID]:
    """Where a page begins; a cursor that is none begins at the beginning."""
    beginning = state or _LAST_STATE, *cursor.LAST
    try:
        of, since, other = (text or "").split(" ")
        return (of, cursor.moment(since), UUID(other)) if of == (state or of) else beginning
    except (ValueError, OverflowError):
        return beginning


# Who may turn to whom


async def may_ask(tx: Transaction, account: UUID, other: UUID) -> bool:
    """Whether the other takes requests from the account."""
    found: bool = await tx.fetchval(
        """
        SELECT CASE coalesce((SELECT requests FROM friend_privacy WHERE account = $2), 'everyone')
               WHEN 'everyone' THEN true
               WHEN 'friends_of_friends' THEN EXISTS
                    (SELECT FROM friend f JOIN friend g ON g.account = f.other AND g.other = $2
                      WHERE f.account = $1 AND f.state = 'friend' AND g.state = 'friend')
               ELSE false END
        """,
        account,
        other,
    )
    return found


async def may_open(tx: Transaction, account: UUID, other: UUID) -> bool:
    """Whether the account may open a direct channel with the other."""
    found: bool = await tx.fetchval(
        """
        SELECT NOT EXISTS (SELECT FROM friend_privacy WHERE account = $2 AND directs = 'friends')
            OR EXISTS (SELECT FROM friend f WHERE f.account = $2 AND f.other = $1 AND f.state = 'friend')
        """,
        account,
        other,
    )
    return found


async def privacy(db: Database, account: UUID) -> PrivacyChoice:
    """What the account has chosen."""
    row = await db.fetchrow("SELECT requests, directs FROM friend_privacy WHERE account = $1", account)
    return PrivacyChoice(**row) if row else PrivacyChoice(requests="everyone", directs="everyone")


async def set_privacy(
    tx: Transaction, account: UUID, requests: Requests | None, directs: Directs | None
) -> PrivacyChoice:
    """Change what is given."""
    row = await tx.fetchrow(
        """
        INSERT INTO friend_privacy AS p (account, requests, directs)
        VALUES ($1, coalesce($2::text, 'everyone'), coalesce($3::text, 'everyone'))
        ON CONFLICT (account) DO UPDATE SET requests = coalesce($2, p.requests), directs = coalesce($3, p.directs)
        RETURNING requests, directs
        """,
        account,
        requests,
        directs,
    )
    assert row is not None
    return PrivacyChoice(**row)


# Of an account that was deleted


async def having(db: Database, account: UUID, limit: int) -> list[UUID]:
    """Some to whom it is still something."""
    rows = await db.fetch("SELECT account FROM friend WHERE other = $1 ORDER BY account LIMIT $2", account, limit)
    return [row["account"] for row in rows]


async def forget(tx: Transaction, account: UUID, others: Sequence[UUID]) -> list[UUID]:
    """They are nothing to each other any more; to whom it was something."""
    await tx.execute("DELETE FROM friend WHERE account = $1 AND other = ANY ($2::uuid[])", account, list(others))
    rows = await tx.fetch(
        "DELETE FROM friend WHERE other = $1 AND account = ANY ($2::uuid[]) RETURNING account", account, list(others)
    )
    return sorted(row["account"] for row in rows)
