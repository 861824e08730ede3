"""presence: who is there."""

from protocol.error import SessionRevoked
from protocol.frame import Nothing
from protocol.presence import PresenceChoice, PresenceGet, Presences, PresenceSet, PresenceUnwatch, PresenceWatch
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN, bound
from storage import presence as presences
from storage.presence import Look


@op(access=LOGGED_IN, limit="60/m")
async def set_(ctx: Context, frame: PresenceSet) -> PresenceChoice:
    """For all of one's sockets; told to who watches."""
    choice = await presences.choose(ctx.db, ctx.user, frame.status, frame.text, frame.show_last_seen)
    if choice is None:
        raise SessionRevoked
    ctx.app.presence.changed(ctx.user)
    if frame.show_last_seen is not None:
        ctx.app.presence.sees_otherwise(ctx.user)
    return choice


@op(access=LOGGED_IN & bound("users", presences.as_seen, "user"), limit="120/m")
async def get(ctx: Context, frame: PresenceGet, users: Look) -> Presences:
    """Whom one may not see is offline."""
    return Presences(presences=await ctx.app.presence.shown(ctx.user, users))


@op(access=LOGGED_IN & bound("users", presences.as_seen, "user"), limit="120/m")
async def watch(ctx: Context, frame: PresenceWatch, users: Look) -> Presences:
    """A socket that does not want presence is told how they are now, and no more."""
    if "presence" not in ctx.wants:
        return Presences(presences=await ctx.app.presence.shown(ctx.user, users))
    return Presences(presences=await ctx.app.presence.watch(ctx, users))


@op(access=LOGGED_IN & bound("users", presences.as_seen, "user"), limit="120/m")
async def unwatch(ctx: Context, frame: PresenceUnwatch, users: Look) -> Nothing:
    """Whom one does not watch is no error."""
    ctx.app.presence.unwatch(ctx, users.users)
    return Nothing()
