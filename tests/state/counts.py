"""How far one is in a channel, and what is left to read, for a client that keeps no messages.

Rule 1: counts are as of a head: what was said behind it by others is added to them.
Rule 2: what was taken back, hidden or edited behind that head can't be counted here: then the channel is asked for.
Rule 3: marks never go back; counts that are older than those at hand say nothing new.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Counts:
    """Made from a membership, and moved by marks and by what is said."""

    def __init__(self, marks: dict[str, Any], head: int) -> None:
        self.read, self.delivered = marks["read"], marks["delivered"]
        self._unread, self._mentions, self.head = marks["unread"], marks["mentions"], head
        self._heard: dict[int, bool] = {}  # what others have said behind that head, and whether to me
        self.unsure = False

    @property
    def standing(self) -> dict[str, int]:
        return {
            "read": self.read,
            "delivered": self.delivered,
            "unread": self._unread + len(self._heard),
            "mentions": self._mentions + sum(self._heard.values()),
        }

    def counted(self, marks: dict[str, Any]) -> bool:
        """Put counts in the place of these, if they are as new; whether they are."""
        before, now = (self.read, self.delivered), (marks["read"], marks["delivered"])
        if now[0] < before[0] or now[1] < before[1] or (now == before and marks["head"] < self.head):
            return False
        self.read, self.delivered = now
        if marks["head"] < self.head:  # counted before something that is in the present ones
            self.unsure = True
            return True
        self._unread, self._mentions, self.head = marks["unread"], marks["mentions"], marks["head"]
        self._heard = {seq: to_me for seq, to_me in self._heard.items() if seq > self.head}
        return True

    def said(self, seq: int, *, to_me: bool) -> None:
        """Somebody else has said something."""
        if seq > self.head:
            self._heard[seq] = to_me

    def changed(self, seqs: Iterable[int], *, at: int | None = None) -> None:
        """Messages are not what they were, since a fact of the channel if it is not for me alone."""
        if any(seq > self.read for seq in seqs) and (at is None or at > self.head):
            self.unsure = True
