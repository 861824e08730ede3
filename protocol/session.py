"""session: opening, keeping and ending one socket's conversation with the server."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Raw

from protocol.account import Account
from protocol.channel import Membership
from protocol.frame import Body, Event, Label, Nothing, Request, Secret, Seq, StreamId, Time
from protocol.space import SpaceBrief

Want = Literal["messages", "receipts", "typing", "presence", "voice"]
Wants = Annotated[
    list[Want],
    Meta(max_length=5, description="What this socket is told of by itself; `messages` are all facts of all streams."),
]


class Head(Body, frozen=True):
    """A stream, and its last fact."""

    stream: UUID
    seq: int


class Cursor(Head, frozen=True, forbid_unknown_fields=True):
    """A stream, and the last of its facts that one has."""

    stream: StreamId
    seq: Seq


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
    """Who this socket speaks for from now on, and where it is; bounded in size, however much there is.

    Facts follow by themselves: of your account from `head` on, of each direct channel and group from its own `head` on;
    channels of spaces are heard by who watches them.
    """

    account: UUID
    me: Annotated[Account | None, Meta(description="None for an API key without the scope `account.get`.")]
    device: Annotated[UUID | None, Meta(description="None when opened with an API key.")]
    scopes: Annotated[list[str], Meta(description="What this session may do; `*` is everything.")]
    head: Annotated[int, Meta(description="The last fact of your account's own stream.")] = 0
    channels: Annotated[
        list[Membership], Meta(description="The channels that moved last; empty without the scope `channel.list`.")
    ] = []
    next: Annotated[str | None, Meta(description="`after` for `channel.list`, when there are more channels.")] = None
    spaces: Annotated[
        list[SpaceBrief], Meta(description="Your first hundred spaces; empty without the scope `space.list`.")
    ] = []
    next_space: Annotated[str | None, Meta(description="`after` for `space.list`, when there are more spaces.")] = None


class SessionOpen(Request[SessionOpened], tag="session.open", frozen=True):
    """Log this socket in with an access token or an API key.

    One account may do so 300 times a minute. An API key without the scope `*` hears channels (with `message.history`),
    and nothing of its account's own stream.
    """

    token: Secret
    wants: Wants | None = None


class SessionResumed(SessionOpened, frozen=True):
    """As opened anew. What was missed came before this reply, in order; `reset` streams have to be read again."""

    reset: list[UUID] = []


class SessionResume(Request[SessionResumed], tag="session.resume", frozen=True):
    """Log in again and get exactly what was missed: everything behind the cursors, then this reply, then what is new.

    A stream that is not named goes on from its present head, as in `session.open`.
    """

    token: Secret
    cursors: Annotated[list[Cursor], Meta(max_length=1000)]
    wants: Wants | None = None


class SessionClose(Request[Nothing], tag="session.close", frozen=True):
    """Log this socket out; its device stays logged in elsewhere."""


class Pong(Body, frozen=True):
    """The server's time, to measure the way there and back and the difference of clocks."""

    time: Time
    behind: Annotated[
        list[Head], Meta(description="Of the streams sent along, those that the server is past: resume from yours.")
    ] = []


class SessionPing(Request[Pong], tag="session.ping", frozen=True):
    """Ask whether the server still answers, and whether one has everything."""

    heads: Annotated[list[Cursor], Meta(max_length=1000, description="The last facts that one has.")] = []


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
