"""member: who is in a space."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import (
    AccountFact,
    Body,
    ChannelId,
    Label,
    Limit,
    Line,
    Nothing,
    Request,
    RoleId,
    SpaceId,
    Time,
    UserId,
    check_times,
)
from protocol.user import User

Nick = Annotated[Line, Meta(description="What they are called in this space; empty for their own name.")]
Reason = Annotated[str, Meta(max_length=500, pattern=r"^[^\x00]*$", description="For the space's audit log.")]


class Member(Body, frozen=True):
    """Somebody in a space, as all members see it."""

    user: User
    nick: str
    roles: Annotated[list[UUID], Meta(description="Without everyone's.")]
    joined_at: Time
    timeout_until: Annotated[Time | None, Meta(description="Until then they only read.")]


class Members(Body, frozen=True):
    """Members by name; `total` is how many there are to list."""

    members: list[Member]
    total: int


class MemberChanged(AccountFact, tag="member.changed", frozen=True):
    """You are called otherwise in a space, have other roles, or may only read for a while."""

    space: UUID
    member: Member


class MemberList(Request[Members], tag="member.list", frozen=True):
    """A range of a space's members by name: from the `offset`th on, whatever the size of the space."""

    space: SpaceId
    offset: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    limit: Limit = 50
    role: Annotated[RoleId | None, Meta(description="Only those who have it.")] = None


class MemberGet(Request[Member], tag="member.get", frozen=True):
    """Look at one member."""

    space: SpaceId
    user: UserId


class MemberSearch(Request[Members], tag="member.search", frozen=True):
    """Members whose nick, name or username begins with these letters; `total` is how many are told."""

    space: SpaceId
    text: Label
    limit: Limit = 20


class MemberSuggest(Request[Members], tag="member.suggest", frozen=True):
    """Whom to mention in a channel: those who see it, and whose nick, name or username begins with these letters."""

    channel: ChannelId
    text: Line = ""
    limit: Annotated[int, Meta(ge=1, le=25)] = 10


class MemberUpdate(Request[Member], tag="member.update", frozen=True):
    """Call somebody otherwise: yourself with `change_nick`, who stands lower with `manage_nicks`."""

    space: SpaceId
    user: UserId
    nick: Nick
    reason: Reason = ""


class MemberKick(Request[Nothing], tag="member.kick", frozen=True):
    """Put a member out who stands lower than you; they may come back. When this is answered nothing of theirs comes."""

    space: SpaceId
    user: UserId
    reason: Reason = ""


class MemberBan(Request[Nothing], tag="member.ban", frozen=True):
    """Keep an account out of a space, whether it is in it or not."""

    space: SpaceId
    user: UserId
    reason: Reason = ""
    purge: Annotated[
        int, Meta(ge=0, le=604_800, description="Take back what they said in the last so many seconds.")
    ] = 0


class MemberUnban(Request[Nothing], tag="member.unban", frozen=True):
    """Let an account come back."""

    space: SpaceId
    user: UserId
    reason: Reason = ""


class Ban(Body, frozen=True):
    """An account that is kept out."""

    user: User
    by: UUID
    reason: str
    at: Time


class Bans(Body, frozen=True):
    """Who is kept out, in the order in which that was decided; `next` asks for the page after it."""

    bans: list[Ban]
    next: str | None


class MemberBans(Request[Bans], tag="member.bans", frozen=True):
    """Who is kept out; with `ban`."""

    space: SpaceId
    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50


class MemberTimeout(Request[Member], tag="member.timeout", frozen=True):
    """Let a member who stands lower than you only read until a time, at most 28 days ahead; None ends that."""

    space: SpaceId
    user: UserId
    until: Time | None
    reason: Reason = ""

    def __post_init__(self) -> None:
        check_times(self)
