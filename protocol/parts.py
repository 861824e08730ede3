"""Parts of what may be very much, so that nobody has to wait for all of it at once."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def parts(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Slices of at most this size, in order."""
    for at in range(0, len(things), size):
        yield things[at : at + size]
