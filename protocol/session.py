"""session: opening, keeping and ending one socket's conversation with the server."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Raw

from protocol.account import Account
from protocol.frame import Body, Event, Label, Nothing, Request, Secret, Time


class Limits(Body, frozen=True):
    """What the server takes from one socket."""

    frame_bytes: int
    frame_bytes_before_login: int
    frames_per_second: int
    frames_in_burst: int
    requests_in_flight: int


class SessionHello(Event, tag="session.hello", frozen=True):
    """The first frame on every socket: who answers, and within what limits."""

    protocol: Annotated[str, Meta(description="The version that the server speaks.")]
    server: str
    node: Annotated[str, Meta(description="The server process, for logs and bug reports.")]
    heartbeat: Annotated[int, Meta(description="Seconds; a socket silent for two of them is closed.")]
    login_within: Annotated[int, Meta(description="Seconds in which a session must be opened.")]
    limits: Limits


class SessionGoingAway(Event, tag="session.going_away", frozen=True):
    """This server process stops soon: finish, and reconnect after `reconnect_after` seconds."""

    reason: Literal["restart", "shutdown"]
    reconnect_after: float


class SessionOpened(Body, frozen=True):
    """Who this socket speaks for from now on."""

    account: UUID
    me: Annotated[Account | None, Meta(description="None for an API key without the scope `account.get`.")]
    device: Annotated[UUID | None, Meta(description="None when opened with an API key.")]
    scopes: Annotated[list[str], Meta(description="What this session may do; `*` is everything.")]


class SessionOpen(Request[SessionOpened], tag="session.open", frozen=True):
    """Log this socket in with an access token or an API key."""

    token: Secret


class SessionClose(Request[Nothing], tag="session.close", frozen=True):
    """Log this socket out; its device stays logged in elsewhere."""


class Pong(Body, frozen=True):
    """The server's time, to measure the way there and back and the difference of clocks."""

    time: Time


class SessionPing(Request[Pong], tag="session.ping", frozen=True):
    """Ask whether the server still answers."""


class Description(Body, frozen=True):
    """This protocol, as the server speaks it, in JSON Schema."""

    protocol: str
    ops: Annotated[Raw, Meta(description="op → {doc, access, limit, request, reply}, as JSON Schema")]
    events: Annotated[Raw, Meta(description="event → JSON Schema")]
    errors: Annotated[Raw, Meta(description="code → {doc, close}")]
    definitions: Annotated[Raw, Meta(description="what the schemas refer to")]


class SessionDescribe(Request[Description], tag="session.describe", frozen=True):
    """Read the protocol from the server itself: all of it, or one domain."""

    domain: Label | None = None
