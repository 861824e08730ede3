"""channel: making channels, entering and leaving them."""

from typing import Any
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
    ChannelReorder,
    ChannelUnwatch,
    ChannelUpdate,
    ChannelWatch,
    Membership,
    Memberships,
    Watched,
    WatchedChannel,
)
from protocol.error import Conflict, Forbidden, Invalid, Missing
from protocol.frame import Nothing
from protocol.user import User, Users
from server import group
from server.access import channel_or_open, channel_seen, in_channel, member_in
from server.avatar import check_avatar
from server.context import Context
from server.fact import changing
from server.router import op
from server.rule import LOGGED_IN, bound
from server.space import Order, add_channel, check_decides_nothing, check_moving, ruling
from server.space_access import category_in, channels_in, channels_seen, in_space
from server.structure import Resident
from storage import channel as channels
from storage import deed, grave, retention
from storage import member as members_of
from storage import membership as memberships
from storage import space as spaces
from storage import user as users
from storage.standing import Standing
from storage.stream import Place

_LOOKED_AT, _WATCHED = 1000, 200

_NULLABLE = ("disappears_after", "keeps_for")


@op(
    access=LOGGED_IN
    & bound("members", users.visible_all, "user")
    & in_space("manage_channels")
    & category_in(field="parent"),
    limit="60/m",
)
async def create(
    ctx: Context, frame: ChannelCreate, members: list[User], space: Resident | None, parent: Channel | None
) -> Membership:
    """The same nonce again is the same channel."""
    await check_avatar(ctx, frame.avatar)
    made = await channels.made_with(ctx.db, ctx.user, frame.nonce)
    if made is not None:
        return await _mine(ctx, made)
    if space is not None:
        return await _mine(ctx, await _create_in(ctx, frame, space))
    if frame.kind is not None or frame.private or frame.slow or frame.seats:
        raise Invalid("a group has no kind, and is neither private nor slow: say in which space", field="space")
    return await _mine(ctx, await group.create(ctx.app, ctx.user, frame, [user.id for user in members]))


async def _create_in(ctx: Context, frame: ChannelCreate, space: Resident) -> UUID:
    if frame.members or frame.open:
        raise Invalid("who sees a channel of a space follows from roles: see permission.set", field="members")
    if frame.kind == "category" and frame.parent is not None:
        raise Invalid("a category is in no other", field="parent")
    async with ruling(ctx, space.id, "manage_channels") as rule:
        if frame.parent is not None and frame.parent not in rule.structure.channels:
            raise Missing(field="parent")
        made = await channels.made_with(rule.tx, ctx.user, frame.nonce)
        return made or await add_channel(
            rule,
            frame.kind or "text",
            name=frame.name,
            nonce=frame.nonce,
            topic=frame.topic,
            description=frame.description,
            avatar=frame.avatar,
            parent=frame.parent,
            private=frame.private,
            slow=frame.slow,
            seats=frame.seats,
        )


@op(access=LOGGED_IN & bound("user", users.visible), limit="60/m")
async def open_direct(ctx: Context, frame: ChannelOpenDirect, user: User) -> Membership:
    """However many open it at once, there is one."""
    made = await channels.direct(ctx.db, ctx.user, user.id)
    if made is None:
        made = await group.pair(ctx.app, ctx.user, user.id)
    return await _mine(ctx, made)


async def _mine(ctx: Context, channel: UUID) -> Membership:
    standing = await channel_seen(ctx, channel)
    if standing is None:
        raise Missing
    found = await memberships.get(ctx.db, ctx.user, channel, in_space=standing.space is not None)
    if found is None:
        raise Missing
    return ctx.shown(found, standing)


@op(access=LOGGED_IN & channel_or_open())
async def get(ctx: Context, frame: ChannelGet, channel: Standing | Channel) -> Membership:
    """With how one stands there, if one does."""
    return group.from_outside(channel) if isinstance(channel, Channel) else await _mine(ctx, channel.id)


@op(access=LOGGED_IN)
async def list_(ctx: Context, frame: ChannelList) -> Memberships:
    """One's own only."""
    page = await memberships.page(ctx.db, ctx.user, frame.after, frame.limit)
    return msgspec.structs.replace(page, channels=[ctx.shown(one) for one in page.channels])


@op(access=LOGGED_IN & in_channel())
async def members(ctx: Context, frame: ChannelMembers, channel: Standing) -> Users:
    """Also those who block or are blocked: they are here all the same."""
    if channel.space is not None:
        return await _residents(ctx, frame, channel)
    return await users.in_channel(ctx.db, channel, frame.after, frame.limit)


async def _residents(ctx: Context, frame: ChannelMembers, channel: Standing) -> Users:
    """Those of a part of the space's members who see it: a page may have few, or none, though there are more behind."""
    assert channel.space is not None
    page = await members_of.usernames(ctx.db, channel.space, frame.after, _LOOKED_AT)
    found = await ctx.app.structures.look(ctx.db, [channel.id] * len(page), [user.id for user in page])
    seeing = [user for user, one in zip(page, found, strict=True) if one is not None]
    if len(seeing) > frame.limit:
        return Users(users=seeing[: frame.limit], next=seeing[frame.limit - 1].username)
    return Users(users=seeing, next=page[-1].username if len(page) == _LOOKED_AT else None)


@op(access=LOGGED_IN & in_channel(), limit="60/m")
async def update(ctx: Context, frame: ChannelUpdate, channel: Standing) -> Nothing:
    """In groups the owner's right; how long messages stay either one of a direct channel decides."""
    await check_avatar(ctx, frame.avatar)
    _check_no_thread(channel)
    given = {
        name: value
        for name in ("name", "topic", "description", "avatar", "open", "slow", "seats", "disappears_after", "keeps_for")
        if (value := getattr(frame, name)) is not msgspec.UNSET and (value is not None or name in _NULLABLE)
    }
    if channel.space is None:
        await group.update(ctx.app, ctx.user, channel.id, given)
    else:
        await _update_in(ctx, channel, channel.space, given)
    return Nothing()


def _check_no_thread(channel: Standing) -> None:
    if channel.kind == "thread":
        raise Invalid("this is a thread: see thread.update and thread.delete", field="channel")


async def _update_in(ctx: Context, channel: Standing, space: UUID, given: dict[str, Any]) -> None:
    if given.get("open"):
        raise Invalid("who sees a channel of a space follows from roles: see permission.set", field="open")
    async with ruling(ctx, space, also=(channel.id,)) as rule:
        await rule.change.standing(ctx.user, channel.id, "manage_channels")
        before = await channels.get(rule.tx, channel.id)
        after = msgspec.structs.replace(before, **given)
        if after != before:
            await channels.update(rule.tx, channel.id, after)
            if after.keeps_for != before.keeps_for:
                await retention.begin(rule.tx, channel.id)
            await rule.restructure()
            await rule.note("channel.update", channel.id, before, after, "")


@op(access=LOGGED_IN & in_channel("manage_channels"), limit="60/m")
async def delete(ctx: Context, frame: ChannelDelete, channel: Standing) -> Nothing:
    """In groups the owner's right."""
    _check_no_thread(channel)
    if channel.space is None:
        await group.delete(ctx.app, ctx.user, channel.id)
        return Nothing()
    async with ruling(ctx, channel.space, also=(channel.id,)) as rule:
        await rule.change.standing(ctx.user, channel.id, "manage_channels")
        check_decides_nothing(rule, channel.id)
        await rule.note("channel.delete", channel.id, await channels.get(rule.tx, channel.id), None, "")
        if not rule.structure.public(channel.id):
            await deed.veil(rule.tx, channel.id)
        await grave.dig(rule.tx, channel.id, ctx.user)
        rule.change.withdraw(channel.id)
        await rule.restructure()
    ctx.app.graves.wake()
    return Nothing()


@op(access=LOGGED_IN & in_space("manage_channels") & channels_in() & category_in(field="parent"), limit="60/m")
async def reorder(
    ctx: Context, frame: ChannelReorder, space: Resident, channels: list[Channel], parent: Channel | None
) -> Nothing:
    """Also into another category."""
    async with ruling(ctx, space.id, "manage_channels") as rule:
        known = rule.structure.channels
        moved = list(dict.fromkeys(frame.channels))
        if not known.keys() >= {*moved, *([frame.parent] if frame.parent else [])}:
            raise Missing
        if frame.parent is not None and any(known[one].kind == "category" for one in moved):
            raise Invalid("a category is in no other", field="parent")
        for one in moved:
            check_moving(rule, one, frame.parent)
        behind = [id for id, one in known.items() if one.parent == frame.parent and id not in moved]
        await spaces.reorder(rule.tx, [*moved, *behind], frame.parent)
        await rule.restructure()
        was = [id for id, one in known.items() if one.parent == frame.parent]
        now = Order(channels=[*moved, *behind])
        await rule.note("channel.reorder", frame.parent, Order(channels=was), now, "")
    return Nothing()


@op(access=LOGGED_IN & channels_seen(), limit="120/m")
async def watch(ctx: Context, frame: ChannelWatch, places: list[Place]) -> Watched:
    """From now on; what was said before is in message.history."""
    if "messages" not in ctx.wants or ctx.session is None or not ctx.session.allows("message.history"):
        raise Forbidden("this socket hears no messages: say so in session.open")
    watched = sum(1 for stream in ctx.streams if stream.guard is not None and not stream.is_space)
    if watched + len(places) > _WATCHED:
        raise Conflict(f"a socket watches {_WATCHED} channels at most: unwatch some first")
    heads = await ctx.app.streams.watch(ctx, places)
    return Watched(channels=[WatchedChannel(channel=id, head=head) for id, head in heads.items()])


@op(access=LOGGED_IN)
def unwatch(ctx: Context, frame: ChannelUnwatch) -> Nothing:
    """Also what it does not hear."""
    wanted = set(frame.channels)
    for stream in [one for one in ctx.streams if one.id in wanted and one.guard is not None and not one.is_space]:
        stream.let_go(ctx)
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
        raise Forbidden("only groups can be left: mute it, block the other, or leave the space")
    await group.exit(ctx.app, channel.id, ctx.user, by=ctx.user)
    return Nothing()


@op(access=LOGGED_IN & in_channel() & bound("user", users.visible), limit="120/m")
async def add_member(ctx: Context, frame: ChannelAddMember, channel: Standing, user: User) -> Nothing:
    """Again is no error."""
    if channel.kind != "group":
        raise Forbidden("only groups take members: create one")
    await group.enter(ctx.app, channel.id, [user.id], by=ctx.user)
    return Nothing()


@op(access=LOGGED_IN & in_channel("kick") & member_in(), limit="120/m")
async def remove_member(ctx: Context, frame: ChannelRemoveMember, channel: Standing, user: User) -> Nothing:
    """The owner's right. When this is answered nothing of theirs can come any more."""
    if channel.space is not None:
        raise Forbidden("who sees a channel of a space follows from roles: see permission.set")
    if user.id == ctx.user:
        raise Invalid("leave the group instead", field="user")
    await group.exit(ctx.app, channel.id, user.id, by=ctx.user)
    return Nothing()


@op(access=LOGGED_IN & in_channel(), limit="60/m")
async def mute(ctx: Context, frame: ChannelMute, channel: Standing) -> Nothing:
    """On all of one's devices."""
    async with changing(ctx.app, ctx.user) as change:
        await change.standing(ctx.user, channel.id)
        await memberships.mute(change.tx, channel, ctx.user, frame.until)
        seq = change.next(ctx.user)
        change.tell(ChannelMuted(stream=ctx.user, seq=seq, channel=channel.id, until=frame.until))
    return Nothing()
