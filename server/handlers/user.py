"""user: other people."""

from protocol.frame import Nothing
from protocol.user import User, UserBlock, UserBlocked, UserGet, UserList, Users, UserSearch, UserUnblock
from server import group
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN, bound
from storage import user as users


@op(access=LOGGED_IN & bound("user", users.visible))
async def get(ctx: Context, frame: UserGet, user: User) -> User:
    """As the rule found them."""
    return user


@op(access=LOGGED_IN, limit="120/m")
async def list_(ctx: Context, frame: UserList) -> Users:
    """Without those who block or are blocked."""
    return await users.page(ctx.db, ctx.user, frame.after, frame.limit)


@op(access=LOGGED_IN, limit="120/m")
async def search(ctx: Context, frame: UserSearch) -> Users:
    """Without those who block or are blocked."""
    return await users.search(ctx.db, ctx.user, frame.text, frame.limit)


@op(access=LOGGED_IN & bound("user", users.blockable), limit="60/m")
async def block(ctx: Context, frame: UserBlock, user: User) -> Nothing:
    """Twice is no error."""
    await group.block(ctx.app, ctx.user, user.id)
    ctx.app.presence.changed(ctx.user, user.id)
    return Nothing()


@op(access=LOGGED_IN & bound("user", users.blocked_by), limit="60/m")
async def unblock(ctx: Context, frame: UserUnblock, user: User) -> Nothing:
    """Whom one has blocked."""
    await group.unblock(ctx.app, ctx.user, user.id)
    ctx.app.presence.changed(ctx.user, user.id)
    return Nothing()


@op(access=LOGGED_IN)
async def blocked(ctx: Context, frame: UserBlocked) -> Users:
    """One's own blocks only."""
    return await users.blocked(ctx.db, ctx.user, frame.after, frame.limit)
