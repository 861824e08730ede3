"""call: calls in direct channels and groups. That there was one stands in the channel as a message with a `call`."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from protocol.frame import AccountFact, Body, CallId, ChannelFact, ChannelId, Nonce, Nothing, Request, SeatId, Time
from protocol.message import Message
from protocol.voice import Participant, Seated, Signal


class CallChanged(ChannelFact, tag="call.changed", frozen=True):
    """A call was answered, joined by somebody, or is over; this is all of its message."""

    message: Message


class CallRinging(AccountFact, tag="call.ringing", frozen=True):
    """Somebody calls you: ring until `until`, or until `call.stopped` comes, on whichever device it was answered."""

    channel: UUID
    call: UUID
    message: Annotated[int, Meta(description="The seq of the call's message.")]
    by: UUID
    video: bool
    until: Time


class CallStopped(AccountFact, tag="call.stopped", frozen=True):
    """Ring no more."""

    channel: UUID
    call: UUID
    why: Literal["answered", "declined", "ended", "missed"]


class CallStarted(Seated, frozen=True):
    """You are in the call; nobody rings where it is `busy`: then it is over."""

    message: Annotated[int, Meta(description="The seq of its message.")]
    busy: Annotated[bool, Meta(description="Everybody is in another call.")]


class CallStart(Request[CallStarted], tag="call.start", frozen=True):
    """Call the other one of a direct channel, or all members of a group (the first fifty); for who may write there.

    Who is in another call is not rung. The same nonce again from the same device is the same call while it lasts. Where
    there is one already it is a conflict: answer that one.
    """

    channel: ChannelId
    nonce: Nonce
    video: bool = False


class CallAnswer(Request[Seated], tag="call.answer", frozen=True):
    """Be in a call with this socket, whether it rings or not; also who comes back to it, or changes the device."""

    channel: ChannelId
    call: CallId


class CallDecline(Request[Nothing], tag="call.decline", frozen=True):
    """Ring no more on any of your devices; in a direct channel that ends the call."""

    channel: ChannelId
    call: CallId


class CallEnd(Request[Nothing], tag="call.end", frozen=True):
    """Leave the call. It is over when one of two has left, or the last of a group, or who called before an answer."""

    channel: ChannelId
    call: CallId


class CallSignal(Request[Nothing], tag="call.signal", frozen=True):
    """Hand something to another participant; it is not kept, and lost if they are away for a moment."""

    channel: ChannelId
    call: CallId
    to: SeatId
    data: Signal


class CallNow(Body, frozen=True):
    """The call of a channel, if there is one now, and who is in it."""

    call: UUID | None
    message: int | None
    people: list[Participant]


class CallGet(Request[CallNow], tag="call.get", frozen=True):
    """Who is in the call of a channel."""

    channel: ChannelId


class IceServer(Body, frozen=True):
    """As RTCPeerConnection takes it."""

    urls: list[str]
    username: str | None = None
    credential: str | None = None


class Relay(Body, frozen=True):
    """Through which servers peers find each other, until when; empty where the server has none."""

    servers: list[IceServer]
    expires_at: Time


class CallRelay(Request[Relay], tag="call.relay", frozen=True):
    """STUN and TURN servers for calls and voice channels, with credentials of your own for a while."""
