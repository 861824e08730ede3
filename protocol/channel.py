"""channel: where messages stand, and who is there. A channel is a stream of facts."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from protocol.frame import (
    AccountFact,
    Body,
    ChannelFact,
    ChannelId,
    Label,
    Limit,
    Line,
    Nonce,
    Nothing,
    Paragraph,
    Request,
    SpaceId,
    Time,
    UserId,
    check_times,
)
from protocol.message import Message
from protocol.user import Users

Kind = Literal["direct", "group", "saved", "text", "broadcast", "voice", "stage", "forum", "category", "thread"]
InSpace = Literal["text", "broadcast", "voice", "stage", "forum", "category"]
Slow = Annotated[int, Meta(ge=0, le=21_600, description="Seconds between two messages of one member; 0 for none.")]
Seats = Annotated[
    int,
    Meta(
        ge=0,
        le=99,
        description="Of a voice or stage channel: how many may be in it at once; 0: no such limit.",
    ),
]
WatchedId = Annotated[UUID, Meta(extra={"of": None}, description="A channel; others are ignored.")]
Lifetime = Annotated[
    int,
    Meta(ge=60, le=31_622_400, description="Seconds, from a minute to a year: messages sent from then on disappear."),
]
Days = Annotated[int, Meta(ge=1, le=3660, description="Messages that are older are deleted; pinned ones stay.")]
Avatar = Annotated[
    Line,
    Meta(
        description="A built-in picture, as `account.avatars` lists them, or the id of a file that you have "
        "uploaded as `avatar`; empty for none."
    ),
]


class Channel(Body, frozen=True):
    """A channel as everybody in it sees it."""

    id: UUID
    kind: Kind
    name: str
    topic: str
    description: str
    avatar: str
    open: Annotated[bool, Meta(description="Whether who knows its id may join.")]
    owner: Annotated[UUID | None, Meta(description="Of a group.")]
    members: Annotated[int, Meta(description="Of a channel of a space always 0: that is not told.")]
    created_at: Time
    space: UUID | None = None
    parent: Annotated[UUID | None, Meta(description="The category that it is in; of a thread, its channel.")] = None
    position: Annotated[int, Meta(description="Among the others of its category.")] = 0
    slow: Annotated[int, Meta(description="Seconds that its members wait between two messages.")] = 0
    seats: Annotated[int, Meta(description="Of a voice or stage channel: how many may be in it; 0 for any.")] = 0
    disappears_after: Annotated[
        int | None, Meta(description="Seconds after which messages that are sent now are deleted.")
    ] = None
    keeps_for: Annotated[int | None, Meta(description="Days after which messages are deleted.")] = None


class Membership(Body, frozen=True):
    """A channel and how you stand in it.

    Counts are absolute. They end at 1,000, which means that or more; of what you have not read only the newest 2,000
    messages are looked at, your own and deleted ones among them.
    """

    channel: Channel
    joined: Annotated[bool, Meta(description="False for an open group that you only look at.")]
    peer: Annotated[UUID | None, Meta(description="The other one of a direct channel.")]
    head: Annotated[int, Meta(description="The channel's last fact: what comes next is one more.")]
    read: int
    delivered: int
    unread: int
    mentions: int
    muted_until: Time | None
    last: Annotated[
        Message | None,
        Meta(description="The newest message that was not deleted, cut to 200 characters; None behind 500 deleted."),
    ]


class Memberships(Body, frozen=True):
    """Channels, the one that moved last first; `next` asks for the page after it, None when this is the last."""

    channels: list[Membership]
    next: str | None


class ExportedChannel(Body, frozen=True):
    """A channel that you are in."""

    id: UUID
    kind: Annotated[str, Meta(description="As in `channel.get`.")]
    name: str
    peer: Annotated[UUID | None, Meta(description="The other one of a direct channel.")]
    owned: Annotated[bool, Meta(description="Whether it is yours.")]
    joined_at: Time
    read: Annotated[int, Meta(description="How far you have read.")]


# Facts of a channel


class ChannelUpdated(ChannelFact, tag="channel.updated", frozen=True):
    """The channel looks different now."""

    channel: Channel


class ChannelMemberJoined(ChannelFact, tag="channel.member_joined", frozen=True):
    """Somebody is in the channel from now on."""

    user: UUID
    by: UUID
    members: int


class ChannelMemberLeft(ChannelFact, tag="channel.member_left", frozen=True):
    """Somebody is no longer in the channel; `owner` is whose it is now."""

    user: UUID
    by: UUID
    members: int
    owner: UUID | None


# Facts of an account


class ChannelJoined(AccountFact, tag="channel.joined", frozen=True):
    """You are in this channel from now on: its facts follow from `membership.head` on."""

    membership: Membership
    by: UUID


class ChannelLeft(AccountFact, tag="channel.left", frozen=True):
    """You hear nothing of this channel any more."""

    channel: UUID
    reason: Literal["left", "removed", "deleted"]
    by: UUID


class ChannelMuted(AccountFact, tag="channel.muted", frozen=True):
    """You muted a channel, or no longer do."""

    channel: UUID
    until: Time | None


# Requests


class ChannelCreate(Request[Membership], tag="channel.create", frozen=True):
    """Make a group; you are its owner. Or, with `manage_channels`, a channel of a space."""

    name: Label
    nonce: Nonce
    space: Annotated[SpaceId | None, Meta(description="None for a group.")] = None
    kind: Annotated[InSpace | None, Meta(description="Of a channel of a space.")] = None
    parent: Annotated[ChannelId | None, Meta(description="The category to put it in.")] = None
    private: Annotated[bool, Meta(description="In a space: seen by you and administrators at first.")] = False
    slow: Slow = 0
    seats: Seats = 0
    topic: Line = ""
    description: Paragraph = ""
    avatar: Avatar = ""
    open: bool = False
    members: Annotated[list[UserId], Meta(max_length=50, description="Who is in it from the start, besides you.")] = []


class ChannelOpenDirect(Request[Membership], tag="channel.open_direct", frozen=True):
    """The channel that you and another user have to yourselves; with yourself, your saved messages."""

    user: UserId


class ChannelGet(Request[Membership], tag="channel.get", frozen=True):
    """Look at one channel: yours, or an open group."""

    channel: ChannelId


class ChannelList(Request[Memberships], tag="channel.list", frozen=True):
    """Your channels, the one that moved last first, page by page."""

    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50


class ChannelMembers(Request[Users], tag="channel.members", frozen=True):
    """Who is in a channel, by name, page by page."""

    channel: ChannelId
    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50


class ChannelUpdate(Request[Nothing], tag="channel.update", frozen=True):
    """Change your group, or with `manage_channels` a channel of a space; what is not given stays.

    `disappears_after` alone either one changes of a direct channel.
    """

    channel: ChannelId
    name: Label | None = None
    topic: Line | None = None
    description: Paragraph | None = None
    avatar: Avatar | None = None
    open: bool | None = None
    slow: Slow | None = None
    seats: Seats | None = None
    disappears_after: Lifetime | UnsetType | None = UNSET
    keeps_for: Days | UnsetType | None = UNSET


class ChannelReorder(Request[Nothing], tag="channel.reorder", frozen=True):
    """Put the channels of a category (or those without one, or the categories) in this order; with `manage_channels`.

    Channels that stood elsewhere in the space move there; those that are not named come behind, as they stood.
    """

    space: SpaceId
    channels: Annotated[list[ChannelId], Meta(min_length=1, max_length=500)]
    parent: Annotated[ChannelId | None, Meta(description="The category; None for channels without one.")] = None


class WatchedChannel(Body, frozen=True):
    """A channel that is heard from its head on."""

    channel: UUID
    head: int


class Watched(Body, frozen=True):
    """What a socket hears now of channels of spaces, and from where on."""

    channels: list[WatchedChannel]


class ChannelWatch(Request[Watched], tag="channel.watch", frozen=True):
    """Have this socket hear channels of spaces, at most 200 at a time; of the others `space.moved` tells.

    Cursors in `session.resume` do the same, with what was missed.
    """

    channels: Annotated[list[ChannelId], Meta(min_length=1, max_length=200)]


class ChannelUnwatch(Request[Nothing], tag="channel.unwatch", frozen=True):
    """Hear channels of spaces no more on this socket."""

    channels: Annotated[list[WatchedId], Meta(min_length=1, max_length=200)]


class ChannelDelete(Request[Nothing], tag="channel.delete", frozen=True):
    """Do away with your group, or with `manage_channels` a channel of a space, and everything in it, for everybody."""

    channel: ChannelId


class ChannelJoin(Request[Membership], tag="channel.join", frozen=True):
    """Enter an open group."""

    channel: ChannelId


class ChannelLeave(Request[Nothing], tag="channel.leave", frozen=True):
    """Leave a group. Who owned it leaves it to who has been in it longest; the last one ends it."""

    channel: ChannelId


class ChannelAddMember(Request[Nothing], tag="channel.add_member", frozen=True):
    """Bring somebody into a group that you are in."""

    channel: ChannelId
    user: UserId


class ChannelRemoveMember(Request[Nothing], tag="channel.remove_member", frozen=True):
    """Put somebody out of your group: nothing of theirs comes after that."""

    channel: ChannelId
    user: UserId


class ChannelMute(Request[Nothing], tag="channel.mute", frozen=True):
    """Be not notified of a channel until a time; None takes that back."""

    channel: ChannelId
    until: Time | None

    def __post_init__(self) -> None:
        check_times(self)
