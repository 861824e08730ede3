"""reaction: emoji under messages."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import Body, ChannelFact, ChannelId, EmojiId, Limit, MessageSeq, Request, Seq, Time
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
Custom = Annotated[
    UUID | None,
    Meta(description="Of an emoji of the space, which may be no more: then `emoji` is its name between colons."),
]


class ReactionAdded(ChannelFact, tag="reaction.added", frozen=True):
    """Somebody put an emoji under a message; `count` of it are there now."""

    message: int
    user: UUID
    emoji: str
    count: int
    custom: Custom = None


class ReactionRemoved(ChannelFact, tag="reaction.removed", frozen=True):
    """Somebody took an emoji away; `count` of it are left."""

    message: int
    user: UUID
    emoji: str
    count: int
    custom: Custom = None


class ReactionAdd(Request[MessageChanged], tag="reaction.add", frozen=True):
    """Put an emoji under a message; again is no error."""

    channel: ChannelId
    seq: MessageSeq
    emoji: Emoji | None = None
    custom: Annotated[EmojiId | None, Meta(description="Instead of that, one of the space's.")] = None


class ReactionRemove(Request[MessageChanged], tag="reaction.remove", frozen=True):
    """Take your emoji away; again is no error."""

    channel: ChannelId
    seq: MessageSeq
    emoji: Emoji | None = None
    custom: Annotated[
        UUID | None, Meta(extra={"of": None}, description="Instead of that, one of the space's, or that was.")
    ] = None


class Reaction(Body, frozen=True):
    """Who put what under a message, and when."""

    user: UUID
    emoji: str
    at: Time
    custom: Custom = None


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
    custom: Custom = None


class ReactionList(Request[Reactions], tag="reaction.list", frozen=True):
    """Everybody's reactions to a message, page by page."""

    channel: ChannelId
    seq: MessageSeq
    after: Annotated[Seq, Meta(description="`next` of the page before.")] = 0
    limit: Limit = 50
