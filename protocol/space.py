"""space: communities with roles and channels of many kinds.

What a member sees of a space is a document: the space, its roles, and the channels that this member can see. `outline`
is its version: who has the same one sees the same. `space.changed` tells the difference between two.
"""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from protocol.channel import Channel, Days
from protocol.emoji import Emoji
from protocol.frame import (
    AccountFact,
    Body,
    Event,
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
)
from protocol.member import Member
from protocol.permission import Permissions
from protocol.role import Role
from protocol.sticker import Sticker

Open = Annotated[bool, Meta(description="Whether everybody finds it in `space.discover`, and may enter.")]
Outline = Annotated[
    str, Meta(description="The version of what you see of the space; equal means that you see the same.")
]


class Space(Body, frozen=True):
    """A space as all its members see it."""

    id: UUID
    name: str
    description: str
    avatar: str
    open: Open
    owner: UUID | None
    members: int
    created_at: Time
    keeps_for: Annotated[
        int | None, Meta(description="Days after which messages are deleted, where channels say nothing else.")
    ] = None


class SpaceChannel(Body, frozen=True):
    """A channel that you can see, and what you may do there otherwise than in the space as such."""

    channel: Channel
    gained: Permissions
    lost: Permissions


class ChannelMark(Body, frozen=True):
    """How far you are in a channel; it has something new when `last` is greater than `read`."""

    channel: UUID
    last: Annotated[int, Meta(description="The seq of its last message.")]
    read: int
    mentions: Annotated[int, Meta(description="Of you, behind what you have read; 1,000 mean that or more.")]
    muted_until: Time | None


class SpaceView(Body, frozen=True):
    """Everything that you see of a space: at most 250 roles, 500 channels, 200 emoji and 100 stickers.

    Threads are listed by `thread.list`.
    """

    space: Space
    outline: Outline
    me: Member
    permissions: Annotated[Permissions, Meta(description="What you may do in the space as such.")]
    roles: list[Role]
    channels: list[SpaceChannel]
    marks: Annotated[list[ChannelMark], Meta(description="Of channels that have messages.")]
    emoji: list[Emoji]
    stickers: list[Sticker]


class SpaceBrief(Body, frozen=True):
    """A space that you are in, and the version of what you see of it."""

    space: Space
    outline: Outline


class Spaces(Body, frozen=True):
    """Spaces that you are in, in the order in which you entered them; `next` asks for the page after it."""

    spaces: list[SpaceBrief]
    next: str | None


class Discovered(Body, frozen=True):
    """Open spaces, the largest first; `next` asks for the page after it."""

    spaces: list[Space]
    next: str | None


class ExportedSpace(Body, frozen=True):
    """A space that you are in, as `account.export` tells it."""

    id: UUID
    name: str
    nick: str
    roles: Annotated[list[str], Meta(description="Their names.")]
    owned: Annotated[bool, Meta(description="Whether it is yours.")]
    joined_at: Time


# Facts of an account


class SpaceJoined(AccountFact, tag="space.joined", frozen=True):
    """You are in this space from now on: see `space.get`."""

    space: Space
    by: Annotated[UUID, Meta(description="Who invited you, or yourself.")]


class SpaceLeft(AccountFact, tag="space.left", frozen=True):
    """You are no longer in this space, and hear nothing of its channels."""

    space: UUID
    reason: Literal["left", "kicked", "banned", "deleted"]


# Passing


class SpaceChanged(Event, tag="space.changed", frozen=True):
    """What you see of a space has changed; not kept: whoever has another outline than `was` asks `space.get`."""

    space: UUID
    was: Outline
    outline: Outline
    about: Annotated[Space | None, Meta(description="The space itself, if it looks different.")] = None
    permissions: Permissions | None = None
    roles: Annotated[list[Role], Meta(description="New ones, and those that look different.")] = []
    channels: Annotated[list[SpaceChannel], Meta(description="New ones, and those that look different.")] = []
    emoji: Annotated[list[Emoji], Meta(description="New ones, and those with another name.")] = []
    stickers: Annotated[list[Sticker], Meta(description="New ones, and those that are called otherwise.")] = []
    gone: Annotated[
        list[UUID], Meta(description="Roles, channels, emoji and stickers that you do not see any more.")
    ] = []


class Last(Body, frozen=True):
    """A channel, and its last message."""

    channel: UUID
    seq: int


class SpaceMoved(Event, tag="space.moved", frozen=True):
    """Where there is something new in channels that you can see, once a second; not kept: see `space.get`."""

    space: UUID
    members: int
    lasts: list[Last]


# Requests


class SpaceCreate(Request[Space], tag="space.create", frozen=True):
    """Make a space with one text channel; you are its owner. The same nonce again is the same space."""

    name: Label
    nonce: Nonce
    description: Paragraph = ""
    avatar: Line = ""
    open: Open = False


class SpaceGet(Request[SpaceView], tag="space.get", frozen=True):
    """Everything that you see of a space."""

    space: SpaceId


class SpaceUpdate(Request[Space], tag="space.update", frozen=True):
    """Change how a space looks; what is not given stays. With `manage_space`."""

    space: SpaceId
    name: Label | None = None
    description: Paragraph | None = None
    avatar: Line | None = None
    open: Open | None = None
    keeps_for: Days | UnsetType | None = UNSET


class SpaceDelete(Request[Nothing], tag="space.delete", frozen=True):
    """Do away with your space and everything in it, for everybody; `name` has to be its name."""

    space: SpaceId
    name: Label


class SpaceList(Request[Spaces], tag="space.list", frozen=True):
    """The spaces that you are in, page by page."""

    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50


class SpaceDiscover(Request[Discovered], tag="space.discover", frozen=True):
    """Open spaces, the largest first: all, or those whose name contains these letters."""

    text: Line = ""
    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50


class SpaceJoin(Request[Space], tag="space.join", frozen=True):
    """Enter an open space; again is no error. Others are entered by `invite.accept`."""

    space: SpaceId


class SpaceLeave(Request[Nothing], tag="space.leave", frozen=True):
    """Leave a space; its owner hands it over first, or deletes it."""

    space: SpaceId


class SpaceTransfer(Request[Nothing], tag="space.transfer", frozen=True):
    """Hand your space over to another member."""

    space: SpaceId
    user: UserId
