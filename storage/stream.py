"""stream: heads, facts, and reading what was missed.

Rule 1: whoever writes facts has locked their streams first, in the order of their ids.
Rule 2: a fact takes the next seq in the transaction that stores it: no gap, no two with one number.
Rule 3: words are not kept in facts: what tells of a message, sent or scheduled, or a draft tells of its present state.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from msgspec import Struct

from protocol.codec import encode
from protocol.draft import DraftCleared, DraftSaved
from protocol.frame import Fact
from protocol.message import Message
from protocol.parts import parts
from protocol.scheduled import ScheduledCancelled, ScheduledSaved
from storage import draft, message, scheduled
from storage.pool import Database, Pool, Row, Transaction
from storage.standing import ACCESS

# The access version of a stream that was deleted: newer than any that something was decided under.
GONE = 2**63 - 1
_LOCKED_AT_ONCE = 250
_PRUNED_AT_ONCE = 500


class Place(Struct, frozen=True):
    """How far a stream is; `guard`: the space that it is, or is in."""

    id: UUID
    head: int
    access: int
    guard: UUID | None = None


class Missed(Struct, frozen=True):
    """Facts behind a cursor, in order: seqs and frames; `kept`: cursors before it can't be served."""

    head: int
    access: int
    kept: int
    facts: list[tuple[int, bytes]]

    def follows(self, cursor: int) -> bool:
        """Whether these are what comes next behind a cursor, with nothing left out."""
        return bool(self.facts) and self.kept <= cursor and self.facts[-1][0] == cursor + len(self.facts)


def _place(row: Row) -> Place:
    return Place(row["id"], row["head"], row["access"])


async def places(db: Database, account: UUID) -> list[Place]:
    """Every stream that an account hears by itself: its own first, then its direct channels, groups and spaces."""
    rows = await db.fetch(
        """
        SELECT id, head, access, guard, 0 AS place FROM stream WHERE id = $1
        UNION ALL
        SELECT s.id, s.head, s.access, s.guard, 1 FROM member m JOIN stream s ON s.id = m.channel WHERE m.account = $1
        UNION ALL
        SELECT s.id, s.head, s.access, s.id, 2 FROM space_member m
          JOIN space p ON p.id = m.space AND p.deleted_at IS NULL JOIN stream s ON s.id = p.id WHERE m.account = $1
        ORDER BY place
        """,
        account,
    )
    return [Place(row["id"], row["head"], row["access"], row["guard"]) for row in rows]


async def places_among(db: Database, account: UUID, streams: Sequence[UUID]) -> list[Place]:
    """Those of these streams that an account hears by itself."""
    rows = await db.fetch(
        """
        SELECT s.id, s.head, s.access, p.id AS guard FROM stream s
          LEFT JOIN space p ON p.id = s.id AND p.deleted_at IS NULL
         WHERE s.id = ANY ($2::uuid[])
           AND (s.id = $1 OR EXISTS (SELECT FROM member m WHERE m.channel = s.id AND m.account = $1)
                OR EXISTS (SELECT FROM space_member m WHERE m.space = p.id AND m.account = $1))
        """,
        account,
        list(streams),
    )
    return [Place(row["id"], row["head"], row["access"], row["guard"]) for row in rows]


async def place(db: Database, stream: UUID) -> Place | None:
    """Where a stream is, whoever may hear it."""
    row = await db.fetchrow(
        f"""
        SELECT s.id, s.head, {ACCESS} AS access, coalesce(p.id, s.guard) AS guard
          FROM stream s LEFT JOIN space p ON p.id = s.id WHERE s.id = $1
        """,
        stream,
    )
    return Place(row["id"], row["head"], row["access"], row["guard"]) if row else None


async def channels(db: Database, account: UUID) -> list[UUID]:
    """The direct channels and groups of an account."""
    rows = await db.fetch("SELECT m.channel FROM member m WHERE m.account = $1", account)
    return [row["channel"] for row in rows]


async def threads(db: Database, rooms: Sequence[UUID], limit: int) -> list[UUID]:
    """Threads in these channels, the newest first."""
    rows = await db.fetch(
        "SELECT id FROM channel WHERE parent = ANY ($1::uuid[]) AND kind = 'thread' ORDER BY id DESC LIMIT $2",
        list(rooms),
        limit,
    )
    return [row["id"] for row in rows]


async def access(db: Database, stream: UUID) -> int:
    """The access version of a stream."""
    return (await accesses(db, [stream])).get(stream, GONE)


async def accesses(db: Database, streams: Sequence[UUID]) -> dict[UUID, int]:
    """The access versions of those of these streams that exist."""
    rows = await db.fetch(f"SELECT s.id, {ACCESS} AS access FROM stream s WHERE s.id = ANY ($1::uuid[])", list(streams))
    return {row["id"]: row["access"] for row in rows}


async def moved(db: Database, known: Sequence[Place]) -> list[Place]:
    """Which of these streams are not as they are known; those that are no more have no facts, and are `GONE`."""
    rows = await db.fetch(
        f"""
        SELECT k.id, coalesce(s.head, 0) AS head, coalesce({ACCESS}, {GONE}) AS access
          FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS k(id, head, access) LEFT JOIN stream s USING (id)
         WHERE s.head <> k.head OR coalesce({ACCESS}, {GONE}) > k.access
        """,
        [one.id for one in known],
        [one.head for one in known],
        [one.access for one in known],
    )
    return [_place(row) for row in rows]


# Reading

_SAVED, _CLEARED, _PLANNED, _CANCELLED = (
    str(kind.__struct_config__.tag) for kind in (DraftSaved, DraftCleared, ScheduledSaved, ScheduledCancelled)
)


async def missed(db: Database, stream: UUID, after: int, limit: int) -> Missed | None:
    """The first facts behind `after`, messages among them; None when the stream is no more."""
    rows = await db.fetch(
        f"""
        WITH facts AS (
            (SELECT seq, kind, data, told FROM fact WHERE stream = $1 AND seq > $2 ORDER BY seq LIMIT $3)
            UNION ALL
            (SELECT seq, 'message.created', NULL, seq FROM message
              WHERE channel = $1 AND seq > $2 ORDER BY seq LIMIT $3)
            ORDER BY 1 LIMIT $3)
        SELECT s.head, {ACCESS} AS access, s.kept, f.seq AS fact, f.kind, f.data, f.told,
               {message.COLUMNS}, {draft.COLUMNS}, {scheduled.COLUMNS}
          FROM stream s LEFT JOIN facts f ON true LEFT JOIN message m ON m.channel = s.id AND m.seq = f.told
          LEFT JOIN draft d ON d.account = s.id
               AND d.channel = CASE WHEN f.kind = '{_SAVED}' THEN (f.data::json ->> 'channel')::uuid END
          LEFT JOIN scheduled p ON p.account = s.id
               AND p.id = CASE WHEN f.kind = '{_PLANNED}' THEN (f.data::json ->> 'scheduled')::uuid END
         WHERE s.id = $1 ORDER BY f.seq
        """,
        stream,
        after,
        limit,
    )
    if not rows:
        return None
    key = str(stream).encode()
    facts = [(row["fact"], _frame(row, key)) for row in rows if row["fact"] is not None]
    return Missed(rows[0]["head"], rows[0]["access"], rows[0]["kept"], facts)


def _frame(row: Row, key: bytes) -> bytes:
    kind = row["kind"]
    if kind == _SAVED and row["drafted"] is None:
        kind = _CLEARED
    if kind == _PLANNED and row["planned"] is None:
        kind = _CANCELLED
    head = header(kind.encode(), key, row["fact"])
    if row["told"] is not None:
        return b'%b,"message":%b}' % (head, encode(message.message(row)))
    if kind == _SAVED:
        return b'%b,"draft":%b}' % (head, encode(draft.draft(row)))
    if kind == _PLANNED:
        return b'%b,"scheduled":%b}' % (head, encode(scheduled.scheduled(row)))
    data = row["data"].encode()
    return b"%b,%b" % (head, data[1:]) if data != b"{}" else head + b"}"


def header(kind: bytes, key: bytes, seq: int) -> bytes:
    """What every fact's frame begins with."""
    return b'{"ev":"%b","stream":"%b","seq":%d' % (kind, key, seq)


# Writing


async def lock(tx: Transaction, streams: Iterable[UUID]) -> dict[UUID, Place]:
    """Hold streams until the transaction ends; those that exist."""
    wanted, found = sorted(streams), dict[UUID, Place]()
    for some in parts(wanted, _LOCKED_AT_ONCE):
        rows = await tx.fetch("SELECT id, head, access FROM stream_lock($1)", some)
        found |= {row["id"]: _place(row) for row in rows}
    return found


async def create(tx: Transaction, stream: UUID, guard: UUID | None = None) -> Place:
    """A stream without facts; in a space, under its guard."""
    await tx.execute("INSERT INTO stream (id, guard) VALUES ($1, $2)", stream, guard)
    return Place(stream, 0, await access(tx, stream))


async def move(tx: Transaction, places: Sequence[Place], withdrawn: Collection[UUID]) -> None:
    """Say where locked streams are now; in those that are withdrawn somebody has lost a right."""
    await tx.execute(
        """
        UPDATE stream s SET head = n.head, access = s.access + n.withdrawn
          FROM unnest($1::uuid[], $2::bigint[], $3::integer[]) AS n(id, head, withdrawn) WHERE s.id = n.id
        """,
        [one.id for one in places],
        [one.head for one in places],
        [int(one.id in withdrawn) for one in places],
    )


async def record(tx: Transaction, facts: Sequence[tuple[Fact, bytes]]) -> None:
    """Keep the facts that moved streams there."""
    rows = [_row(fact, frame) for fact, frame in facts]
    await tx.execute(
        """
        INSERT INTO fact (stream, seq, kind, data, told)
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::bigint[])
        """,
        *(list(column) for column in zip(*rows, strict=True)),
    )


def _row(fact: Fact, frame: bytes) -> tuple[UUID, int, str, str, int | None]:
    kind = str(fact.__struct_config__.tag)
    told = getattr(fact, "message", None)
    if isinstance(told, Message):
        return fact.stream, fact.seq, kind, "{}", told.seq
    if isinstance(fact, DraftSaved):
        return fact.stream, fact.seq, kind, encode({"channel": fact.draft.channel}).decode(), None
    if isinstance(fact, ScheduledSaved):
        return fact.stream, fact.seq, kind, encode({"scheduled": fact.scheduled.id}).decode(), None
    head = header(kind.encode(), str(fact.stream).encode(), fact.seq)
    assert frame.startswith(head)
    rest = frame[len(head) + 1 :].decode() or "}"
    return fact.stream, fact.seq, kind, "{" + rest, None


async def prune(pool: Pool, days: int) -> None:
    """Forget facts that are older, a few at a time; messages stay. Who was away for longer reads anew."""
    while await _prune_some(pool, days) == _PRUNED_AT_ONCE:
        pass


async def _prune_some(pool: Pool, days: int) -> int:
    async with pool.transaction() as tx:
        old = await tx.fetch(
            f"""
            SELECT stream, seq FROM fact WHERE at < now() - make_interval(days => $1)
             ORDER BY at LIMIT {_PRUNED_AT_ONCE}
            """,
            days,
        )
        await lock(tx, {row["stream"] for row in old})
        await tx.execute(
            """
            WITH old AS (
                DELETE FROM fact f USING unnest($1::uuid[], $2::bigint[]) AS o(stream, seq)
                 WHERE f.stream = o.stream AND f.seq = o.seq RETURNING f.stream, f.seq
            ), top AS (
                SELECT stream, max(seq) AS seq FROM old GROUP BY stream
            )
            UPDATE stream s SET kept = greatest(s.kept, top.seq) FROM top WHERE s.id = top.stream
            """,
            [row["stream"] for row in old],
            [row["seq"] for row in old],
        )
    return len(old)
