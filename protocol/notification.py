"""notification: what you are told of besides your channels: who has mentioned, answered, befriended or invited you."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from protocol.frame import AccountFact, Body, ChannelId, Limit, Request, Seq, SpaceId, Time, check_times
from protocol.invite import Invitation

Kind = Annotated[
    Literal[
        "mention", "mention_role", "mention_everyone", "reply", "friend_request", "friend_accepted", "invite", "thread"
    ],
    Meta(
        description="You were mentioned, or a role of yours was, or everyone; or you were answered; you were asked to "
        "be friends, or they have accepted; you were invited to a space; there is something new in a thread."
    ),
]
Level = Annotated[
    Literal["all", "mentions", "personal", "nothing"],
    Meta(
        description="Of which messages: with `mentions` mentions and answers; `personal`: the same, but those of roles "
        "and of everyone. With `all` nothing more is listed than with `mentions`, but where you have chosen it for a "
        "thread that you follow: its next message, once what you were told of it is read. The others are what is "
        "unread in the channel, and it is for clients to ring."
    ),
]
Id = Annotated[int, Meta(description="Newer ones have a greater one.")]


class Notification(Body, frozen=True):
    """Something that you may want to know of; words stand in the message alone."""

    id: Id
    kind: Kind
    by: UUID
    at: Time
    read: bool
    space: Annotated[UUID | None, Meta(description="Where the channel is, if in one; or the one to enter.")] = None
    channel: UUID | None = None
    message: int | None = None
    invitation: Annotated[Invitation | None, Meta(description="Of an invite: where it leads to, by which code.")] = None


class KindCount(Body, frozen=True):
    """How many of a kind are unread."""

    kind: Kind
    unread: int


class SpaceCount(Body, frozen=True):
    """How many of a space are unread."""

    space: UUID
    unread: int


class Unread(Body, frozen=True):
    """How many are unread, absolute; what there is none of is left out."""

    unread: int
    kinds: list[KindCount]
    spaces: list[SpaceCount]


class Setting(Body, frozen=True):
    """Of what you want to be notified in a space or a channel; `level` None: of what is set around it."""

    space: UUID | None
    channel: UUID | None
    level: Level | None
    until: Annotated[Time | None, Meta(description="From when it counts no more.")]


# Facts of an account


class NotificationCreated(AccountFact, tag="notification.created", frozen=True):
    """You are notified: the notification's id is the seq of this fact. The newest 1,000 are kept."""

    notification: Notification
    counts: Unread


class NotificationRead(AccountFact, tag="notification.read", frozen=True):
    """You have read those up to an id: all of them, or those of one channel."""

    until: Id
    channel: UUID | None
    counts: Unread


class NotificationRemoved(AccountFact, tag="notification.removed", frozen=True):
    """These are gone: what they were about is no more, or is not for you any more."""

    notifications: list[int]
    counts: Unread


class NotificationConfigured(AccountFact, tag="notification.configured", frozen=True):
    """You have chosen of what you want to be notified somewhere. With a space or channel its settings are left, too."""

    setting: Setting


# Requests


class NotificationPage(Body, frozen=True):
    """NotificationPage, the newest first; `next` asks for the page after it, None when this is the last."""

    notifications: list[Notification]
    next: int | None
    head: Annotated[int, Meta(description="The last fact of your account that is counted in.")]
    counts: Unread


class NotificationList(Request[NotificationPage], tag="notification.list", frozen=True):
    """What you were notified of. What you do not see any more is not there, nor is what was taken back.

    Neither is an invite that is good no more, or to a space that you are in.
    """

    unread: Annotated[bool, Meta(description="Only what is unread.")] = False
    kinds: Annotated[list[Kind], Meta(max_length=10, description="Only these; all, if none is given.")] = []
    after: Annotated[Seq, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50


class UnreadNow(Body, frozen=True):
    """How many are unread as of a fact of your account."""

    counts: Unread
    head: Annotated[int, Meta(description="The last fact of your account that is counted in.")]


class NotificationCounts(Request[UnreadNow], tag="notification.counts", frozen=True):
    """How many are unread, on whichever device."""


class NotificationMarkRead(Request[Unread], tag="notification.mark_read", frozen=True):
    """Have read those up to an id, or those of a channel, or both in one; again is no error."""

    until: Annotated[Seq, Meta(description="The id of the newest that was read; None for all there are.")] | None = None
    channel: ChannelId | None = None


class NotificationConfigure(Request[Setting], tag="notification.configure", frozen=True):
    """Choose of what you want to be notified in a space or a channel.

    The channel's own level counts first, then that of its category (a thread's channel), then the space's, then
    `mentions`. A channel that is muted (`channel.mute`) makes none, whatever is chosen here.
    """

    level: Annotated[Level | None, Meta(description="None takes it back.")]
    space: SpaceId | None = None
    channel: Annotated[ChannelId | None, Meta(description="Either a space or a channel.")] = None
    until: Annotated[Time | None, Meta(description="From when it counts no more; None for ever.")] = None

    def __post_init__(self) -> None:
        check_times(self)


class Settings(Body, frozen=True):
    """What you have chosen, where you are; everywhere else it is `mentions`."""

    settings: list[Setting]


class NotificationSettings(Request[Settings], tag="notification.settings", frozen=True):
    """What you have chosen so far, at most 500."""
