"""What a message may have besides its author's words: where it is from, the call that it stands for, reactions."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from protocol.frame import Body, Time


class Call(Body, frozen=True):
    """A call that somebody made here. `missed`: nobody answered in time; `cancelled`: who called did not wait."""

    id: UUID
    state: Literal["ringing", "live", "ended", "missed", "declined", "cancelled", "busy"]
    video: bool
    people: Annotated[list[UUID], Meta(description="Who has been in it, who called first; a hundred at most.")]
    answered_at: Time | None = None
    ended_at: Time | None = None


class Forwarded(Body, frozen=True):
    """Whose words these are; where they stood is not told."""

    author: UUID
    sent_at: Time


class ReactionCount(Body, frozen=True, omit_defaults=True):
    """How often one emoji stands under a message, and who put it there (the first twenty)."""

    emoji: str
    count: int
    users: list[UUID]
    custom: Annotated[UUID | None, Meta(description="Of an emoji of the space, which may be no more.")] = None
