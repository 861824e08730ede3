"""permission: how channels differ from their space, and why somebody may do something, or may not."""

from uuid import UUID

from protocol import permission
from protocol.error import Forbidden, Invalid, Missing
from protocol.frame import Nothing
from protocol.permission import (
    Explanation,
    Overwrite,
    Overwrites,
    PermissionClear,
    PermissionExplain,
    PermissionList,
    PermissionSet,
    bits,
    names,
)
from server import access
from server.access import in_channel
from server.context import Context
from server.explain import explain as explained
from server.router import op
from server.rule import LOGGED_IN, check
from server.space import Ruling, overwrite, ruling
from server.space_access import resident_of, role_of
from server.structure import Resident
from storage.standing import Standing

_MANAGE_ROLES, _EITHER = bits(["manage_roles"]), bits(["manage_roles"]) | bits(["manage_channels"])


@op(access=LOGGED_IN & in_channel())
async def list_(ctx: Context, frame: PermissionList, channel: Standing) -> Overwrites:
    """For who could change them, or the channel."""
    resident = await _me(ctx, channel)
    if not resident.allowed & _EITHER:
        check(resident.allowed, _MANAGE_ROLES)
    found = resident.structure.overwrites.get(channel.id, [])
    return Overwrites(
        overwrites=[
            Overwrite(
                target=one.target,
                member=one.target not in resident.structure.roles,
                allow=names(one.allow),
                deny=names(one.deny),
            )
            for one in found
        ]
    )


async def _me(ctx: Context, channel: Standing) -> Resident:
    """Who asks, in the space that the channel is in."""
    if channel.space is None or channel.kind == "thread":
        raise Invalid(
            "only channels of spaces overwrite permissions; threads have those of their channel", field="channel"
        )
    found = await ctx.app.structures.resident(ctx.db, channel.space, ctx.user)
    if found is None:
        raise Missing
    return found


@op(access=LOGGED_IN & in_channel() & role_of() & resident_of(), limit="120/m")
async def set_(
    ctx: Context, frame: PermissionSet, channel: Standing, role: access.Role | None, user: Resident | None
) -> Nothing:
    """Nobody gives or takes what they do not have there themselves."""
    allow, deny = bits(frame.allow), bits(frame.deny)
    if allow & deny or (allow | deny) & ~permission.OF_CHANNELS:
        raise Invalid("a permission of channels, either allowed or denied: see docs/permissions.md", field="allow")
    await _overwrite(ctx, channel, role, user, allow, deny)
    return Nothing()


@op(access=LOGGED_IN & in_channel() & role_of() & resident_of(), limit="120/m")
async def clear(
    ctx: Context, frame: PermissionClear, channel: Standing, role: access.Role | None, user: Resident | None
) -> Nothing:
    """Again is no error."""
    await _overwrite(ctx, channel, role, user, 0, 0)
    return Nothing()


async def _overwrite(
    ctx: Context, channel: Standing, role: access.Role | None, user: Resident | None, allow: int, deny: int
) -> None:
    if (role is None) == (user is None):
        raise Invalid("say either which role, or which member", field="role")
    space = (await _me(ctx, channel)).id
    async with ruling(ctx, space, "manage_roles", also=(channel.id,)) as rule:
        await rule.change.standing(ctx.user, channel.id)
        target, height = await _target(rule, role, user)
        known = rule.structure.overwrites.get(channel.id, [])
        before = next((one for one in known if one.target == target), access.Overwrite(target, 0, 0))
        changed = (before.allow ^ allow) | (before.deny ^ deny)
        if not access.may_overwrite(rule.me.member, rule.structure.layers(channel.id), changed, height):
            raise Forbidden("only for who stands lower than you, and only permissions that you have there")
        after = access.Overwrite(target, allow, deny)
        await overwrite(rule, channel.id, after, user is not None)
        await rule.note(_action(after), channel.id, _shown(before, user), _shown(after, user), "")


async def _target(rule: Ruling, role: access.Role | None, user: Resident | None) -> tuple[UUID, float]:
    """Who it is about, as they are now, and how high they stand."""
    if user is not None:
        return user.account, (await rule.resident(user.account)).member.height
    held = rule.structure.roles.get(role.id) if role is not None else None
    if held is None:
        raise Missing
    return held.id, held.position


def _action(after: access.Overwrite) -> str:
    return "permission.set" if after.allow | after.deny else "permission.clear"


def _shown(one: access.Overwrite, user: Resident | None) -> Overwrite:
    return Overwrite(target=one.target, member=user is not None, allow=names(one.allow), deny=names(one.deny))


@op(access=LOGGED_IN & in_channel() & resident_of(), limit="120/m")
async def explain(ctx: Context, frame: PermissionExplain, channel: Standing, user: Resident | None) -> Explanation:
    """Oneself, or others for who could change it."""
    me = await _me(ctx, channel)
    if user is not None and user.account != ctx.user:
        check(me.allowed, _MANAGE_ROLES)
    return explained(user or me, channel.id, frame.permission)
