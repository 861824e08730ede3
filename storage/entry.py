"""entry: one message on its way into the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from protocol.codec import encode
from protocol.error import Conflict, Refusal
from storage.extra import Extra
from storage.pool import Database


class Before(Struct, frozen=True):
    """Where a message stands that was stored before."""

    channel: UUID
    seq: int
    sent_at: datetime


async def stored_before(db: Database, keys: Sequence[tuple[UUID, UUID]]) -> list[Before | None]:
    """What authors have stored under nonces of theirs, pair by pair."""
    rows = await db.fetch(
        """
        SELECT i.k, m.channel, m.seq, m.sent_at
          FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS i(author, nonce, k)
          JOIN message m ON m.author = i.author AND m.nonce = i.nonce
        """,
        [author for author, _ in keys],
        [nonce for _, nonce in keys],
    )
    found: list[Before | None] = [None] * len(keys)
    for row in rows:
        found[row["k"] - 1] = Before(row["channel"], row["seq"], row["sent_at"])
    return found


class Entry:
    """A message to be stored; afterwards `seq` and `sent_at` tell where it stands."""

    again = False  # it can only be a message that was stored before: it is looked for, and never stored

    __slots__ = ("access", "author", "channel", "extra", "more", "nonce", "sent_at", "seq", "since", "text")

    def __init__(
        self, channel: UUID, author: UUID, nonce: UUID, text: str, access: int, more: Extra | None = None
    ) -> None:
        self.channel, self.author, self.nonce, self.text, self.access = channel, author, nonce, text, access
        self.more = more
        self.extra: str | None = None
        self.seq, self.since = 0, 0.0
        self.sent_at: datetime | None = None

    def let(self, access: int, lifetime: int | None, slow: int) -> None:
        """It may be stored; it disappears after so many seconds, and its author waits for so many."""
        self.access = access
        if lifetime != (self.more.lifetime if self.more is not None else None):
            self.more = replace(self.more or Extra(), lifetime=lifetime)
        if slow or self.more is not None:
            self.extra = encode(replace(self.more or Extra(), slow=slow)).decode()

    def stored(self) -> None:
        """It stands where `seq` says; perhaps it did so before."""
        raise NotImplementedError

    def refused(self, refusal: Refusal) -> None:
        """It is not stored."""
        raise NotImplementedError

    def ended(self, before: Before | None, refusal: Refusal) -> None:
        """It may not be stored: what became of it before holds, or it is refused."""
        self.access = -1
        if before is None:
            self.refused(refusal)
        elif before.channel != self.channel:
            self.refused(elsewhere())
        else:
            self.seq, self.sent_at = before.seq, before.sent_at
            self.stored()


def elsewhere() -> Refusal:
    """Its nonce is taken."""
    return Conflict("this nonce stands for a message in another channel", field="nonce")
