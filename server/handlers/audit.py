"""audit: the security events of one's own account."""

from protocol.audit import AuditList, AuditPage
from server.context import Context
from server.router import op
from server.rule import IN_PERSON
from storage import audit


@op(access=IN_PERSON)
async def list_(ctx: Context, frame: AuditList) -> AuditPage:
    """Newest first."""
    return await audit.page(ctx.db, ctx.user, frame.before, frame.limit)
