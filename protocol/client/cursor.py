"""Cursors: the last fact of each stream that the program has, or that waits to be taken.

Rule 1: a cursor moves by one fact at a time; only what the program reads anew lets it leap.
Rule 2: a stream that did not fit into a resume is in doubt until the server was asked about it.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal
from uuid import UUID

from protocol.frame import Fact
from protocol.session import Cursor

Place = Literal["next", "old", "gap", "leap"]

_AT_MOST = 1000
_BYTES = len('{"stream":"","seq":},') + 36


class Cursors:
    """Streams and seqs, the one that moved last at the end."""

    def __init__(self) -> None:
        self._seqs: OrderedDict[UUID, int] = OrderedDict()
        self._doubted: set[UUID] = set()
        self.first: UUID | None = None  # the account: it tells of channels come and gone

    def __len__(self) -> int:
        return len(self._seqs)

    def get(self, stream: UUID) -> int | None:
        """The last fact that is there, None for a stream that nothing is known of."""
        return self._seqs.get(stream)

    def place(self, fact: Fact) -> Place:
        """Where a fact belongs; `leap`: others before it were missed for good, because nobody asked for them."""
        cursor = self._seqs.get(fact.stream)
        if cursor is None or fact.seq == cursor + 1:
            return "next"
        if fact.seq <= cursor:
            return "old"
        return "leap" if fact.stream in self._doubted else "gap"

    def move(self, stream: UUID, seq: int) -> None:
        """The program has it up to here."""
        self._seqs[stream] = seq
        self._seqs.move_to_end(stream)
        self._doubted.discard(stream)

    def learn(self, stream: UUID, head: int) -> None:
        """A reply told a head. Where facts are followed already, those up to there are still to come."""
        if stream not in self._seqs:
            self._seqs[stream] = head
            self._seqs.move_to_end(stream, last=False)  # what is told first is the newest

    def forget(self, stream: UUID) -> None:
        """Nothing is followed there any more."""
        self._seqs.pop(stream, None)
        self._doubted.discard(stream)

    def clear(self) -> None:
        """Forget everything."""
        self._seqs.clear()
        self._doubted.clear()
        self.first = None

    # What fits into a frame

    def name(self, room: int) -> list[Cursor]:
        """Cursors to resume from, of `room` bytes; those of all other streams are in doubt from now on."""
        named = _fitting(self._newest(), room)
        self._doubted = self._seqs.keys() - {cursor.stream for cursor in named}
        return named

    def heads(self, room: int) -> list[Cursor]:
        """Cursors to have compared, of `room` bytes: what is in doubt first, then what moved last."""
        doubted = ((stream, self._seqs[stream]) for stream in self._doubted)
        newest = (item for item in self._newest() if item[0] not in self._doubted)
        return _fitting(chain(doubted, newest), room)

    def _newest(self) -> Iterator[tuple[UUID, int]]:
        if self.first is not None and self.first in self._seqs:
            yield self.first, self._seqs[self.first]
        for item in reversed(self._seqs.items()):
            if item[0] != self.first:
                yield item

    # Doubts

    @property
    def doubts(self) -> int:
        """How many streams are in doubt."""
        return len(self._doubted)

    def doubtful(self, stream: UUID) -> bool:
        """Whether facts of this stream may have been missed."""
        return stream in self._doubted

    def trust(self, stream: UUID) -> None:
        """The server has nothing newer of this stream."""
        self._doubted.discard(stream)


def _fitting(items: Iterable[tuple[UUID, int]], room: int) -> list[Cursor]:
    found: list[Cursor] = []
    for stream, seq in items:
        room -= _BYTES + len(str(seq))
        if room < 0 or len(found) == _AT_MOST:
            break
        found.append(Cursor(stream=stream, seq=seq))
    return found
