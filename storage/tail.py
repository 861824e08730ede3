"""tail: how far the work behind each channel's facts is done, and what there is still to do.

Rule 1: who works behind a channel holds its row in `tail`; what comes of it and how far it is now are one transaction.
Rule 2: messages are told as they are now: what has changed meanwhile comes again with the fact that says so.
Rule 3: nothing is done behind a channel that was deleted; whoever closes it holds its row, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.message import Message
from storage import message
from storage.pool import Database, Row, Transaction

COLUMNS = message.COLUMNS.replace("m.reactions", "NULL AS reactions")


class Span(Struct, frozen=True):
    """Facts of a channel that are to be worked on: behind `after`, up to `last`."""

    channel: UUID
    after: int
    last: int


class Told(Struct, frozen=True):
    """A fact that is no message, as it was told: JSON of its own fields."""

    seq: int
    kind: str
    data: str


class Portion(Struct, frozen=True):
    """What has happened in a channel: what is new, what has changed, what was taken back, and every other fact."""

    span: Span
    created: list[Message]
    changed: list[Message]
    deleted: list[int]
    facts: list[Told]


class Held(Struct, frozen=True):
    """Channels of which the caller holds the tails, those that somebody else holds, and those without a tail."""

    spans: list[Span]
    busy: list[UUID]
    new: list[UUID]


async def take(tx: Transaction, channels: Sequence[UUID], facts: int) -> Held:
    """Hold the tails of those of these channels that nobody else holds; of each some facts to work on."""
    rows = await tx.fetch(
        """
        WITH held AS MATERIALIZED (
            SELECT channel, seq FROM tail WHERE channel = ANY ($1::uuid[]) FOR UPDATE SKIP LOCKED
        )
        SELECT c.id, s.head, h.seq, h.seq IS NULL AND EXISTS (SELECT FROM tail t WHERE t.channel = c.id) AS busy
          FROM channel c JOIN stream s USING (id) LEFT JOIN held h ON h.channel = c.id
         WHERE c.id = ANY ($1::uuid[]) AND NOT EXISTS (SELECT FROM grave g WHERE g.channel = c.id)
        """,
        channels,
    )
    spans = [
        Span(row["id"], row["seq"], min(row["head"], row["seq"] + facts)) for row in rows if row["seq"] is not None
    ]
    busy = [row["id"] for row in rows if row["busy"]]
    new = [row["id"] for row in rows if row["seq"] is None and not row["busy"] and row["head"]]
    return Held([span for span in spans if span.last > span.after], busy, new)


async def begin(db: Database, channels: Sequence[UUID]) -> None:
    """From now on these have tails."""
    await db.execute(
        """
        INSERT INTO tail (channel, seq) SELECT id, 0 FROM
               (SELECT id FROM channel WHERE id = ANY ($1::uuid[]) ORDER BY id FOR KEY SHARE) c
        ON CONFLICT DO NOTHING
        """,
        channels,
    )


async def read(tx: Transaction, spans: Sequence[Span]) -> list[Portion]:
    """What stands there."""
    columns = [span.channel for span in spans], [span.after for span in spans], [span.last for span in spans]
    created = await tx.fetch(
        f"""
        SELECT m.channel, {COLUMNS} FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS p(channel, after, last)
          JOIN message m ON m.channel = p.channel AND m.seq > p.after AND m.seq <= p.last ORDER BY m.seq
        """,
        *columns,
    )
    facts = await tx.fetch(
        """
        SELECT f.stream, f.seq, f.kind, f.data, f.told
          FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS p(channel, after, last)
          JOIN fact f ON f.stream = p.channel AND f.seq > p.after AND f.seq <= p.last ORDER BY f.seq
        """,
        *columns,
    )
    about = {key for row in facts if (key := (row["stream"], _about(row)))[1]}
    changed = await messages(tx, sorted(about)) if about else []
    return _portions(spans, created, facts, changed)


def _about(row: Row) -> int:
    """The message that a fact has changed, if it has."""
    if row["told"] is not None:
        return int(row["told"])
    if row["kind"] in ("message.pinned", "message.unpinned"):
        return _Pin(row["data"]).message
    return 0


class _Pinned(Struct):
    message: int


class _Deleted(Struct):
    messages: list[int]


_Pin, _Deletion = msgspec.json.Decoder(_Pinned).decode, msgspec.json.Decoder(_Deleted).decode


async def messages(tx: Transaction, keys: Sequence[tuple[UUID, int]]) -> list[Row]:
    """Messages as they are now, by their channels and seqs."""
    return await tx.fetch(
        f"""
        SELECT m.channel, {COLUMNS} FROM unnest($1::uuid[], $2::bigint[]) AS p(channel, seq)
          JOIN message m ON m.channel = p.channel AND m.seq = p.seq ORDER BY m.seq
        """,
        [channel for channel, _ in keys],
        [seq for _, seq in keys],
    )


def _portions(
    spans: Sequence[Span], created: Sequence[Row], facts: Sequence[Row], changed: Sequence[Row]
) -> list[Portion]:
    found = {span.channel: Portion(span, [], [], [], []) for span in spans}
    for row in created:
        if row["deleted_at"] is None:
            found[row["channel"]].created.append(message.message(row))
    for row in changed:
        portion = found[row["channel"]]
        if row["deleted_at"] is None and row["seq"] <= portion.span.after:
            portion.changed.append(message.message(row))
    for row in facts:
        portion = found[row["stream"]]
        portion.facts.append(Told(row["seq"], row["kind"], row["data"]))
        if row["kind"] == "message.deleted":
            portion.deleted.extend(_Deletion(row["data"]).messages)
    return list(found.values())


async def move(tx: Transaction, spans: Sequence[Span]) -> None:
    """All of that is done."""
    await tx.execute(
        """
        UPDATE tail t SET seq = p.last FROM unnest($1::uuid[], $2::bigint[]) AS p(channel, last)
         WHERE t.channel = p.channel
        """,
        [span.channel for span in spans],
        [span.last for span in spans],
    )


async def behind(db: Database, after: UUID, limit: int) -> tuple[UUID | None, list[UUID]]:
    """Of the next channels by their ids those behind which something is left; and the last that was looked at.

    What was said within two seconds is probably being worked on.
    """
    row = await db.fetchrow(
        """
        SELECT count(*), array_agg(id) FILTER (WHERE left_behind) AS channels,
               (array_agg(id ORDER BY id DESC))[1] AS last
          FROM (SELECT c.id, s.head > coalesce(t.seq, 0) AND s.moved_at < now() - interval '2 s'
                       AND NOT EXISTS (SELECT FROM grave g WHERE g.channel = c.id) AS left_behind
                  FROM (SELECT id FROM channel WHERE id > $1 ORDER BY id LIMIT $2) c
                  JOIN stream s USING (id) LEFT JOIN tail t ON t.channel = c.id) x
        """,
        after,
        limit,
    )
    assert row is not None
    return row["last"] if row["count"] == limit else None, row["channels"] or []


async def close(tx: Transaction, channel: UUID) -> None:
    """Whoever worked behind a channel is done, and nobody begins again: it has a grave."""
    await tx.execute("DELETE FROM tail WHERE channel = $1", channel)
