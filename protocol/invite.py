"""invite: codes that lead into a space. Whoever has one that is good may enter, unless they are kept out."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import Body, Limit, Line, Nonce, Nothing, Request, RoleId, SpaceId, Time, UserId, of
from protocol.space import Space

Code = Annotated[
    str, Meta(pattern=r"^[0-9A-Za-z-]{3,32}$(?!\n)", description="Letters are alike, large or small."), of("invite")
]
Vanity = Annotated[
    str,
    Meta(
        pattern=r"^(?=.{3,32}$(?!\n))[0-9A-Za-z]+(-[0-9A-Za-z]+)*$(?!\n)",
        description="A code of your own choice, for the space as such; it takes the place of the one before.",
    ),
]


class Invite(Body, frozen=True):
    """A code, and what it is good for."""

    code: str
    space: UUID
    by: UUID | None
    role: Annotated[UUID | None, Meta(description="Given to who enters, while `by` may give it.")]
    uses: Annotated[int, Meta(description="How many have entered by it.")]
    most: Annotated[int | None, Meta(description="How many may; None for any number.")]
    vanity: bool
    expires_at: Time | None
    created_at: Time


class Invites(Body, frozen=True):
    """Invites, the newest first; `next` asks for the page after it."""

    invites: list[Invite]
    next: str | None


class Invitation(Body, frozen=True):
    """Where a code leads to."""

    code: str
    space: UUID
    name: str
    description: str
    avatar: str
    members: int
    joined: Annotated[bool, Meta(description="Whether you are in it already.")]


class InviteCreate(Request[Invite], tag="invite.create", frozen=True):
    """Make a way into a space; at most fifty at a time. With `invite`; the same nonce again is the same one."""

    space: SpaceId
    nonce: Nonce
    most: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    lasts: (
        Annotated[int, Meta(ge=60, le=31_536_000, description="For how many seconds it is good; None for ever.")] | None
    ) = 604_800
    role: Annotated[
        RoleId | None, Meta(description="With `manage_roles`: one that stands lower than you, given to who enters.")
    ] = None
    vanity: Annotated[Vanity | None, Meta(description="With `manage_space`; it has neither end nor role.")] = None


class InviteList(Request[Invites], tag="invite.list", frozen=True):
    """The invites of a space that are still good: all of them with `manage_space`, otherwise your own."""

    space: SpaceId
    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50


class InviteGet(Request[Invitation], tag="invite.get", frozen=True):
    """Where a code leads to. A code that is not good is `missing`, whatever the reason; who guesses is slowed down."""

    code: Code


class InviteAccept(Request[Space], tag="invite.accept", frozen=True):
    """Enter a space by a code; again is no error, and counts once."""

    code: Code


class InviteSend(Request[Nothing], tag="invite.send", frozen=True):
    """Invite somebody, whom you may open a direct channel with, by a code that is good; with `invite`.

    They are notified, by you once a space for as long as that invite is good; accepting is `invite.accept`. Who is kept
    out there is told nothing, and neither are you.
    """

    code: Code
    user: UserId


class InviteRevoke(Request[Nothing], tag="invite.revoke", frozen=True):
    """Let a code be good for nothing any more: your own, or any with `manage_space`."""

    code: Code
