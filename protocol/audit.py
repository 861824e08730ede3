"""audit: what happened to an account, for its owner to check; and what was done in a space, for its moderators."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import Body, Limit, Request, Slug, SpaceId, Time

Before = Annotated[int, Meta(ge=1, le=2**63 - 1, description="`next` of the page before.")]


class AuditEntry(Body, frozen=True):
    """One security event."""

    at: Time
    action: Annotated[str, Meta(description="The op, or what happened: `account.login`, `refresh.reused`.")]
    address: Annotated[str, Meta(description="The network address it came from.")]
    device: Annotated[UUID | None, Meta(description="None where no device was logged in, as in a failed login.")]
    detail: dict[str, str]


class AuditPage(Body, frozen=True):
    """Security events, the newest first; `next` asks for older ones."""

    entries: list[AuditEntry]
    next: int | None


class AuditList(Request[AuditPage], tag="audit.list", frozen=True):
    """The security events of your own account."""

    before: Before | None = None
    limit: Limit = 50


# What was done in a space


class Difference(Body, frozen=True):
    """What one thing was before and after, as JSON; None where there was none."""

    name: str
    before: str | None
    after: str | None


class Deed(Body, frozen=True):
    """Something that was done in a space."""

    at: Time
    by: Annotated[UUID | None, Meta(description="None for the server itself, and for automod.")]
    action: Annotated[str, Meta(description="The op: `role.update`, `member.kick`.")]
    target: Annotated[UUID | None, Meta(description="The account, role, channel … that it was done to.")]
    differences: list[Difference]
    reason: str


class ExportedDeed(Body, frozen=True):
    """Something that you have done in a space, as its log has it, but for what others see of it alone."""

    space: UUID
    at: Time
    action: str
    target: UUID | None
    reason: str


class Deeds(Body, frozen=True):
    """The log of a space, the newest first; `next` asks for what was done before that."""

    deeds: list[Deed]
    next: int | None


class AuditSpace(Request[Deeds], tag="audit.space", frozen=True):
    """What was done in a space in the last year, by whom, and why; with `see_audit`.

    Without what was done to channels that you do not see: also where they are no more.
    """

    space: SpaceId
    by: Annotated[UUID | None, Meta(extra={"of": None}, description="Only what this account has done.")] = None
    action: Annotated[Slug | None, Meta(description="Only this.")] = None
    target: Annotated[UUID | None, Meta(extra={"of": None}, description="Only what was done to this.")] = None
    before: Before | None = None
    limit: Limit = 50
