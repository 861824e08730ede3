"""presence: who is there. Told only to those who watch, and never to those who are blocked."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from protocol.frame import Body, Event, Line, Nothing, Request, Time, UserId

Shown = Literal["online", "away", "dnd", "offline"]
Chosen = Literal["online", "away", "dnd", "invisible"]
Some = Annotated[list[UserId], Meta(min_length=1, max_length=100)]


class Presence(Body, frozen=True):
    """How somebody is seen. Somebody hidden from you, or who does not exist, is offline."""

    user: UUID
    status: Shown
    text: Annotated[str, Meta(description="Empty while they are offline.")]
    last_seen: Annotated[Time | None, Meta(description="None while they are there, and where it is not shown.")]


class PresenceChanged(Event, tag="presence.changed", frozen=True):
    """Somebody whom you watch came, went or changed; several changes within a moment are told as one."""

    presence: Presence


class PresenceChoice(Body, frozen=True):
    """How you have chosen to be seen while you are there."""

    status: Chosen
    text: str
    show_last_seen: bool


class PresenceSet(Request[PresenceChoice], tag="presence.set", frozen=True):
    """Choose how you are seen; what is not given stays, until you choose again. `invisible` looks like offline."""

    status: Chosen | None = None
    text: Line | None = None
    show_last_seen: (
        Annotated[bool, Meta(description="Whether others see when you were last there; if not, nor do you of others.")]
        | None
    ) = None


class Presences(Body, frozen=True):
    """In the order asked for, each once."""

    presences: list[Presence]


class PresenceGet(Request[Presences], tag="presence.get", frozen=True):
    """How these users are right now."""

    users: Some


class PresenceWatch(Request[Presences], tag="presence.watch", frozen=True):
    """Hear of every change of these users on this socket from now on; of a thousand at most in all."""

    users: Some


class PresenceUnwatch(Request[Nothing], tag="presence.unwatch", frozen=True):
    """Hear of them no more."""

    users: Some
