"""standing: what an account may do in a channel, as decided under one access version of it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from storage.pool import Row


class Standing(Struct, frozen=True):
    """What an account may do in a channel."""

    id: UUID
    kind: str
    owner: UUID | None
    access: int
    writes: bool
    members: int
    lifetime: int | None = None  # seconds after which what is sent there disappears

    def check(self, rows: Sequence[Row]) -> None:
        """That rows were read under the version that this was decided under: each tells the channel's `access`."""
        if not rows or rows[0]["access"] != self.access:
            raise Stale(self.id)


class Stale(Exception):
    """Somebody has lost a right there meanwhile: look again who asks."""

    def __init__(self, channel: UUID) -> None:
        super().__init__(f"channel {channel} has another access version")
        self.channel = channel
