"""reaction: emoji under messages."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import Body, ChannelFact, ChannelId, Limit, MessageSeq, Request, Seq, Time
from protocol.message import MessageChanged

Emoji = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=16,
        pattern=r"^[^\x00-\x1f\x7f\s\u202a-\u202e\u2066-\u2069]+$(?!\n)",
        description="One emoji, at most 16 code points; a message takes at most 20 different ones.",
    ),
]


class ReactionAdded(ChannelFact, tag="reaction.added", frozen=True):
    """Somebody put an emoji under a message; `count` of it are there now."""

    message: int
    user: UUID
    emoji: str
    count: int


class ReactionRemoved(ChannelFact, tag="reaction.removed", frozen=True):
    """Somebody took an emoji away; `count` of it are left."""

    message: int
    user: UUID
    emoji: str
    count: int


class ReactionAdd(Request[MessageChanged], tag="reaction.add", frozen=True):
    """Put an emoji under a message; again is no error."""

    channel: ChannelId
    seq: MessageSeq
    emoji: Emoji


class ReactionRemove(Request[MessageChanged], tag="reaction.remove", frozen=True):
    """Take your emoji away; again is no error."""

    channel: ChannelId
    seq: MessageSeq
    emoji: Emoji


class Reaction(Body, frozen=True):
    """Who put what under a message, and when."""

    user: UUID
    emoji: str
    at: Time


class Reactions(Body, frozen=True):
    """A page of reactions, oldest first; `next` asks for the page after it, None when this is the last."""

    reactions: list[Reaction]
    next: int | None


class ExportedReaction(Body, frozen=True):
    """An emoji that you have put under a message."""

    channel: UUID
    message: int
    emoji: str
    at: Time


class ReactionList(Request[Reactions], tag="reaction.list", frozen=True):
    """Everybody's reactions to a message, page by page."""

    channel: ChannelId
    seq: MessageSeq
    after: Annotated[Seq, Meta(description="`next` of the page before.")] = 0
    limit: Limit = 50
