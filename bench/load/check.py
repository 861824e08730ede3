"""Whether a stream came as promised: every fact once, in the order of its seq, without a gap.

Rule: the ordinary case costs one comparison where the events are read (`seq == sequence.last + 1`); the rest is here.
"""


class Sequence:
    """What one receiver has got of one stream."""

    __slots__ = ("duplicated", "last", "missing", "reordered")

    def __init__(self, last: int) -> None:
        self.last, self.duplicated, self.reordered = last, 0, 0
        self.missing: set[int] = set()

    def take(self, seq: int) -> None:
        """A fact came."""
        if seq == self.last + 1:
            self.last = seq
        elif seq > self.last:
            self.missing.update(range(self.last + 1, seq))
            self.last = seq
        elif seq in self.missing:
            self.missing.discard(seq)
            self.reordered += 1
        else:
            self.duplicated += 1

    def lost(self, head: int) -> int:
        """How many facts of a stream with this head did not come."""
        return len(self.missing) + max(0, head - self.last)


class Echo:
    """What one sender said, what was acknowledged, and what of it came back to the sender's own socket.

    Each message is known by a stamp of its own; the seq of its acknowledgement must be that of the event.
    """

    __slots__ = ("_acked", "_heard", "_waiting", "duplicated", "mismatched")

    def __init__(self) -> None:
        self.duplicated = self.mismatched = 0
        self._waiting: set[int] = set()
        self._acked: dict[int, int] = {}
        self._heard: dict[int, int] = {}

    def said(self, stamp: int) -> None:
        """It was sent."""
        self._waiting.add(stamp)

    def acked(self, stamp: int, seq: int) -> None:
        """The server says that it stands at `seq`."""
        heard = self._heard.pop(stamp, None)
        if heard is None:
            self._acked[stamp] = seq
        elif heard != seq:
            self.mismatched += 1

    def heard(self, stamp: int, seq: int) -> None:
        """It came back as an event."""
        if stamp not in self._waiting:
            self.duplicated += 1
            return
        self._waiting.discard(stamp)
        acked = self._acked.pop(stamp, None)
        if acked is None:
            self._heard[stamp] = seq
        elif acked != seq:
            self.mismatched += 1

    def refused(self, stamp: int) -> None:
        """The server did not take it."""
        self._waiting.discard(stamp)

    @property
    def lost(self) -> int:
        """How many were acknowledged and never heard."""
        return len(self._acked)
