"""role: what members of a space may do, by name. Everyone has everyone's role: its id is that of the space."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import Body, Label, Nonce, Nothing, Request, RoleId, SpaceId, UserId
from protocol.permission import Permissions

Colour = Annotated[int, Meta(ge=0, le=0xFFFFFF, description="0xRRGGBB")]


class Role(Body, frozen=True):
    """A role as every member of the space sees it."""

    id: UUID
    name: str
    colour: int | None
    position: Annotated[int, Meta(description="Who has a higher one stands above; everyone's is 0.")]
    permissions: Permissions
    apart: Annotated[bool, Meta(description="Whether its members are listed apart from the others.")]
    mentionable: Annotated[bool, Meta(description="Whether everybody may mention it.")]


class RoleCreate(Request[Role], tag="role.create", frozen=True):
    """Make a role, right above everyone's. With `manage_roles`; it gets no permission that you do not have."""

    space: SpaceId
    name: Label
    nonce: Nonce
    colour: Colour | None = None
    permissions: Permissions = []
    apart: bool = False
    mentionable: bool = False


class RoleUpdate(Request[Role], tag="role.update", frozen=True):
    """Change a role that stands lower than you; what is not given stays."""

    space: SpaceId
    role: RoleId
    name: Label | None = None
    colour: Annotated[int, Meta(ge=-1, le=0xFFFFFF, description="0xRRGGBB; -1 for none.")] | None = None
    permissions: Permissions | None = None
    apart: bool | None = None
    mentionable: bool | None = None


class RoleDelete(Request[Nothing], tag="role.delete", frozen=True):
    """Do away with a role that stands lower than you."""

    space: SpaceId
    role: RoleId


class RoleReorder(Request[Nothing], tag="role.reorder", frozen=True):
    """Put all roles but everyone's in an order, the highest first; those as high as you or higher stay in place."""

    space: SpaceId
    roles: Annotated[list[RoleId], Meta(max_length=250)]


class RoleGrant(Request[Nothing], tag="role.grant", frozen=True):
    """Give a member a role; both stand lower than you. Again is no error."""

    space: SpaceId
    role: RoleId
    user: UserId


class RoleRevoke(Request[Nothing], tag="role.revoke", frozen=True):
    """Take a role from a member; both stand lower than you. Again is no error."""

    space: SpaceId
    role: RoleId
    user: UserId
