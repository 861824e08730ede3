"""finding: messages by their documents, in bounded time, however many there are.

The newest messages are looked at first: words that many messages have are found among them. What few have is found by
the index. Neither looks at more than it may.

Rule 1: where somebody may read is told by `Reach.readable` (server/reach.py) alone: before it is looked for, and again
        for what was found.
Rule 2: whether a message is what was looked for is decided by what it says now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

from msgspec import Struct

from protocol.message import Message
from protocol.search import SearchMessages
from storage import cursor, words
from storage import message as messages
from storage import query as queries
from storage.pool import Database, Row
from storage.query import Asked, Query
from storage.tail import COLUMNS

_EXPANDED = 64
_LOOKED_AT = 6000
_RANKED, _COMMON = 500, 60
_PATIENCE = 2.0
_HALF_LIFE = 30 * 86400.0
Position = tuple[datetime, UUID, int]  # newer ones are greater


# Those of these channels whose messages somebody may read now.
Readable = Callable[[Sequence[UUID]], Awaitable[Collection[UUID]]]


class Found(Struct, frozen=True):
    """A message where it stands, and where in its words stands what was looked for."""

    position: Position
    message: Message
    ranges: list[tuple[int, int]]


class Candidates(Struct, frozen=True):
    """Where there may be hits, in the order that was asked for, each with its cursor; where to go on behind them."""

    keys: list[tuple[Position, str]]
    rest: str | None


def marks(frame: SearchMessages) -> list[str]:
    """What a message must have besides words."""
    found = [words.having(kind) for kind in dict.fromkeys(frame.has)]
    if frame.author is not None:
        found.append(words.author(frame.author))
    if frame.mentions is not None:
        found.append(words.mention(frame.mentions))
    if frame.hashtag is not None:
        found.append(words.hashtag(frame.hashtag))
    return found


async def candidates(db: Database, channels: Sequence[UUID], query: Query, frame: SearchMessages) -> Candidates:
    """What may be found in these channels."""
    asked = queries.asked(query, await _expanded(db, query.parts))
    search = _Search(db, channels, asked, frame)
    if frame.order == "rank" and query.terms:
        return await search.by_rank(queries.asked(Query(query.terms), await _expanded(db, query.parts)).words)
    return await search.by_time()


async def newest(
    db: Database, channels: Sequence[UUID], wanted: str, frame: SearchMessages, enough: int
) -> list[Position]:
    """The newest messages whose documents are like this, as far as there are some among the newest of all."""
    search = _Search(db, channels, Asked(wanted, [], False), frame)
    found, _ = await search.look(enough)
    return found


async def _expanded(db: Database, wanted: Sequence[str]) -> dict[str, list[str] | None]:
    """The words that contain each of these; None for too many."""
    found: dict[str, list[str] | None] = {}
    for part in dict.fromkeys(wanted):
        rows = await db.fetch(
            "SELECT word FROM search_word WHERE grams @@ (SELECT $1::text::tsquery) AND word LIKE $2 LIMIT $3",
            " & ".join(words.grams(part)),
            f"%{part}%",
            _EXPANDED + 1,
        )
        found[part] = [row["word"] for row in rows] if len(rows) <= _EXPANDED else None
    return found


class _Search:
    """One look for candidates."""

    def __init__(self, db: Database, channels: Sequence[UUID], asked: Asked, frame: SearchMessages) -> None:
        self._db, self._channels, self._asked, self._frame = db, channels, asked, frame
        self._since = frame.since or cursor.FIRST[0]
        self._top: Position = (frame.until or cursor.LAST[0], cursor.FIRST[1], 0)
        self._values = [one for one in (asked.words, asked.patterns) if one]

    def _condition(self, first: int) -> str:
        """Of a document's `words`; its values stand from a number on."""
        found = []
        if self._asked.words:
            found.append(f"words @@ (SELECT ${first}::text::tsquery)")
        if self._asked.patterns:
            found.append(f"words::text LIKE ALL (${first + len(found)}::text[])")
        return " AND ".join(found)

    # In order of time

    async def by_time(self) -> Candidates:
        """Newest first."""
        top = min(self._top, _read_position(self._frame.after) or self._top)
        enough = self._frame.limit + 1
        found, end = await self._newest(top, enough)
        keys = [(one, _position(one)) for one in found[:enough]]
        if len(found) > enough:
            return Candidates(keys, keys[-1][1])
        return Candidates(keys, _position(end) if end is not None else None)

    async def _newest(self, top: Position, enough: int) -> tuple[list[Position], Position | None]:
        """The newest ones; below which position there may be more, None for nowhere."""
        found, end = await self._look(top, enough)
        if end is None or len(found) >= enough or not self._asked.indexed:
            return found, end
        try:
            async with asyncio.timeout(_PATIENCE):
                found = await self._by_index(top, enough)
        except TimeoutError:
            return found, end
        return found, found[-1] if len(found) == enough else None

    async def _by_index(self, top: Position, limit: int) -> list[Position]:
        rows = await self._db.fetch(
            f"""
            SELECT s.at, s.channel, s.seq FROM unnest($1::uuid[]) AS c(id) JOIN
                   (SELECT channel, at, seq FROM search WHERE {self._condition(7)} OFFSET 0) s ON s.channel = c.id
             WHERE s.at >= $2 AND (s.at, s.channel, s.seq) < ($3, $4, $5)
             ORDER BY s.at DESC, s.channel DESC, s.seq DESC LIMIT $6
            """,
            self._channels,
            self._since,
            *top,
            limit,
            *self._values,
        )
        return [(row["at"], row["channel"], row["seq"]) for row in rows]

    async def look(self, enough: int) -> tuple[list[Position], Position | None]:
        """Without the index."""
        found, end = await self._look(self._top, enough)
        return found[:enough], end

    async def _look(self, top: Position, enough: int) -> tuple[list[Position], Position | None]:
        """The newest among so many messages; above which position none was left out, None for all were looked at."""
        row = await self._db.fetchrow(
            "SELECT * FROM search_newest($1, $2::text::tsquery, $3, $4, $5, $6, $7, $8, $9)",
            self._channels,
            self._asked.words or None,
            self._asked.patterns or None,
            self._since,
            *top,
            enough,
            _LOOKED_AT,
        )
        assert row is not None
        found = list(zip(row["ats"] or (), row["places"] or (), row["seqs"] or (), strict=True))
        if row["bottom_at"] is None:
            return found, None
        return found, (row["bottom_at"], row["bottom_channel"], row["bottom_seq"])

    # In order of rank

    async def by_rank(self, wanted: str) -> Candidates:
        """The best of the newest ones; the first page says which those are."""
        began, worst = _read_rank(self._frame.after)
        top = min(self._top, (began, cursor.LAST[1], 2**62))
        found, end = await self._look(top, _RANKED)
        if end is not None and len(found) < _COMMON and self._asked.indexed:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    found = await self._by_index(top, _RANKED)
        enough = self._frame.limit + 1
        rows = await self._best(found[:_RANKED], wanted, began, worst, enough + 1)
        start = f"{began.isoformat()} "
        keys = [((row["at"], row["channel"], row["seq"]), row["score"]) for row in rows]
        some = [(position, f"{start}{score!r} {_position(position)}") for position, score in keys[:enough]]
        return Candidates(some, some[-1][1] if len(keys) > len(some) else None)

    async def _best(
        self, found: Sequence[Position], wanted: str, began: datetime, worst: tuple[float, Position], limit: int
    ) -> list[Row]:
        """Those with the highest scores below one; a message of today counts three times as much as an old one."""
        score, position = worst
        return await self._db.fetch(
            f"""
            SELECT * FROM (
                SELECT p.channel, p.at, p.seq, coalesce(ts_rank_cd(s.words, (SELECT $4::text::tsquery), 1), 0)::float8
                       * (1 + 2 * power(0.5, extract(epoch FROM $5 - p.at)::float8 / {_HALF_LIFE})) AS score
                  FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) AS p(channel, at, seq)
                  LEFT JOIN search s USING (channel, at, seq)) x
             WHERE (score, at, channel, seq) < ($6::float8, $7::timestamptz, $8::uuid, $9::bigint)
             ORDER BY score DESC, at DESC, channel DESC, seq DESC LIMIT $10
            """,
            [channel for _, channel, _ in found],
            [at for at, _, _ in found],
            [seq for _, _, seq in found],
            wanted or None,
            began,
            score,
            *position,
            limit,
        )


# Cursors: one that is none begins at the beginning


def _position(one: Position) -> str:
    return f"{one[0].isoformat()} {one[1]} {one[2]}"


def _read_position(text: str | None) -> Position | None:
    try:
        at, channel, seq = (text or "").split(" ")
        return cursor.moment(at), UUID(channel), min(int(seq), 2**62)
    except (ValueError, OverflowError):
        return None


def _read_rank(text: str | None) -> tuple[datetime, tuple[float, Position]]:
    """When it began, and behind which score and position it goes on."""
    try:
        at, score, rest = (text or "").split(" ", 2)
        began, position = cursor.moment(at), _read_position(rest)
        if position is not None:
            return began, (float(score), position)
    except (ValueError, OverflowError):
        pass
    return datetime.now(UTC), (float("inf"), (*cursor.LAST, 0))


# What was found


async def read(db: Database, viewer: UUID, readable: Readable, keys: Sequence[Position], query: Query) -> list[Found]:
    """Those that the viewer sees and that are what was looked for, as they are now."""
    rows = await db.fetch(
        f"""
        SELECT m.channel, {COLUMNS} FROM unnest($2::uuid[], $3::bigint[]) AS p(channel, seq)
          JOIN message m ON m.channel = p.channel AND m.seq = p.seq
         WHERE m.deleted_at IS NULL AND {messages.IN_VIEW}
        """,
        viewer,
        [channel for _, channel, _ in keys],
        [seq for _, _, seq in keys],
    )
    found = {(row["channel"], row["seq"]): messages.message(row) for row in rows}
    still = set(await readable(list({channel for channel, _ in found})))
    hits = []
    for position in keys:
        one = found.get(position[1:])
        if one is None or position[1] not in still or not _has(one, query):
            continue
        ranges = queries.matches(query, one.text)
        if ranges is not None:
            hits.append(Found(position, one, ranges))
    return hits


def _has(message: Message, query: Query) -> bool:
    """Whether it has besides words what it should."""
    if not query.marks and not query.any:
        return True
    marks = {*words.marks(message)}
    return marks.issuperset(query.marks) and (not query.any or not marks.isdisjoint(query.any))


# Channels by their names


class Named(Struct, frozen=True):
    """A channel, and what it goes by."""

    id: UUID
    names: list[str]


async def named(db: Database, account: UUID, limit: int) -> list[Named]:
    """The channels of an account, the one that moved last first; a direct one goes by the other's names."""
    rows = await db.fetch(
        """
        SELECT c.id, c.name, a.username, a.display_name FROM
               (SELECT s.id, s.moved_at FROM member m JOIN stream s ON s.id = m.channel
                 WHERE m.account = $1 ORDER BY s.moved_at DESC LIMIT $2) s
          JOIN channel c USING (id) LEFT JOIN direct d ON d.channel = c.id
          LEFT JOIN account a ON a.id = CASE WHEN d.low = $1 THEN d.high ELSE d.low END
         ORDER BY s.moved_at DESC
        """,
        account,
        limit,
    )
    return [
        Named(row["id"], [name for name in (row["name"], row["username"], row["display_name"]) if name]) for row in rows
    ]
