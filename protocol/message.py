"""message: what is said in channels. A message is addressed by its channel and its seq there."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.ballot import NewPoll, Poll
from protocol.content import Call, Forwarded, ReactionCount
from protocol.file import Attached, Given
from protocol.frame import (
    AccountFact,
    Body,
    ChannelFact,
    ChannelId,
    Event,
    Limit,
    MessageSeq,
    Nonce,
    Request,
    Seq,
    SpaceId,
    Text,
    Time,
)
from protocol.sticker import SentSticker

Mentions = Annotated[
    list[Annotated[UUID, Meta(extra={"of": None})]],
    Meta(max_length=20, description="Members of the channel; anybody else is refused as `missing`."),
]
MentionRoles = Annotated[
    list[Annotated[UUID, Meta(extra={"of": None})]],
    Meta(
        max_length=10,
        description="Roles of the space but everyone's; one that is not `mentionable` takes `mention_everyone`.",
    ),
]
MentionEveryone = Annotated[
    bool, Meta(description="Everybody who sees the channel, in a space; with the permission `mention_everyone`.")
]
Replied = Annotated[
    int, Meta(ge=1, le=2**53 - 1, extra={"of": None}, description="The seq of a message in the same channel.")
]
ListCursor = Annotated[str, Meta(max_length=200, description="`next` of the page before, with all else the same.")]
Seqs = Annotated[list[MessageSeq], Meta(min_length=1, max_length=100)]


class Message(Body, frozen=True, omit_defaults=True):
    """A message as it is now; what is empty, false or null is left out. A deleted one keeps its place."""

    seq: int
    author: UUID
    sent_at: Time
    text: str = ""
    reply_to: int | None = None
    mentions: list[UUID] = []
    hashtags: list[str] = []
    silent: bool = False
    forwarded: Forwarded | None = None
    edited_at: Time | None = None
    deleted_at: Time | None = None
    pinned_at: Time | None = None
    reactions: list[ReactionCount] = []
    poll: Poll | None = None
    expires_at: Annotated[Time | None, Meta(description="When it is deleted for everybody, within seconds.")] = None
    mention_roles: list[UUID] = []
    mention_everyone: bool = False
    sticker: SentSticker | None = None
    thread: Annotated[UUID | None, Meta(description="The thread that has started from it: see `thread.get`.")] = None
    files: list[Attached] = []
    call: Annotated[Call | None, Meta(description="The message stands for a call; it has no words.")] = None


class ExportedMessage(Body, frozen=True):
    """Something you have said, also where you are no longer."""

    channel: UUID
    message: Annotated[
        Message, Meta(description="Without the reactions and counts of votes: those are other people's.")
    ]


# Facts of a channel


class MessageCreated(ChannelFact, tag="message.created", frozen=True):
    """Somebody said something: the message's seq is that of the fact."""

    message: Message


class MessageEdited(ChannelFact, tag="message.edited", frozen=True):
    """A message has other words now; this is all of it."""

    message: Message


class MessageDeleted(ChannelFact, tag="message.deleted", frozen=True):
    """Messages are gone for everybody: they were taken back, or their time was over."""

    messages: list[int]


class MessagePinned(ChannelFact, tag="message.pinned", frozen=True):
    """A message was pinned."""

    message: int
    by: UUID
    at: Time


class MessageUnpinned(ChannelFact, tag="message.unpinned", frozen=True):
    """A message is no longer pinned."""

    message: int
    by: UUID


# Facts of an account


class MessageHidden(AccountFact, tag="message.hidden", frozen=True):
    """You took messages out of your own view; others still see them."""

    channel: UUID
    messages: list[int]


class MessageRead(AccountFact, tag="message.read", frozen=True):
    """You have read (and been delivered) so far, on whichever device; with what is left to read."""

    channel: UUID
    head: Annotated[int, Meta(description="The channel's last fact that was counted.")]
    read: int
    delivered: int
    unread: int
    mentions: int


# Passing


class MessageReceipt(Event, tag="message.receipt", frozen=True):
    """Another member of a direct channel or small group has got or read so far. Not kept: see `message.readers`."""

    channel: UUID
    user: UUID
    delivered: int
    read: int


# Saying


class MessageSent(Body, frozen=True):
    """Where the message stands, and when it came to stand there; the same for every retry."""

    seq: int
    sent_at: Time


class MessageSend(Request[MessageSent], tag="message.send", frozen=True, kw_only=True):
    """Put one message into a channel you can write to: words, files or a sticker."""

    channel: ChannelId
    nonce: Nonce
    text: Annotated[Text, Meta(description="It may be left out where there are files or a sticker, and no poll.")] = ""
    reply_to: Replied | None = None
    mentions: Mentions = []
    mention_roles: MentionRoles = []
    mention_everyone: MentionEveryone = False
    sticker: Annotated[UUID, Meta(extra={"of": None}, description="One of the space's.")] | None = None
    silent: Annotated[bool, Meta(description="Notify nobody.")] = False
    poll: NewPoll | None = None
    files: Given = []


class MessageForward(Request[MessageSent], tag="message.forward", frozen=True):
    """Put the words and files of another message into a channel you can write to; of a poll the question alone."""

    channel: ChannelId
    source: Annotated[ChannelId, Meta(description="The channel in which the message stands.")]
    seq: MessageSeq
    nonce: Nonce


class MessageChanged(Body, frozen=True):
    """The seq of the fact that says so; 0 when there was nothing to change."""

    seq: int


class MessageEdit(Request[MessageChanged], tag="message.edit", frozen=True):
    """Say it in other words, at most a thousand times. The words before are kept as revisions."""

    channel: ChannelId
    seq: MessageSeq
    text: Text
    mentions: Mentions = []
    mention_roles: MentionRoles = []
    mention_everyone: MentionEveryone = False


class MessageDelete(Request[MessageChanged], tag="message.delete", frozen=True):
    """Take a message back for everybody (your own, or any as the group's owner), or out of your own view."""

    channel: ChannelId
    seq: MessageSeq
    for_all: bool = True


class MessageDeleteMany(Request[MessageChanged], tag="message.delete_many", frozen=True):
    """The same for up to a hundred messages of one channel: all of them or none."""

    channel: ChannelId
    seqs: Seqs
    for_all: bool = True


class MessagePin(Request[MessageChanged], tag="message.pin", frozen=True):
    """Keep a message at hand for everybody in the channel, at most a hundred there."""

    channel: ChannelId
    seq: MessageSeq


class MessageUnpin(Request[MessageChanged], tag="message.unpin", frozen=True):
    """Take a pin out."""

    channel: ChannelId
    seq: MessageSeq


# Reading


class Messages(Body, frozen=True):
    """Messages in order, oldest first, as they were when the channel's last fact was `head`.

    A page ends at its limit, or before its frame would be larger than 256 KiB: `earlier` and `later` tell.
    """

    messages: list[Message]
    head: int
    earlier: Annotated[bool, Meta(description="Whether older ones follow before the first.")]
    later: Annotated[bool, Meta(description="Whether newer ones follow behind the last.")]


class MessageGet(Request[Message], tag="message.get", frozen=True):
    """One message as it is now."""

    channel: ChannelId
    seq: MessageSeq


class FoundMessage(Body, frozen=True):
    """A message, and where it stands."""

    channel: UUID
    message: Message


class FoundMessages(Body, frozen=True):
    """Messages wherever they stand, the newest first; `next` asks for the page after it, None when this is the last.

    A page may have fewer than were asked for, or none, and still a `next`: so much was looked at in one go.
    """

    messages: list[FoundMessage]
    next: str | None


class MessageMentions(Request[FoundMessages], tag="message.mentions", frozen=True):
    """Messages of others that mention you, a role that you have, or everyone, the newest first.

    In all of your channels, those of a space, or one. A new message is found within two seconds.
    """

    space: SpaceId | None = None
    channel: Annotated[ChannelId | None, Meta(description="Either a space or a channel.")] = None
    after: ListCursor | None = None
    limit: Annotated[int, Meta(ge=1, le=50)] = 25


class MessageHistory(Request[Messages], tag="message.history", frozen=True):
    """The newest messages of a channel, or those strictly before, or after, a seq."""

    channel: ChannelId
    before: Seq | None = None
    after: Seq | None = None
    limit: Limit = 50
    known: Annotated[
        Seq, Meta(description="The last seq of the channel that you know of: what is told is at least as new.")
    ] = 0


class MessageAround(Request[Messages], tag="message.around", frozen=True):
    """The messages on both sides of a seq, half before and half from there on."""

    channel: ChannelId
    seq: Seq
    limit: Limit = 50


class MessagePins(Request[Messages], tag="message.pins", frozen=True):
    """What is pinned in a channel, in the order of seqs."""

    channel: ChannelId
    after: Annotated[
        Seq, Meta(description="The last seq of the page before, where `later` says that there are more.")
    ] = 0


class Revision(Body, frozen=True):
    """Words that a message had before."""

    text: str
    until: Time


class Revisions(Body, frozen=True):
    """Former words of a message, oldest first; `next` asks for the page after it, None when this is the last."""

    revisions: list[Revision]
    next: int | None


class MessageRevisions(Request[Revisions], tag="message.revisions", frozen=True):
    """What a message said before it was edited, page by page."""

    channel: ChannelId
    seq: MessageSeq
    after: Annotated[int, Meta(ge=0, le=1000, description="`next` of the page before.")] = 0
    limit: Limit = 50


# How far


class Marks(Body, frozen=True):
    """How far you are in a channel; they never go back. Counts are those of `channel.get`."""

    head: Annotated[int, Meta(description="The channel's last fact that was counted.")]
    read: int
    delivered: int
    unread: int
    mentions: int


class MessageMarkRead(Request[Marks], tag="message.mark_read", frozen=True):
    """Everything up to this seq was read (and so delivered)."""

    channel: ChannelId
    seq: Seq


class MessageMarkDelivered(Request[Marks], tag="message.mark_delivered", frozen=True):
    """Everything up to this seq has reached one of your devices."""

    channel: ChannelId
    seq: Seq


class Reader(Body, frozen=True):
    """How far one member is."""

    user: UUID
    delivered: int
    read: int


class Readers(Body, frozen=True):
    """Who has got a message, furthest first (at most 100), and how many have got and read it in all."""

    readers: list[Reader]
    delivered: int
    read: int


class MessageReaders(Request[Readers], tag="message.readers", frozen=True):
    """Who has got and read a message, besides its author."""

    channel: ChannelId
    seq: MessageSeq
