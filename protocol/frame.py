"""What every frame is made of: the base classes and the bounded field types.

Rule 1: no field is unbounded: strings have a length, numbers a range, lists a count.
Rule 2: an id of something that exists on the server says of what (`of("user")`), so that a rule can bind it.
Rule 3: no field is a free-form dictionary or `Any`.
Rule 4: a pattern without line breaks ends in `$(?!\\n)`: after `$` alone Python lets one follow.
Rule 5: a request with a time calls `check_times`: in some zones the calendar begins and ends earlier or later.
"""

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from msgspec import Meta, Struct

R_co = TypeVar("R_co", covariant=True)
_BEGINNING, _END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)  # databases mean infinity by them


class Body(Struct, frozen=True, kw_only=True):
    """Data that the server sends inside a reply or an event."""


class Nothing(Body, frozen=True):
    """The reply of an op that has nothing to tell but that it is done."""


class Request(
    Struct,
    Generic[R_co],
    frozen=True,
    kw_only=True,
    tag_field="op",
    tag="",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """A frame from client to server, answered by exactly one reply whose `re` is this `id`.

    What a client leaves at its default is not sent, so that an older server understands a newer client.
    """

    id: Annotated[int, Meta(ge=0, le=2**53 - 1, description="The client's number, unique in flight.")] = 0


def check_times(frame: Struct) -> None:
    """Refuse times at and beyond the ends of UTC's calendar: for the `__post_init__` of what has times."""
    for field in frame.__struct_fields__:
        value = getattr(frame, field)
        if isinstance(value, datetime) and not _BEGINNING < value < _END:
            raise ValueError(f"too early or too late a time, in field `{field}`")


class Event(Struct, frozen=True, kw_only=True, tag_field="ev", tag=""):
    """A frame from server to client that answers no request."""


class Fact(Event, frozen=True):
    """A durable event: the `seq`th of its stream; every session that hears the stream gets it once, in order."""

    stream: Annotated[UUID, Meta(description="A channel, or an account for what concerns that account alone.")]
    seq: Annotated[int, Meta(description="One more than that of the fact before.")]


class ChannelFact(Fact, frozen=True):
    """A fact of a channel: everybody in it hears it."""


class AccountFact(Fact, frozen=True):
    """A fact of an account: its own sockets hear it, and nobody else's."""


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request was refused: `code` for programs, `message` for people."""

    code: str
    message: str
    field: str | None = None
    retry_after: float | None = None


def of(kind: str) -> Meta:
    """Mark a field as the id of an existing `kind`: the op's access rule must bind it."""
    return Meta(extra={"of": kind}, extra_json_schema={"x-of": kind})


UserId = Annotated[UUID, of("user")]
DeviceId = Annotated[UUID, of("device")]
ApiKeyId = Annotated[UUID, of("api_key")]
ScheduledId = Annotated[UUID, of("scheduled")]
ChannelId = Annotated[UUID, of("channel")]
SpaceId = Annotated[UUID, of("space")]
RoleId = Annotated[UUID, of("role")]
ThreadId = Annotated[UUID, of("thread")]
ReportId = Annotated[UUID, of("report")]
AutomodId = Annotated[UUID, of("automod")]
FileId = Annotated[UUID, of("file")]
EmojiId = Annotated[UUID, of("emoji")]
StickerId = Annotated[UUID, of("sticker")]
CallId = Annotated[UUID, of("call")]
SeatId = Annotated[UUID, of("seat")]
MessageSeq = Annotated[int, Meta(ge=1, le=2**53 - 1), of("message")]
StreamId = Annotated[UUID, Meta(extra={"of": None}, description="A channel, or your account; others are `reset`.")]
Nonce = Annotated[UUID, Meta(extra={"of": None}, description="Made by the client; the same again is a retry.")]

Uploaded = Annotated[UUID, Meta(extra={"of": None}, description="What was uploaded.")]

_NO_NUL = r"^[^\x00]*$"
_ONE_LINE = r"^[^\x00-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$(?!\n)"

Text = Annotated[str, Meta(min_length=1, max_length=4000, pattern=_NO_NUL)]
Paragraph = Annotated[str, Meta(max_length=1000, pattern=_NO_NUL)]
Line = Annotated[str, Meta(max_length=80, pattern=_ONE_LINE)]
OptionText = Annotated[str, Meta(min_length=1, max_length=80, pattern=_ONE_LINE)]
Label = Annotated[str, Meta(min_length=1, max_length=64, pattern=_ONE_LINE)]
FileName = Annotated[str, Meta(min_length=1, max_length=200, pattern=_ONE_LINE)]
Slug = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$(?!\n)")]
Shortcode = Annotated[str, Meta(pattern=r"^[a-z0-9_]{2,32}$(?!\n)", description="What stands between colons.")]
Secret = Annotated[str, Meta(min_length=1, max_length=2048, pattern=r"^[\x21-\x7e]+$(?!\n)")]
Password = Annotated[
    str,
    Meta(
        max_length=256,
        pattern=_NO_NUL,
        description="Your password; empty for an account without one that logged in within the last ten minutes.",
    ),
]
Code = Annotated[str, Meta(pattern=r"^[0-9A-Za-z-]{6,24}$(?!\n)", description="Six digits, or a recovery code.")]
Url = Annotated[str, Meta(min_length=1, max_length=2048, pattern=r"^[\x21-\x7e]+$(?!\n)")]
Limit = Annotated[int, Meta(ge=1, le=100)]
Seq = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Time = Annotated[datetime, Meta(tz=True)]
