"""friend: asking people to be friends, and who may ask."""

from protocol.frame import Nothing
from protocol.friend import (
    Friend,
    FriendAccept,
    FriendDecline,
    FriendList,
    FriendPrivacy,
    FriendRemove,
    FriendRequest,
    Friends,
    FriendSetPrivacy,
    PrivacyChoice,
)
from protocol.user import User
from server import friend
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN, bound
from storage import friend as friends
from storage import user as users


@op(access=LOGGED_IN & bound("user", users.visible), limit="30/m")
async def request(ctx: Context, frame: FriendRequest, user: User) -> Friend:
    """When two ask each other at once they are friends."""
    return await friend.request(ctx.app, ctx.user, user.id)


@op(access=LOGGED_IN & bound("user", users.visible), limit="60/m")
async def accept(ctx: Context, frame: FriendAccept, user: User) -> Friend:
    """Only what was asked."""
    return await friend.accept(ctx.app, ctx.user, user.id)


@op(access=LOGGED_IN & bound("user", users.visible), limit="60/m")
async def decline(ctx: Context, frame: FriendDecline, user: User) -> Nothing:
    """A friend stays one."""
    await friend.end(ctx.app, ctx.user, user.id, "asked")
    return Nothing()


@op(access=LOGGED_IN & bound("user", users.visible), limit="60/m")
async def remove(ctx: Context, frame: FriendRemove, user: User) -> Nothing:
    """Who has asked stays one who has asked: that is declined."""
    await friend.end(ctx.app, ctx.user, user.id, "friend", "waiting")
    return Nothing()


@op(access=LOGGED_IN, limit="120/m")
async def list_(ctx: Context, frame: FriendList) -> Friends:
    """One's own only."""
    return await friends.listing(ctx.db, ctx.user, frame.state, frame.after, frame.limit)


@op(access=LOGGED_IN)
async def privacy(ctx: Context, frame: FriendPrivacy) -> PrivacyChoice:
    """One's own only."""
    return await friends.privacy(ctx.db, ctx.user)


@op(access=LOGGED_IN, limit="30/m")
async def set_privacy(ctx: Context, frame: FriendSetPrivacy) -> PrivacyChoice:
    """What is there already stays: requests, friends and channels."""
    return await friend.choose(ctx.app, ctx.user, frame.requests, frame.directs)
