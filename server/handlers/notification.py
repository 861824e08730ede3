"""notification: what one is told of besides one's channels."""

from protocol.notification import (
    NotificationConfigure,
    NotificationCounts,
    NotificationList,
    NotificationMarkRead,
    NotificationPage,
    NotificationSettings,
    Setting,
    Settings,
    Unread,
    UnreadNow,
)
from server import notification
from server.access import in_channel
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN
from server.space_access import in_space
from server.structure import Resident
from storage.standing import Standing


@op(access=LOGGED_IN, limit="120/m")
async def list_(ctx: Context, frame: NotificationList) -> NotificationPage:
    """One's own only."""
    return await notification.page(ctx.app, ctx.user, frame)


@op(access=LOGGED_IN, limit="120/m")
async def counts(ctx: Context, frame: NotificationCounts) -> UnreadNow:
    """One's own only."""
    return await notification.unread(ctx.app, ctx.user)


@op(access=LOGGED_IN & in_channel())
async def mark_read(ctx: Context, frame: NotificationMarkRead, channel: Standing | None) -> Unread:
    """One's own only."""
    return await notification.mark_read(ctx.app, ctx.user, frame.until, frame.channel)


@op(access=LOGGED_IN & in_space() & in_channel(), limit="60/m")
async def configure(
    ctx: Context, frame: NotificationConfigure, space: Resident | None, channel: Standing | None
) -> Setting:
    """Where one is."""
    return await notification.configure(ctx.app, ctx.user, frame)


@op(access=LOGGED_IN, limit="120/m")
async def settings(ctx: Context, frame: NotificationSettings) -> Settings:
    """One's own only."""
    return Settings(settings=await notification.settings(ctx.app, ctx.user))
