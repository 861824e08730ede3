"""channel: making channels, entering and leaving them."""

from uuid import UUID

import msgspec

from protocol.channel import (
    Channel,
    ChannelAddMember,
    ChannelCreate,
    ChannelDelete,
    ChannelGet,
    ChannelJoin,
    ChannelLeave,
    ChannelList,
    ChannelMembers,
    ChannelMute,
    ChannelMuted,
    ChannelOpenDirect,
    ChannelRemoveMember,
    ChannelUpdate,
    Membership,
    Memberships,
)
from protocol.error import Forbidden, Invalid, Missing
from protocol.frame import Nothing
from protocol.user import User, Users
from server import group
from server.access import LOGGED_IN, bound, in_channel, member_in
from server.context import Context
from server.fact import changing
from server.router import op
from storage import channel as channels
from storage import user as users
from storage.standing import Standing

_NULLABLE = ("disappears_after", "keeps_for")


@op(access=LOGGED_IN & bound("members", users.visible_all, "user"), limit="30/m")
async def create(ctx: Context, frame: ChannelCreate, members: list[User]) -> Membership:
    """The same nonce again is the same group."""
    group.check_avatar(ctx.app, frame.avatar)
    made = await channels.made_with(ctx.db, ctx.user, frame.nonce)
    if made is None:
        made = await group.create(ctx.app, ctx.user, frame, [user.id for user in members])
    return await _mine(ctx, made)


@op(access=LOGGED_IN & bound("user", users.visible), limit="60/m")
async def open_direct(ctx: Context, frame: ChannelOpenDirect, user: User) -> Membership:
    """However many open it at once, there is one."""
    made = await channels.direct(ctx.db, ctx.user, user.id)
    if made is None:
        made = await group.pair(ctx.app, ctx.user, user.id)
    return await _mine(ctx, made)


async def _mine(ctx: Context, channel: UUID) -> Membership:
    found = await channels.membership(ctx.db, ctx.user, channel)
    if found is None:
        raise Missing
    return ctx.shown(found)


@op(access=LOGGED_IN & bound("channel", channels.enterable))
async def get(ctx: Context, frame: ChannelGet, channel: Channel) -> Membership:
    """With how one stands there, if one does."""
    found = await channels.membership(ctx.db, ctx.user, channel.id)
    return ctx.shown(found) if found else group.from_outside(channel)


@op(access=LOGGED_IN)
async def list_(ctx: Context, frame: ChannelList) -> Memberships:
    """One's own only."""
    page = await channels.memberships(ctx.db, ctx.user, frame.after, frame.limit)
    return msgspec.structs.replace(page, channels=[ctx.shown(one) for one in page.channels])


@op(access=LOGGED_IN & in_channel())
async def members(ctx: Context, frame: ChannelMembers, channel: Standing) -> Users:
    """Also those who block or are blocked: they are here all the same."""
    return await users.in_channel(ctx.db, channel, frame.after, frame.limit)


@op(access=LOGGED_IN & in_channel(), limit="60/m")
async def update(ctx: Context, frame: ChannelUpdate, channel: Standing) -> Nothing:
    """The owner's right; how long messages stay either one of a direct channel decides."""
    group.check_avatar(ctx.app, frame.avatar)
    given = {
        name: value
        for name in ("name", "topic", "description", "avatar", "open", "disappears_after", "keeps_for")
        if (value := getattr(frame, name)) is not msgspec.UNSET and (value is not None or name in _NULLABLE)
    }
    await group.update(ctx.app, ctx.user, channel.id, given)
    return Nothing()


@op(access=LOGGED_IN & in_channel(), limit="30/m")
async def delete(ctx: Context, frame: ChannelDelete, channel: Standing) -> Nothing:
    """The owner's right."""
    group.check_owner(channel, ctx.user)
    await group.delete(ctx.app, ctx.user, channel.id)
    return Nothing()


@op(access=LOGGED_IN & bound("channel", channels.enterable), limit="60/m")
async def join(ctx: Context, frame: ChannelJoin, channel: Channel) -> Membership:
    """Again is no error."""
    await group.enter(ctx.app, channel.id, [ctx.user], by=ctx.user, uninvited=True)
    return await _mine(ctx, channel.id)


@op(access=LOGGED_IN & in_channel(), limit="60/m")
async def leave(ctx: Context, frame: ChannelLeave, channel: Standing) -> Nothing:
    """Not a direct channel: that is muted or blocked."""
    if channel.kind != "group":
        raise Forbidden("only groups can be left: mute it, or block the other")
    await group.exit(ctx.app, channel.id, ctx.user, by=ctx.user)
    return Nothing()


@op(access=LOGGED_IN & in_channel() & bound("user", users.visible), limit="120/m")
async def add_member(ctx: Context, frame: ChannelAddMember, channel: Standing, user: User) -> Nothing:
    """Again is no error."""
    if channel.kind != "group":
        raise Forbidden("only groups take members: create one")
    await group.enter(ctx.app, channel.id, [user.id], by=ctx.user)
    return Nothing()


@op(access=LOGGED_IN & in_channel() & member_in(), limit="120/m")
async def remove_member(ctx: Context, frame: ChannelRemoveMember, channel: Standing, user: User) -> Nothing:
    """The owner's right. When this is answered nothing of theirs can come any more."""
    group.check_owner(channel, ctx.user)
    if user.id == ctx.user:
        raise Invalid("leave the group instead", field="user")
    await group.exit(ctx.app, channel.id, user.id, by=ctx.user)
    return Nothing()


@op(access=LOGGED_IN & in_channel(), limit="60/m")
async def mute(ctx: Context, frame: ChannelMute, channel: Standing) -> Nothing:
    """On all of one's devices."""
    async with changing(ctx.app, ctx.user) as change:
        await change.standing(ctx.user, channel.id, writes=False)
        await channels.mute(change.tx, channel.id, ctx.user, frame.until)
        seq = change.next(ctx.user)
        change.tell(ChannelMuted(stream=ctx.user, seq=seq, channel=channel.id, until=frame.until))
    return Nothing()
