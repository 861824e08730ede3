"""extra: what few messages have besides their words, as message_append reads it."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from protocol.ballot import Poll
from protocol.content import Forwarded
from protocol.file import Attached
from protocol.sticker import SentSticker


class Extra(Struct, frozen=True, omit_defaults=True):
    """What few messages have."""

    reply_to: int | None = None
    mentions: list[UUID] = []
    mention_roles: list[UUID] = []
    mention_everyone: bool = False
    hashtags: list[str] = []
    silent: bool = False
    forwarded: Forwarded | None = None
    poll: Poll | None = None
    sticker: SentSticker | None = None
    lifetime: int | None = None  # seconds after which it disappears
    files: list[Attached] = []
    slow: int = 0  # seconds that its author has to wait before the next one

    @property
    def summons(self) -> bool:
        """Whether it mentions roles or everyone."""
        return bool(self.mention_roles) or self.mention_everyone
