"""notification: what accounts were notified of, and what they want to be notified of.

Rule: whoever writes notifications of an account holds its stream: their ids are seqs of facts there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from protocol.invite import Invitation
from protocol.notification import (
    Kind,
    KindCount,
    Notification,
    NotificationPage,
    SpaceCount,
    Unread,
    UnreadNow,
)
from storage.invite import GOOD
from storage.pool import Database, Row, Transaction

KEPT = 1000
COLUMNS = """
    n.id, n.kind, n.by, n.at, n.read, n.space, n.channel, n.seq AS message,
    n.code, p.id AS place, p.name, p.description, p.avatar, p.members
"""
# With where invites lead to that are (still) good.
FROM = f"""
    notification n LEFT JOIN invite i ON i.code = n.code AND {GOOD}
      LEFT JOIN space p ON p.id = i.space AND p.deleted_at IS NULL
"""
# An invite that is good no more, or not for who has it; about a message that was taken back, or that they have hidden.
# Those are counted, since EXISTS may be answered by reading all messages there are.
_GONE = """
    n.code IS NOT NULL AND (
        p.id IS NULL OR EXISTS (SELECT FROM ban b WHERE b.space = p.id AND b.account = n.account))
    OR n.channel IS NOT NULL AND (
        0 = (SELECT count(*) FROM message m WHERE m.channel = n.channel AND m.seq = n.seq AND m.deleted_at IS NULL)
        OR 0 < (SELECT count(*) FROM hidden h WHERE h.account = n.account AND h.channel = n.channel AND h.seq = n.seq))
"""


class News(Struct, frozen=True):
    """What somebody is to be notified of."""

    account: UUID
    kind: Kind
    by: UUID
    space: UUID | None = None
    channel: UUID | None = None
    seq: int | None = None
    code: str | None = None


class Listed(Struct, frozen=True):
    """A notification as it stands there; `gone`: its message is no more."""

    notification: Notification
    gone: bool


def notification(row: Row) -> Notification:
    """A notification from a row with these columns."""
    fields = {key: row[key] for key in Notification.__struct_fields__ if key != "invitation"}
    return Notification(**fields, invitation=_invitation(row) if row["place"] is not None else None)


def _invitation(row: Row) -> Invitation:
    return Invitation(
        code=row["code"],
        space=row["place"],
        name=row["name"],
        description=row["description"],
        avatar=row["avatar"],
        members=row["members"],
        joined=False,
    )


# Whom it concerns


async def concerned(db: Database, messages: Sequence[tuple[UUID, int]]) -> list[UUID]:
    """Who has notifications about messages."""
    rows = await db.fetch(
        """
        SELECT DISTINCT n.account FROM unnest($1::uuid[], $2::bigint[]) AS t(channel, seq)
          JOIN notification n USING (channel, seq)
        """,
        [channel for channel, _ in messages],
        [seq for _, seq in messages],
    )
    return [row["account"] for row in rows]


async def having(db: Database, channel: UUID, limit: int) -> list[UUID]:
    """Some who have notifications about a channel."""
    rows = await db.fetch(
        "SELECT DISTINCT account FROM notification n WHERE channel = $1 ORDER BY account LIMIT $2", channel, limit
    )
    return [row["account"] for row in rows]


# Writing; the streams of the accounts are held


async def put(tx: Transaction, news: Sequence[tuple[int, News]]) -> datetime:
    """Keep notifications under these ids, and of each account the newest; when that was."""
    at: datetime = await tx.fetchval("SELECT now()")
    await tx.execute(
        """
        INSERT INTO notification (account, id, kind, by, space, channel, seq, code)
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::uuid[], $5::uuid[], $6::uuid[], $7::bigint[],
                             $8::text[])
        """,
        [one.account for _, one in news],
        [id for id, _ in news],
        [one.kind for _, one in news],
        [one.by for _, one in news],
        [one.space for _, one in news],
        [one.channel for _, one in news],
        [one.seq for _, one in news],
        [one.code for _, one in news],
    )
    await tx.execute(
        f"""
        DELETE FROM notification n USING unnest($1::uuid[]) AS t(account)
         WHERE n.account = t.account AND n.id <=
               (SELECT id FROM notification o WHERE o.account = t.account ORDER BY id DESC OFFSET {KEPT} LIMIT 1)
        """,
        list({one.account for _, one in news}),
    )
    return at


Ids = dict[UUID, list[int]]  # by account


async def about(tx: Transaction, accounts: Sequence[UUID], messages: Sequence[tuple[UUID, int]]) -> Ids:
    """Take away what accounts have about messages."""
    return _ids(
        await tx.fetch(
            """
            DELETE FROM notification n USING unnest($2::uuid[], $3::bigint[]) AS t(channel, seq)
             WHERE n.channel = t.channel AND n.seq = t.seq AND n.account = ANY ($1::uuid[]) RETURNING n.account, n.id
            """,
            list(accounts),
            [channel for channel, _ in messages],
            [seq for _, seq in messages],
        )
    )


async def within(tx: Transaction, accounts: Sequence[UUID], place: UUID) -> Ids:
    """Take away what accounts have of a channel or space, with what they want to be notified of there."""
    await tx.execute(
        """
        DELETE FROM notification_level l WHERE account = ANY ($1::uuid[])
           AND (place = $2 OR place IN (SELECT id FROM channel WHERE space = $2))
        """,
        list(accounts),
        place,
    )
    return _ids(
        await tx.fetch(
            """
            DELETE FROM notification n WHERE account = ANY ($1::uuid[]) AND (channel = $2 OR space = $2)
            RETURNING n.account, n.id
            """,
            list(accounts),
            place,
        )
    )


async def by(tx: Transaction, account: UUID, others: Sequence[UUID], kinds: Sequence[Kind]) -> Ids:
    """Take away what others have by an account, of some kinds; of any, if none is given."""
    return _ids(
        await tx.fetch(
            """
            DELETE FROM notification n WHERE by = $1 AND account = ANY ($2::uuid[])
               AND (kind = ANY ($3::text[]) OR $3::text[] = '{}') RETURNING n.account, n.id
            """,
            account,
            list(others),
            list(kinds),
        )
    )


async def invites(tx: Transaction, account: UUID, space: UUID, by: UUID | None = None) -> Ids:
    """Take away the invites to a space that an account has, of one who invites or of all."""
    return _ids(
        await tx.fetch(
            """
            DELETE FROM notification n WHERE account = $1 AND space = $2 AND code IS NOT NULL
               AND ($3::uuid IS NULL OR by = $3) RETURNING n.account, n.id
            """,
            account,
            space,
            by,
        )
    )


async def invited(tx: Transaction, account: UUID, space: UUID, by: UUID) -> bool:
    """Whether an account has an invite to a space by somebody which is good."""
    found: bool = await tx.fetchval(
        f"""
        SELECT EXISTS (SELECT FROM notification n JOIN invite i USING (code)
                        WHERE n.account = $1 AND n.space = $2 AND n.by = $3 AND {GOOD})
        """,
        account,
        space,
        by,
    )
    return found


async def drop(tx: Transaction, account: UUID, ids: Sequence[int]) -> list[int]:
    """Take these away; those that were still there."""
    rows = await tx.fetch(
        "DELETE FROM notification n WHERE account = $1 AND id = ANY ($2::bigint[]) RETURNING n.account, n.id",
        account,
        list(ids),
    )
    return _ids(rows).get(account, [])


def _ids(rows: Iterable[Row]) -> dict[UUID, list[int]]:
    found: dict[UUID, list[int]] = {}
    for row in rows:
        found.setdefault(row["account"], []).append(row["id"])
    return {account: sorted(ids) for account, ids in found.items()}


async def mark_read(tx: Transaction, account: UUID, until: int, channel: UUID | None) -> bool:
    """Whether any was unread."""
    tag = await tx.execute(
        """
        UPDATE notification SET read = true
         WHERE account = $1 AND NOT read AND id <= $2 AND ($3::uuid IS NULL OR channel = $3)
        """,
        account,
        until,
        channel,
    )
    return not tag.endswith(" 0")


# Counting


async def counts(db: Database, accounts: Sequence[UUID]) -> dict[UUID, Unread]:
    """How many are unread of each."""
    rows = await db.fetch(
        """
        SELECT account, kind, space, count(*) AS unread FROM notification
         WHERE account = ANY ($1::uuid[]) AND NOT read GROUP BY account, kind, space ORDER BY kind, space
        """,
        list(accounts),
    )
    some: dict[UUID, list[Row]] = {account: [] for account in accounts}
    for row in rows:
        some[row["account"]].append(row)
    return {account: _counted(found) for account, found in some.items()}


def _counted(rows: Sequence[Row]) -> Unread:
    kinds: dict[Kind, int] = {}
    spaces: dict[UUID, int] = {}
    for row in rows:
        kinds[row["kind"]] = kinds.get(row["kind"], 0) + row["unread"]
        if row["space"] is not None:
            spaces[row["space"]] = spaces.get(row["space"], 0) + row["unread"]
    return Unread(
        unread=sum(kinds.values()),
        kinds=[KindCount(kind=kind, unread=unread) for kind, unread in kinds.items()],
        spaces=[SpaceCount(space=space, unread=spaces[space]) for space in sorted(spaces)],
    )


async def counts_now(db: Database, account: UUID) -> UnreadNow:
    """The same of one, as of a fact of its stream."""
    rows = await db.fetch(
        """
        SELECT s.head, n.* FROM stream s LEFT JOIN
               (SELECT kind, space, count(*) AS unread FROM notification
                 WHERE account = $1 AND NOT read GROUP BY kind, space) n ON true
         WHERE s.id = $1 ORDER BY kind, space
        """,
        account,
    )
    return UnreadNow(
        counts=_counted([row for row in rows if row["kind"] is not None]), head=rows[0]["head"] if rows else 0
    )


# Reading


async def page(
    db: Database, account: UUID, *, unread: bool, kinds: Sequence[Kind], after: int | None, limit: int
) -> list[Listed]:
    """The newest first."""
    rows = await db.fetch(
        f"""
        SELECT {COLUMNS}, {_GONE} AS gone FROM {FROM}
         WHERE n.account = $1 AND n.id < $2 AND (NOT $3 OR NOT n.read)
           AND (n.kind = ANY ($4::text[]) OR $4::text[] = '{{}}')
         ORDER BY n.id DESC LIMIT $5
        """,
        account,
        2**63 - 1 if after is None else after,
        unread,
        list(kinds),
        limit,
    )
    return [Listed(notification(row), row["gone"]) for row in rows]


def paged(found: Sequence[Notification], limit: int, now: UnreadNow) -> NotificationPage:
    """A page of what was found, which is one more if there is a next one."""
    some = list(found[:limit])
    return NotificationPage(
        notifications=some, next=some[-1].id if len(found) > limit else None, head=now.head, counts=now.counts
    )
