"""Pages of what was found: messages with what stands around the words, channels by how well their names fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from protocol.channel import Memberships
from protocol.codec import encode
from protocol.search import Hit, Hits, Part, SearchMessages
from server.reach import Reach
from storage import finding, words
from storage import membership as memberships
from storage import query as queries
from storage.finding import Found
from storage.pool import Pool
from storage.query import Query

T = TypeVar("T")
_PAGE_BYTES = 250_000
_AROUND, _BEFORE = 200, 60
_NAMED = 5000


async def messages(db: Pool, reach: Reach, viewer: UUID, frame: SearchMessages, channels: Sequence[UUID]) -> Hits:
    """One page."""
    query = queries.parse(frame.text, finding.marks(frame))
    where = channels or await reach.readable(db, viewer)
    hits, next = await page(db, reach, viewer, where, query, frame, _hit)
    return Hits(hits=hits, next=next)


def _hit(one: Found) -> Hit:
    return Hit(channel=one.position[1], message=one.message, snippet=snippet(one.message.text, one.ranges))


async def page(
    db: Pool,
    reach: Reach,
    viewer: UUID,
    channels: Sequence[UUID],
    query: Query,
    frame: SearchMessages,
    show: Callable[[Found], T],
) -> tuple[list[T], str | None]:
    """What there is of it in these channels, as it is shown, and what asks for the page after it."""
    if not channels:
        return [], None
    found = await finding.candidates(db, channels, query, frame)
    hits = await finding.read(db, viewer, reach.of(db, viewer), [position for position, _ in found.keys], query)
    some, size = list[T](), 0
    for one in hits:
        shown = show(one)
        size += len(encode(shown))
        if len(some) == frame.limit or (size > _PAGE_BYTES and some):
            return some, _cursor(found, hits[len(some) - 1])
        some.append(shown)
    return some, found.rest


def _cursor(found: finding.Candidates, last: Found) -> str:
    return next(cursor for position, cursor in found.keys if position == last.position)


def snippet(text: str, ranges: Sequence[tuple[int, int]]) -> list[Part]:
    """What stands around the first range, with what was looked for in pieces of its own."""
    first, last = _window(text, ranges[0][0] if ranges else 0)
    found, at = [Part(text="…")] if first else [], first
    for begin, end in ranges:
        if begin >= last:
            break
        if begin > at:
            found.append(Part(text=text[at:begin]))
        found.append(Part(text=text[max(begin, at) : min(end, last)], hit=True))
        at = min(end, last)
    if at < last:
        found.append(Part(text=text[at:last]))
    return [*found, Part(text="…")] if last < len(text) else found


def _window(text: str, around: int) -> tuple[int, int]:
    """Where a snippet begins and ends: between words, if there are any near."""
    first = max(0, around - _BEFORE)
    if first:
        first = min((at + 1 for at in range(first, around) if text[at].isspace()), default=first)
    last = min(len(text), first + _AROUND)
    if last < len(text):
        last = max((at for at in range(max(around + 1, last - _BEFORE), last) if text[at].isspace()), default=last)
    return first, last


# Channels


async def channels(db: Pool, viewer: UUID, text: str, limit: int) -> Memberships:
    """The best first; of those that fit alike the one that moved last."""
    wanted = [piece for piece, _, _, _ in words.pieces(words.fold(text))]
    queries.check(wanted)
    scores = {one.id: max((fit(wanted, name) for name in one.names), default=0) for one in await _named(db, viewer)}
    best = sorted((id for id, score in scores.items() if score), key=lambda id: -scores[id])[:limit]
    return Memberships(channels=await memberships.among(db, viewer, best), next=None)


async def _named(db: Pool, viewer: UUID) -> list[finding.Named]:
    return await finding.named(db, viewer, _NAMED)


def fit(wanted: Sequence[str], name: str) -> int:
    """How well a name fits: 0 for not at all; each word has to be in it, as a beginning, a part, or nearly."""
    folded = words.fold(name)
    there = [piece for piece, _, _, _ in words.pieces(folded)]
    scores = [_fit(word, there, folded) for word in wanted]
    return sum(scores) if all(scores) else 0


def _fit(word: str, there: Sequence[str], folded: str) -> int:
    if word in there:
        return 5
    if any(one.startswith(word) for one in there):
        return 4
    if word in folded:
        return 3
    errors = len(word) // 4  # one in four letters, two in eight
    if errors and any(_differ(word, one, min(errors, 2)) for one in there):
        return 2
    return 1 if errors and any(_differ(word, one[: len(word)], 1) for one in there) else 0


def _differ(one: str, other: str, most: int) -> bool:
    """Whether so few letters are missing, too many, wrong or exchanged."""
    if abs(len(one) - len(other)) > most:
        return False
    before, row = list[int](), list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, before, row = before, row, [i]
        for j, b in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return False
    return row[-1] <= most
