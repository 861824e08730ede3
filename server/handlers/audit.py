"""audit: the security events of one's own account, and the logs of spaces."""

from protocol.audit import AuditList, AuditPage, AuditSpace, Deeds
from server.context import Context
from server.router import op
from server.rule import IN_PERSON, LOGGED_IN
from server.space_access import in_space
from server.structure import Resident
from storage import audit, deed


@op(access=IN_PERSON)
async def list_(ctx: Context, frame: AuditList) -> AuditPage:
    """Newest first."""
    return await audit.page(ctx.db, ctx.user, frame.before, frame.limit)


@op(access=LOGGED_IN & in_space("see_audit"), limit="120/m")
async def space(ctx: Context, frame: AuditSpace, space: Resident) -> Deeds:
    """Only what concerns channels that the asker sees."""
    eyes = space.eyes
    return await deed.page(
        ctx.db,
        space.id,
        seen=space.structure.channels.keys() - set(eyes.hidden),
        hidden=eyes.hidden,
        everything=eyes.everything,
        by=frame.by,
        action=frame.action,
        target=frame.target,
        before=frame.before,
        limit=frame.limit,
    )
