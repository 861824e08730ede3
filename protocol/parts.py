"""Parts of what may be very much, so that nobody has to wait for all of it at once."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from protocol.codec import encode
from protocol.frame import Body

PAGE_BYTES = 250_000  # with what is around it less than 256 KiB
T = TypeVar("T")


def parts(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Slices of at most this size, in order."""
    for at in range(0, len(things), size):
        yield things[at : at + size]


def fitting(found: Sequence[Body], limit: int, room: int = PAGE_BYTES) -> int:
    """How many of these, from the first on, are a page: no more than a frame should hold, but one if there is one."""
    size = 0
    for number, one in enumerate(found[:limit]):
        size += len(encode(one)) + 1
        if size > room and number:
            return number
    return min(limit, len(found))
