"""Messages of channels that somebody else holds: each channel waits by itself.

Rule: a channel is here from its first message that had to wait until its last one has an end; what comes for it
meanwhile stands behind them. So its messages keep their order, and all other channels go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from storage.entry import Entry


class Aside:
    """Queues of messages, by channel."""

    def __init__(self) -> None:
        self.queues: dict[UUID, deque[Entry]] = {}

    def add(self, entry: Entry) -> None:
        """Behind the others of its channel."""
        self.queues.setdefault(entry.channel, deque()).append(entry)

    def put_back(self, entries: Sequence[Entry]) -> None:
        """What has to wait, or still has to: before what came behind it."""
        for entry in reversed(entries):
            self.queues.setdefault(entry.channel, deque()).appendleft(entry)

    def take(self, rows: int, size: int) -> list[Entry]:
        """The first of each channel, as many of one as of another; no two with one nonce."""
        share = max(1, rows // len(self.queues))
        batch: list[Entry] = []
        seen: set[tuple[UUID, UUID]] = set()
        for queue in self.queues.values():
            for _ in range(min(share, len(queue))):
                key = (queue[0].author, queue[0].nonce)
                if key in seen or len(batch) >= rows or size <= 0:
                    break
                seen.add(key)
                size -= len(queue[0].text)
                batch.append(queue.popleft())
        return batch

    def let_go(self) -> None:
        """Channels of which nothing waits any more are like all others again."""
        for channel in [channel for channel, queue in self.queues.items() if not queue]:
            del self.queues[channel]

    def turn(self, count: int) -> None:
        """Those that were looked at come last."""
        for channel in list(islice(self.queues, count)):
            self.queues[channel] = self.queues.pop(channel)

    def late(self, end: float) -> list[Entry]:
        """Those who came before `end`, taken out."""
        found: list[Entry] = []
        for queue in self.queues.values():
            while queue and queue[0].since < end:
                found.append(queue.popleft())
        return found


def apart(entries: Iterable[Entry], channels: Container[UUID]) -> tuple[list[Entry], list[Entry]]:
    """Those of these channels, and the others."""
    inside: list[Entry] = []
    outside: list[Entry] = []
    for entry in entries:
        (inside if entry.channel in channels else outside).append(entry)
    return inside, outside
