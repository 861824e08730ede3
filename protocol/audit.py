"""audit: what happened to an account, for its owner to check."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import Body, Limit, Request, Time


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

    before: Annotated[int, Meta(ge=1, le=2**63 - 1, description="`next` of the page before.")] | None = None
    limit: Limit = 50
