"""fresh: messages that this process has just stored, so that what works behind channels need not read them again.

Only a memory: what is not here is read from the database.
"""

from __future__ import annotations

from uuid import UUID

from protocol.message import Message
from storage.tail import Span

_MOST = 10_000


class Fresh:
    """By channel, in the order in which they were stored."""

    def __init__(self) -> None:
        self._kept: dict[UUID, list[Message]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def keep(self, channel: UUID, message: Message) -> None:
        """One more; when there are too many, all others go."""
        if self._count >= _MOST:
            self._kept.clear()
            self._count = 0
        self._kept.setdefault(channel, []).append(message)
        self._count += 1

    def covering(self, span: Span) -> list[Message] | None:
        """All facts of a span, if they are all messages, and all here."""
        kept = self._kept.get(span.channel)
        if not kept or kept[0].seq > span.after + 1:
            return None
        start = span.after + 1 - kept[0].seq
        found = kept[start : start + span.last - span.after]
        whole = [one.seq for one in found] == list(range(span.after + 1, span.last + 1))
        return found if whole else None

    def forget(self, channel: UUID, last: int | None = None) -> None:
        """Those up to one, or all."""
        kept = self._kept.pop(channel, [])
        left = [one for one in kept if last is not None and one.seq > last]
        if left:
            self._kept[channel] = left
        self._count -= len(kept) - len(left)
