"""space: communities, and coming to and going from them."""

from uuid import UUID

import msgspec
from msgspec import UNSET

from protocol.error import Conflict, Forbidden, Invalid, Missing
from protocol.frame import Nothing
from protocol.permission import names
from protocol.space import (
    Discovered,
    Space,
    SpaceCreate,
    SpaceDelete,
    SpaceDiscover,
    SpaceGet,
    SpaceJoin,
    SpaceLeave,
    SpaceList,
    Spaces,
    SpaceTransfer,
    SpaceUpdate,
    SpaceView,
)
from server import space as making
from server.avatar import check_avatar
from server.context import Context
from server.fact import changing
from server.router import op
from server.rule import LOGGED_IN, bound
from server.space import ruling
from server.space_access import in_space, resident_in
from server.structure import Resident
from storage import member as members
from storage import retention
from storage import space as spaces

_TALKATIVE = ("text", "broadcast", "voice", "stage")


@op(access=LOGGED_IN, limit="10/m")
async def create(ctx: Context, frame: SpaceCreate) -> Space:
    """With everyone's role and one channel."""
    await check_avatar(ctx, frame.avatar)
    made = await spaces.made_with(ctx.db, ctx.user, frame.nonce)
    return made or await making.create(ctx.app, ctx.user, frame)


@op(access=LOGGED_IN & in_space(), limit="120/m")
async def get(ctx: Context, frame: SpaceGet, space: Resident) -> SpaceView:
    """Exactly what this member sees; from here on this socket is told of changes to it."""
    seen = space.structure.seen_by(space.member)
    me = await members.get(ctx.db, space.id, ctx.user)
    about = await spaces.get(ctx.db, space.id)
    if me is None or about is None:
        raise Missing
    talkative = [id for id, one in seen.channels.items() if one.channel.kind in _TALKATIVE]
    marks = await spaces.marks(ctx.db, ctx.user, space.id, talkative)
    ctx.app.outlines.note(ctx, [seen])
    return SpaceView(
        space=msgspec.structs.replace(seen.space, members=about.members),
        outline=seen.version,
        me=me,
        permissions=names(seen.allowed),
        roles=list(seen.roles.values()),
        channels=list(seen.channels.values()),
        marks=marks,
        emoji=list(seen.emoji.values()),
        stickers=list(seen.stickers.values()),
    )


@op(access=LOGGED_IN & in_space("manage_space"), limit="30/m")
async def update(ctx: Context, frame: SpaceUpdate, space: Resident) -> Space:
    """Members see it by `space.changed`."""
    await check_avatar(ctx, frame.avatar)
    async with ruling(ctx, space.id, "manage_space") as rule:
        before = await _held(rule)
        fields = {name: getattr(frame, name) for name in ("name", "description", "avatar", "open")}
        given = {name: one for name, one in fields.items() if one is not None}
        if frame.keeps_for is not UNSET:
            given["keeps_for"] = frame.keeps_for
        after = msgspec.structs.replace(before, **given)
        if after != before:
            await spaces.update(rule.tx, after)
            if after.keeps_for != before.keeps_for:
                await retention.begin_in(rule.tx, space.id)
            await rule.restructure()
            await rule.note("space.update", space.id, before, after, "")
    return after


async def _held(rule: making.Ruling) -> Space:
    found = await spaces.get(rule.tx, rule.id)
    if found is None:
        raise Missing
    return found


@op(access=LOGGED_IN & in_space(), limit="10/m")
async def delete(ctx: Context, frame: SpaceDelete, space: Resident) -> Nothing:
    """The owner's right."""
    async with ruling(ctx, space.id) as rule:
        if not rule.me.member.owner:
            raise Forbidden("only the owner of a space may delete it")
        if frame.name != (await _held(rule)).name:
            raise Invalid("this is not its name: nothing was deleted", field="name")
        await spaces.bury(rule.tx, space.id)
        rule.withdraw()
    ctx.app.ruins.wake()
    return Nothing()


@op(access=LOGGED_IN)
async def list_(ctx: Context, frame: SpaceList) -> Spaces:
    """One's own only."""
    seen = await ctx.app.outlines.seen(ctx.user, _cursor(frame.after), frame.limit)
    ctx.app.outlines.note(ctx, seen.outlines)
    return Spaces(spaces=seen.briefs, next=seen.next)


def _cursor(after: str | None) -> UUID | None:
    """A cursor that is none begins at the beginning."""
    try:
        return UUID(after) if after else None
    except ValueError:
        return None


@op(access=LOGGED_IN, limit="60/m")
async def discover(ctx: Context, frame: SpaceDiscover) -> Discovered:
    """Only open ones, and none that the asker is kept out of."""
    return await spaces.discover(ctx.db, ctx.user, frame.text, frame.after, frame.limit)


@op(access=LOGGED_IN & bound("space", spaces.enterable), limit="30/m")
async def join(ctx: Context, frame: SpaceJoin, space: Space) -> Space:
    """An open one."""
    return await making.enter(ctx.app, space.id, ctx.user)


@op(access=LOGGED_IN & in_space(), limit="30/m")
async def leave(ctx: Context, frame: SpaceLeave, space: Resident) -> Nothing:
    """Not its owner."""
    async with changing(ctx.app, space.id, ctx.user) as change:
        me = await ctx.app.structures.resident(change.tx, space.id, ctx.user)
        if me is None:
            raise Missing
        if me.member.owner:
            raise Conflict("hand the space over first, or delete it")
        await making.put_out(change, space.id, ctx.user, "left")
    return Nothing()


@op(access=LOGGED_IN & in_space() & resident_in(), limit="10/m")
async def transfer(ctx: Context, frame: SpaceTransfer, space: Resident, user: Resident) -> Nothing:
    """The owner's right."""
    async with ruling(ctx, space.id, also=(user.account,)) as rule:
        if not rule.me.member.owner:
            raise Forbidden("only the owner of a space may hand it over")
        await rule.resident(user.account)
        before = await _held(rule)
        await spaces.update(rule.tx, after := msgspec.structs.replace(before, owner=user.account))
        await rule.restructure()
        await rule.note("space.transfer", user.account, before, after, "")
    return Nothing()
