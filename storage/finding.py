"""finding: messages by their documents, in bounded time, however many there are.

The newest messages of all channels are looked at first, some of each channel, from the newest on: words that many
messages have are found among them. What few have is found by the index. Neither looks at more than it may.

Rule 1: where somebody may read is told by `readable` alone: before it is looked for, and again for what was found.
Rule 2: whether a message is what was looked for is decided by what it says now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from math import exp2
from uuid import UUID

from msgspec import Struct

from protocol.message import Message
from protocol.search import SearchMessages
from storage import message as messages
from storage import query as queries
from storage import words
from storage.pool import Database
from storage.query import Asked, Query
from storage.tail import COLUMNS

_EXPANDED = 64
_LOOKED_AT, _AT_FIRST, _CHANNELS = 6000, 2000, 500
_EACH, _EACH_AT_MOST = 4, 1000
_RANKED, _COMMON = 1000, 200
_PATIENCE = 2.0
_HALF_LIFE = 30 * 86400.0
_BEGINNING, _END = (
    datetime.fromisoformat("0001-01-02T00:00:00+00:00"),
    datetime.fromisoformat("9999-01-01T00:00:00+00:00"),
)
_NO_ID, _LAST_ID = UUID(int=0), UUID(int=2**128 - 1)
Position = tuple[datetime, UUID, int]  # newer ones are greater


async def readable(db: Database, account: UUID, among: Sequence[UUID] | None = None) -> list[UUID]:
    """The channels whose messages an account may read now; `among`: only of these."""
    rows = await db.fetch(
        "SELECT channel FROM member WHERE account = $1 AND ($2::uuid[] IS NULL OR channel = ANY ($2))",
        account,
        list(among) if among is not None else None,
    )
    return [row["channel"] for row in rows]


async def readable_all(db: Database, viewer: UUID, channels: Sequence[UUID]) -> list[UUID] | None:
    """Channels every one of which the viewer may read."""
    found = await readable(db, viewer, channels)
    return found if len(found) == len(set(channels)) else None


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


class _Front(Struct):
    """How far down a channel was looked at: all that there is above `position`; the next look begins at `bound`."""

    position: Position
    bound: Position
    whole: bool = False


class _Search:
    """One look for candidates."""

    def __init__(self, db: Database, channels: Sequence[UUID], asked: Asked, frame: SearchMessages) -> None:
        self._db, self._channels, self._asked, self._frame = db, channels, asked, frame
        self._since = frame.since or _BEGINNING
        self._top: Position = (frame.until or _END, _NO_ID, 0)
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
        return Candidates(keys, _position(min(end, top)) if end is not None else None)

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

    # Looking

    async def _look(self, top: Position, enough: int) -> tuple[list[Position], Position | None]:
        """Look at the newest messages until there are enough hits, or until it is too much; what is sure, down to where.

        However much it is, every channel is looked at once, so that the next page begins further down.
        """
        fronts = {channel: _Front(bound, bound) for channel in self._channels if (bound := _below(top, channel))}
        if len(fronts) > _CHANNELS:
            await self._start(fronts)
        hits, looked_at = list[Position](), 0
        each = min(max(_EACH, _AT_FIRST // len(fronts)), _EACH_AT_MOST)
        while True:
            left = sorted((one for one in fronts.values() if not one.whole), key=_newest_first, reverse=True)
            end = left[0].position if left else None
            hits.sort(reverse=True)
            sure = [one for one in hits if end is None or one >= end]
            if end is None or len(sure) >= enough or (looked_at >= _LOOKED_AT and end < top):
                return sure, end
            least = hits[enough - 1] if len(hits) >= enough else None
            chosen = [one for one in left[:_CHANNELS] if least is None or one.position >= least]
            looked_at += await self._look_at(chosen, each, hits)
            each = min(2 * each, max(_EACH, (_LOOKED_AT - looked_at) // len(chosen)), _EACH_AT_MOST)

    async def _start(self, fronts: dict[UUID, _Front]) -> None:
        """Of very many channels those come first that moved last: nothing newer stands in the others."""
        rows = await self._db.fetch("SELECT id, moved_at FROM stream WHERE id = ANY ($1::uuid[])", self._channels)
        for row in rows:
            front = fronts[row["id"]]
            front.position = min(front.position, (row["moved_at"], row["id"], 2**62))

    async def _look_at(self, fronts: Sequence[_Front], each: int, hits: list[Position]) -> int:
        """Some more of these channels; how many messages were looked at."""
        rows = await self._db.fetch(
            f"""
            SELECT c.k, x.* FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[])
                   WITH ORDINALITY AS c(id, at, seq, k), LATERAL (
                SELECT count(*) AS n, min(at) AS at, min(seq) AS seq,
                       array_agg(at) FILTER (WHERE hit) AS ats, array_agg(seq) FILTER (WHERE hit) AS seqs
                  FROM (SELECT at, seq, {self._condition(6) or "true"} AS hit FROM search
                         WHERE channel = c.id AND (at, seq) < (c.at, c.seq) AND at >= $5
                         ORDER BY at DESC, seq DESC LIMIT $4) s) x
            """,
            [one.bound[1] for one in fronts],
            [one.bound[0] for one in fronts],
            [one.bound[2] for one in fronts],
            each,
            self._since,
            *self._values,
        )
        for row in rows:
            front = fronts[row["k"] - 1]
            channel = front.bound[1]
            front.whole = row["n"] < each
            if row["n"]:
                front.position = front.bound = (row["at"], channel, row["seq"])
            hits.extend((at, channel, seq) for at, seq in zip(row["ats"] or (), row["seqs"] or (), strict=True))
        return sum(row["n"] for row in rows)

    # In order of rank

    async def by_rank(self, wanted: str) -> Candidates:
        """The best of the newest ones; the first page says which those are."""
        began, worst = _read_rank(self._frame.after)
        top = min(self._top, (began, _LAST_ID, 2**62))
        found, end = await self._look(top, _RANKED)
        if end is not None and len(found) < _COMMON:
            found, _ = await self._newest(top, _RANKED)
        ranks = await self._ranks(found[:_RANKED], wanted)
        scored = sorted(
            ((_score(rank, began, one), one) for rank, one in zip(ranks, found, strict=False)), reverse=True
        )
        start = f"{began.isoformat()} "
        keys = [(one, f"{start}{score!r} {_position(one)}") for score, one in scored if (score, one) < worst]
        some = keys[: self._frame.limit + 1]
        return Candidates(some, some[-1][1] if len(keys) > len(some) else None)

    async def _ranks(self, found: Sequence[Position], wanted: str) -> list[float]:
        if not wanted:
            return [0.0] * len(found)
        rows = await self._db.fetch(
            """
            SELECT coalesce(ts_rank_cd(s.words, (SELECT $4::text::tsquery), 1), 0)::float8 AS rank
              FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) WITH ORDINALITY AS p(channel, at, seq, k)
              LEFT JOIN search s USING (channel, at, seq) ORDER BY k
            """,
            [channel for _, channel, _ in found],
            [at for at, _, _ in found],
            [seq for _, _, seq in found],
            wanted,
        )
        return [row["rank"] for row in rows]


def _newest_first(front: _Front) -> Position:
    return front.position


def _below(top: Position, channel: UUID) -> Position:
    """The same bound within one channel."""
    at, other, seq = top
    return at, channel, seq if channel == other else 2**62 if channel < other else 0


def _score(rank: float, now: datetime, position: Position) -> float:
    """A message of today counts three times as much as an old one."""
    age = max(0.0, (now - position[0]).total_seconds())
    return rank * (1 + 2 * exp2(-age / _HALF_LIFE))


# Cursors: one that is none begins at the beginning


def _position(one: Position) -> str:
    return f"{one[0].isoformat()} {one[1]} {one[2]}"


def _read_position(text: str | None) -> Position | None:
    try:
        at, channel, seq = (text or "").split(" ")
        found = datetime.fromisoformat(at)
        return (found.astimezone(UTC), UUID(channel), min(int(seq), 2**62)) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _read_rank(text: str | None) -> tuple[datetime, tuple[float, Position]]:
    """When it began, and behind which score and position it goes on."""
    try:
        at, score, rest = (text or "").split(" ", 2)
        began, position = datetime.fromisoformat(at), _read_position(rest)
        if began.tzinfo and position is not None:
            return began.astimezone(UTC), (float(score), position)
    except (ValueError, OverflowError):
        pass
    return datetime.now(UTC), (float("inf"), (_END, _LAST_ID, 0))


# What was found


async def read(
    db: Database, viewer: UUID, keys: Sequence[Position], query: Query, frame: SearchMessages
) -> list[Found]:
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
    still = set(await readable(db, viewer, list({channel for channel, _ in found})))
    hits = []
    for position in keys:
        one = found.get(position[1:])
        if one is None or position[1] not in still or not set(query.marks) <= set(words.marks(one)):
            continue
        ranges = queries.matches(query, one.text)
        if ranges is not None:
            hits.append(Found(position, one, ranges))
    return hits


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
