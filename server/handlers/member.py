"""member: who is in a space, and keeping people out of it."""

from datetime import UTC, datetime, timedelta

import msgspec

from protocol.error import Forbidden, Invalid, Missing
from protocol.frame import Nothing
from protocol.member import (
    Bans,
    Member,
    MemberBan,
    MemberBans,
    MemberGet,
    MemberKick,
    MemberList,
    Members,
    MemberSearch,
    MemberSuggest,
    MemberTimeout,
    MemberUnban,
    MemberUpdate,
)
from protocol.permission import bits
from protocol.user import User
from server import access
from server.access import in_channel
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN, check
from server.space import put_out, ruling
from server.space_access import bannable_in, banned_in, in_space, resident_in, role_in
from server.structure import Resident
from storage import member as members
from storage import purge
from storage.standing import Standing


class Banned(msgspec.Struct, frozen=True):
    """What else came with a ban, for the log."""

    purge: int


_LONGEST = timedelta(days=28)
_LOOKED_AT = 200


@op(access=LOGGED_IN & in_space() & role_in())
async def list_(ctx: Context, frame: MemberList, space: Resident, role: access.Role | None) -> Members:
    """Everybody sees who is in it."""
    wanted = role.id if role is not None and role.id != space.id else None
    return await members.page(ctx.db, space.id, frame.offset, frame.limit, wanted)


@op(access=LOGGED_IN & in_space() & resident_in())
async def get(ctx: Context, frame: MemberGet, space: Resident, user: Resident) -> Member:
    """Also those who block or are blocked: they are here all the same."""
    found = await members.get(ctx.db, space.id, user.account)
    if found is None:
        raise Missing
    return found


@op(access=LOGGED_IN & in_space(), limit="120/m")
async def search(ctx: Context, frame: MemberSearch, space: Resident) -> Members:
    """By what their names begin with."""
    found = await members.beginning(ctx.db, space.id, frame.text, frame.limit)
    return Members(members=found, total=len(found))


@op(access=LOGGED_IN & in_channel(), limit="120/m")
async def suggest(ctx: Context, frame: MemberSuggest, channel: Standing) -> Members:
    """Only who sees the channel."""
    if channel.space is None:
        raise Invalid("in groups, channel.members lists who can be mentioned", field="channel")
    found = await members.beginning(ctx.db, channel.space, frame.text, _LOOKED_AT)
    seeing = await ctx.app.structures.look(ctx.db, [channel.id] * len(found), [one.user.id for one in found])
    some = [member for member, standing in zip(found, seeing, strict=True) if standing is not None][: frame.limit]
    return Members(members=some, total=len(some))


@op(access=LOGGED_IN & in_space() & resident_in(), limit="60/m")
async def update(ctx: Context, frame: MemberUpdate, space: Resident, user: Resident) -> Member:
    """Oneself, or who stands lower."""
    async with ruling(ctx, space.id, also=(user.account,)) as rule:
        if user.account == ctx.user:
            check(rule.me.allowed, bits(["change_nick"]))
        else:
            check(rule.me.allowed, bits(["manage_nicks"]))
            await rule.below(user.account)
        before = await members.get(rule.tx, space.id, user.account)
        await members.rename(rule.tx, space.id, user.account, frame.nick.strip())
        after = await rule.tell_member(user.account)
        await rule.note("member.update", user.account, before, after, frame.reason)
    return after


@op(access=LOGGED_IN & in_space("kick") & resident_in(), limit="60/m")
async def kick(ctx: Context, frame: MemberKick, space: Resident, user: Resident) -> Nothing:
    """When this is answered nothing of theirs can come any more."""
    async with ruling(ctx, space.id, "kick", also=(user.account,)) as rule:
        await rule.below(user.account)
        before = await members.get(rule.tx, space.id, user.account)
        await put_out(rule.change, space.id, user.account, "kicked")
        await rule.note("member.kick", user.account, before, None, frame.reason)
    return Nothing()


@op(access=LOGGED_IN & in_space("ban") & bannable_in(), limit="60/m")
async def ban(ctx: Context, frame: MemberBan, space: Resident, user: User) -> Nothing:
    """Whether they are in it or not; again is no error."""
    if user.id == ctx.user:
        raise Invalid("leave the space instead", field="user")
    async with ruling(ctx, space.id, "ban", also=(user.id,)) as rule:
        before = await members.get(rule.tx, space.id, user.id)
        if before is not None:
            await rule.below(user.id)
        new = await members.ban(rule.tx, space.id, user.id, ctx.user, frame.reason)
        await put_out(rule.change, space.id, user.id, "banned")
        if frame.purge:
            await purge.begin(rule.tx, space.id, user.id, frame.purge)
        if new or frame.purge:
            await rule.note("member.ban", user.id, before, Banned(purge=frame.purge), frame.reason)
    ctx.app.purges.wake()
    return Nothing()


@op(access=LOGGED_IN & in_space("ban") & banned_in(), limit="60/m")
async def unban(ctx: Context, frame: MemberUnban, space: Resident, user: User) -> Nothing:
    """They may come back, and are not told."""
    async with ruling(ctx, space.id, "ban") as rule:
        before = await members.unban(rule.tx, space.id, user.id)
        if before is not None:
            await rule.note("member.unban", user.id, before, None, frame.reason)
    return Nothing()


@op(access=LOGGED_IN & in_space("ban"))
async def bans(ctx: Context, frame: MemberBans, space: Resident) -> Bans:
    """The oldest first."""
    return await members.bans(ctx.db, space.id, frame.after, frame.limit)


@op(access=LOGGED_IN & in_space("timeout") & resident_in(), limit="60/m")
async def timeout(ctx: Context, frame: MemberTimeout, space: Resident, user: Resident) -> Member:
    """Not for administrators: nothing would follow from it."""
    until = frame.until.astimezone(UTC) if frame.until is not None else None
    if until is not None and not datetime.now(UTC) < until <= datetime.now(UTC) + _LONGEST:
        raise Invalid("from now to 28 days ahead", field="until")
    async with ruling(ctx, space.id, "timeout", also=(user.account,)) as rule:
        below = await rule.below(user.account)
        if below.allowed & bits(["administrator"]):
            raise Forbidden("an administrator cannot be timed out: take the role first")
        before = await members.get(rule.tx, space.id, user.account)
        await members.time_out(rule.tx, space.id, user.account, until)
        rule.withdraw()
        after = await rule.tell_member(user.account)
        await rule.note("member.timeout", user.account, before, after, frame.reason)
    return after
