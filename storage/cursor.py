"""cursor: where a page goes on: behind a moment, and an id where several are of one moment.

Rule: clients hand back what they were given; anything else begins at the beginning, and is never an error.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

Cursor = tuple[datetime, UUID]

FIRST: Cursor = (datetime(1, 1, 2, tzinfo=UTC), UUID(int=0))  # before everything, for pages that go forward
LAST: Cursor = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))  # behind everything, for pages that go back


def write(at: datetime, id: UUID) -> str:
    """What a client hands back for the next page."""
    return f"{at.isoformat()} {id}"


def read(text: str | None, beginning: Cursor) -> Cursor:
    """Behind what a page begins."""
    try:
        at, _, id = (text or "").partition(" ")
        return moment(at), UUID(id)
    except (ValueError, OverflowError):
        return beginning


def moment(text: str) -> datetime:
    """A time with a zone; ValueError or OverflowError where it is none."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without a zone")
    return found.astimezone(UTC)
