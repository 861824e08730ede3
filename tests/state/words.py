"""What was said, as it was answered to those who said it: independent of what anybody is told later."""

from collections import defaultdict
from uuid import UUID

Place = tuple[UUID, int]


class Words:
    """Of every message all words that it ever had."""

    def __init__(self) -> None:
        self._said: defaultdict[Place, dict[int, str]] = defaultdict(dict)  # by the facts that say so
        self.forwarded: dict[Place, Place] = {}

    def put(self, channel: UUID, seq: int, *, at: int, text: str) -> None:
        """A message has these words since a fact."""
        self._said[channel, seq][at] = text

    def judge(self, channel: UUID, seq: int, text: str, former: list[str]) -> None:
        """Whether a message says what it must, and said before what it did."""
        if (channel, seq) in self.forwarded:
            origin = self.forwarded[channel, seq]
            while origin in self.forwarded:
                origin = self.forwarded[origin]
            assert text in self._said[origin].values()
            assert former == []
        else:
            assert [*former, text] == [said for _, said in sorted(self._said[channel, seq].items())]
