"""voice: who is in the voice and stage channels of spaces, and how; media go between the participants themselves.

In a call it is told in the same words: `voice.update` and the events are for both.
"""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from protocol.frame import Body, ChannelId, Event, Line, Nothing, Request, SeatId, SpaceId, Time, UserId

Signal = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=16_384,
        pattern=r"^[^\x00]*$",
        description="For the other one alone: an offer, an answer, an ICE candidate. The server does not look into it.",
    ),
]


class Participant(Body, frozen=True, omit_defaults=True):
    """Somebody who is there, as everybody sees them; what is false is left out."""

    user: UUID
    seat: Annotated[UUID, Meta(description="To whom signals go; who comes back from another device has another one.")]
    joined_at: Time
    speaker: Annotated[
        bool,
        Meta(description="May be heard: has `speak`, or was let to in a stage. Play nothing of who is no speaker."),
    ] = False
    silenced: Annotated[bool, Meta(description="By a moderator: is no speaker until that is taken back.")] = False
    deaf: Annotated[bool, Meta(description="By a moderator: should hear nothing.")] = False
    muted: Annotated[bool, Meta(description="By themselves, like all that follows.")] = False
    deafened: bool = False
    camera: bool = False
    screen: bool = False
    speaking: bool = False
    asking: Annotated[bool, Meta(description="Would like to speak in a stage.")] = False
    invited: Annotated[bool, Meta(description="Was asked to speak in a stage, and has not answered.")] = False


class Media(Body, frozen=True):
    """How media go. `mesh`: from each to each, who came later sends the offers."""

    plane: Literal["mesh", "sfu"]
    url: Annotated[str | None, Meta(description="Of the forwarding unit; None in a mesh.")] = None
    token: Annotated[str | None, Meta(description="For this seat there.")] = None


class Seated(Body, frozen=True):
    """You are in, on this socket."""

    channel: UUID
    call: Annotated[UUID | None, Meta(description="None in a voice or stage channel.")]
    seat: UUID
    back: Annotated[bool, Meta(description="You were in all the time, as others saw it: renew what has broken.")]
    people: Annotated[list[Participant], Meta(description="Everybody who is there, you among them.")]
    media: Media


class VoiceChanged(Event, tag="voice.changed", frozen=True):
    """Who is in a call or voice channel now, and how: all of it. Told to those who are in it, and of channels of spaces
    to the sockets that watch the channel and want `voice`; several changes may come as one.
    """

    channel: UUID
    call: UUID | None
    people: list[Participant]


class VoiceSignalled(Event, tag="voice.signalled", frozen=True):
    """A signal from another participant, for you alone."""

    channel: UUID
    call: UUID | None
    user: UUID
    seat: Annotated[UUID, Meta(description="From whom; answer to this one.")]
    data: str


class VoiceEnded(Event, tag="voice.ended", frozen=True):
    """This socket is no longer in; why. `moved`: a moderator asks you to go on in the channel `to`."""

    channel: UUID
    call: UUID | None
    why: Literal["elsewhere", "ended", "forbidden", "lost", "moved", "put_out"]
    to: UUID | None = None


class VoiceJoin(Request[Seated], tag="voice.join", frozen=True):
    """Be in a voice or stage channel with this socket, with `connect`; you leave where you were, on whichever device.

    The same device again takes its place again, within 15 seconds after its socket was lost without anybody noticing.
    """

    channel: ChannelId
    muted: bool = False
    deafened: bool = False


class VoiceLeave(Request[Nothing], tag="voice.leave", frozen=True):
    """Be there no more. Who is not there is no error."""

    channel: ChannelId


class VoiceUpdate(Request[Nothing], tag="voice.update", frozen=True):
    """Say how you are there, also in a call; what is not given stays. A camera or screen needs `video`."""

    channel: ChannelId
    muted: bool | None = None
    deafened: bool | None = None
    camera: bool | None = None
    screen: bool | None = None
    speaking: bool | None = None


class VoiceSignal(Request[Nothing], tag="voice.signal", frozen=True):
    """Hand something to another participant; it is not kept, and lost if they are away for a moment."""

    channel: ChannelId
    to: SeatId
    data: Signal


class VoiceRoom(Body, frozen=True):
    """A channel, and who is in it."""

    channel: UUID
    people: list[Participant]


class VoiceRooms(Body, frozen=True):
    """The channels in which there is somebody."""

    rooms: list[VoiceRoom]


class VoiceList(Request[VoiceRooms], tag="voice.list", frozen=True):
    """Who is in the voice and stage channels of a space that you see."""

    space: SpaceId


class VoiceMove(Request[Nothing], tag="voice.move", frozen=True):
    """Ask somebody out of a voice channel, into another one or none; with `move_members` in both."""

    channel: ChannelId
    user: UserId
    to: ChannelId | None = None
    reason: Line = ""


class VoiceMute(Request[Nothing], tag="voice.mute", frozen=True):
    """Silence somebody, or let them hear nothing, in all voice channels of the space; with `mute_members`.

    It lasts until it is taken back, also when they leave. You can do so to who stands lower than you.
    """

    channel: ChannelId
    user: UserId
    muted: bool | UnsetType = UNSET
    deafened: bool | UnsetType = UNSET
    reason: Line = ""
