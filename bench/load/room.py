"""A channel as one generator knows it: which message stands where, by what its members were told.

Rule: a message takes eight bytes here, however long the run is.
"""

from __future__ import annotations

import hashlib
from array import array
from typing import NamedTuple

from bench.load.plan import Account

_UNKNOWN = -1


class Chunk(NamedTuple):
    """Facts of one room that followed each other in one piece."""

    data: bytes = b""
    first: int = 0
    last: int = 0
    stamps: tuple[int, ...] = ()


class Room:
    """What the members of a channel share. Each message has a stamp of its own; other facts have 0."""

    __slots__ = ("_first", "_stamps", "acked", "chunk", "id")

    def __init__(self, channel: str) -> None:
        self.id, self.acked, self.chunk = channel.encode(), 0, Chunk()
        self._first, self._stamps = 0, array("q")

    def begin(self, head: int) -> None:
        """Everything after this head is going to be told."""
        self._first = self._first or head + 1

    def agrees(self, seq: int, stamp: int) -> bool:
        """Somebody was told what stands at a seq: whether all others who heard of it were told the same."""
        stamps, at = self._stamps, seq - self._first
        if at < 0:
            return True
        if at >= len(stamps):
            stamps.extend([_UNKNOWN] * (at - len(stamps)))
            stamps.append(stamp)
        elif stamps[at] == _UNKNOWN:
            stamps[at] = stamp
        return stamps[at] == stamp

    def account(self) -> Account | None:
        """What to compare with other generators; None while something is missing."""
        if not self._stamps or _UNKNOWN in self._stamps:
            return None
        last = self._first + len(self._stamps) - 1
        return self._first, last, hashlib.sha256(self._stamps.tobytes()).hexdigest()
