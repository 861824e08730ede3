"""scheduled: messages that are written now and sent later, also when nobody of yours is connected then."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from protocol.frame import (
    AccountFact,
    Body,
    ChannelId,
    Limit,
    Line,
    Nonce,
    Nothing,
    Request,
    ScheduledId,
    Text,
    Time,
    check_times,
)
from protocol.message import Mentions, Replied

At = Annotated[Time, Meta(description="From five seconds to a year ahead.")]


class Scheduled(Body, frozen=True):
    """A message that waits for its time; it counts only then who may write where."""

    id: Annotated[UUID, Meta(description="The nonce that it was made with, and that of the message that it becomes.")]
    channel: UUID
    text: str
    at: Time
    reply_to: int | None
    mentions: list[UUID]
    silent: bool
    created_at: Time
    failed: Annotated[
        str | None,
        Meta(description="The code with which it was refused at its time; it stays until it is cancelled or changed."),
    ]


# Facts of an account


class ScheduledSaved(AccountFact, tag="scheduled.saved", frozen=True):
    """You wrote or changed one. Who missed it is told of it as it is now; where it is no more, that it was cancelled,
    also when it was sent since: that is told later.
    """

    scheduled: Scheduled


class ScheduledCancelled(AccountFact, tag="scheduled.cancelled", frozen=True):
    """It will not be sent."""

    scheduled: UUID


class ScheduledSent(AccountFact, tag="scheduled.sent", frozen=True):
    """It is a message now, and waits no longer."""

    scheduled: UUID
    channel: UUID
    message: Annotated[int, Meta(description="The message's seq in the channel.")]


class ScheduledFailed(AccountFact, tag="scheduled.failed", frozen=True):
    """It was refused at its time, and is kept until you change or cancel it."""

    scheduled: UUID
    code: Annotated[str, Meta(description="That of the refusal: `missing` where you are no member any more, …")]


# Ops


class ScheduledCreate(Request[Scheduled], tag="scheduled.create", frozen=True):
    """Write a message that is sent at a time, once. At most a hundred wait."""

    channel: ChannelId
    text: Text
    at: At
    nonce: Nonce
    reply_to: Replied | None = None
    mentions: Mentions = []
    silent: Annotated[bool, Meta(description="Notify nobody.")] = False

    def __post_init__(self) -> None:
        check_times(self)


class ScheduledMessages(Body, frozen=True):
    """What waits or has failed, in the order of its time; `next` asks for the page after it."""

    scheduled: list[Scheduled]
    next: str | None


class ScheduledList(Request[ScheduledMessages], tag="scheduled.list", frozen=True):
    """Your scheduled messages, page by page."""

    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50


class ScheduledUpdate(Request[Scheduled], tag="scheduled.update", frozen=True):
    """Change it; what is not given stays. One that has failed is tried again at the new time.

    `conflict` when it was sent, or is about to be.
    """

    scheduled: ScheduledId
    text: Text | UnsetType = UNSET
    at: At | UnsetType = UNSET
    reply_to: Replied | UnsetType | None = UNSET
    mentions: Mentions | UnsetType = UNSET
    silent: bool | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_times(self)


class ScheduledCancel(Request[Nothing], tag="scheduled.cancel", frozen=True):
    """Do not send it, or dismiss it when it has failed. `conflict` when it was sent, or is about to be."""

    scheduled: ScheduledId
