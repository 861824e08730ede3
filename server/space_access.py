"""What binds the ids of frames about spaces: to members of them, and to what is in them.

Rule: what is in a space is looked for in that space alone, once the viewer was found to be in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from protocol import permission
from protocol.permission import Permission
from protocol.user import User
from server.access import Role
from server.rule import Bind, Rule
from storage import automod as automods
from storage import member as members
from storage import report as reports
from storage import user as users
from storage.standing import Standing

if TYPE_CHECKING:
    from protocol.automod import Automod
    from protocol.channel import Channel
    from protocol.report import ReportDetail
    from server.context import Context
    from server.structure import Resident
    from storage.stream import Place


def in_space(*needs: Permission, field: str = "space") -> Rule:
    """The viewer is a member of the space, and has these permissions in the space as such."""
    return Rule(binds=(Bind(field, "space", space_seen, in_context=True, needs=permission.bits(needs)),))


async def space_seen(ctx: Context, space: UUID) -> Resident | None:
    """How the viewer sits in a space."""
    return await ctx.app.structures.resident(ctx.db, space, ctx.user)


def category_in(field: str = "parent", within: str = "space") -> Rule:
    """A category of that space which the viewer sees, or none."""
    return Rule(binds=(Bind(field, "channel", _category_of, within=within, in_context=True),))


async def _category_of(ctx: Context, space: Resident, channel: UUID) -> Channel | None:
    found = await _channels_of(ctx, space, [channel])
    return found[0] if found and found[0].kind == "category" else None


def channels_in(field: str = "channels", within: str = "space") -> Rule:
    """Channels of that space, all of which the viewer sees."""
    return Rule(binds=(Bind(field, "channel", _channels_of, within=within, in_context=True),))


async def _channels_of(ctx: Context, space: Resident, channels: Sequence[UUID]) -> list[Channel] | None:
    seen = space.structure.seen_by(space.member).channels
    return [seen[one].channel for one in channels] if all(one in seen for one in channels) else None


def channels_seen(field: str = "channels") -> Rule:
    """Channels of spaces, all of which the viewer sees: where they are."""
    return Rule(binds=(Bind(field, "channel", _places_of, name="places", in_context=True),))


async def _places_of(ctx: Context, channels: Sequence[UUID]) -> list[Place] | None:
    wanted = list(dict.fromkeys(channels))
    found = await ctx.app.reach.watchable(ctx.db, ctx.user, wanted)
    return found if len(found) == len(wanted) else None


def role_in(field: str = "role", within: str = "space") -> Rule:
    """A role of that space."""
    return Rule(binds=(Bind(field, "role", _role_of, within=within, in_context=True),))


async def _role_of(ctx: Context, space: Resident, role: UUID) -> Role | None:
    return space.structure.roles.get(role)


def roles_in(field: str = "roles", within: str = "space") -> Rule:
    """Roles of that space."""
    return Rule(binds=(Bind(field, "role", _roles_of, within=within, name="roles_", in_context=True),))


async def _roles_of(ctx: Context, space: Resident, roles: Sequence[UUID]) -> list[Role] | None:
    known = space.structure.roles
    return [known[one] for one in roles] if all(one in known for one in roles) else None


def resident_in(field: str = "user", within: str = "space") -> Rule:
    """Somebody who is in that space, too."""
    return Rule(binds=(Bind(field, "user", _resident_of, within=within, in_context=True),))


async def _resident_of(ctx: Context, space: Resident, user: UUID) -> Resident | None:
    return await ctx.app.structures.resident(ctx.db, space.id, user)


def role_of(field: str = "role", within: str = "channel") -> Rule:
    """A role of the space that a channel is in."""
    return Rule(binds=(Bind(field, "role", _role_beside, within=within, in_context=True),))


async def _role_beside(ctx: Context, channel: Standing, role: UUID) -> Role | None:
    me = await space_seen(ctx, channel.space) if channel.space is not None else None
    return me.structure.roles.get(role) if me is not None else None


def resident_of(field: str = "user", within: str = "channel") -> Rule:
    """Somebody in the space that a channel is in."""
    return Rule(binds=(Bind(field, "user", _resident_beside, within=within, in_context=True),))


async def _resident_beside(ctx: Context, channel: Standing, user: UUID) -> Resident | None:
    return await ctx.app.structures.resident(ctx.db, channel.space, user) if channel.space is not None else None


def bannable_in(field: str = "user", within: str = "space") -> Rule:
    """Somebody who is in that space or kept out of it already, or whom the viewer may see."""
    return Rule(binds=(Bind(field, "user", _bannable, within=within, in_context=True),))


async def _bannable(ctx: Context, space: Resident, user: UUID) -> User | None:
    known = await members.get(ctx.db, space.id, user) is not None or await members.banned(ctx.db, space.id, user)
    return await (users.get(ctx.db, user) if known else users.visible(ctx.db, ctx.user, user))


def banned_in(field: str = "user", within: str = "space") -> Rule:
    """Somebody who is kept out of that space."""
    return Rule(binds=(Bind(field, "user", _banned, within=within, in_context=True),))


async def _banned(ctx: Context, space: Resident, user: UUID) -> User | None:
    return await users.get(ctx.db, user) if await members.banned(ctx.db, space.id, user) else None


def report_in(field: str = "report", within: str = "space") -> Rule:
    """A report in the queue of that space, or without one in that of the server, which this moderator sees."""
    return Rule(binds=(Bind(field, "report", _report_of, within=within, in_context=True, anywhere=True),))


async def _report_of(ctx: Context, space: Resident | None, report: UUID) -> ReportDetail | None:
    eyes = space.eyes if space is not None else await reports.moderating(ctx.db, ctx.user)
    return await reports.get(ctx.db, eyes, report) if eyes is not None else None


def automod_in(field: str = "rule", within: str = "space") -> Rule:
    """A rule of automod of that space."""
    return Rule(binds=(Bind(field, "automod", _automod_of, within=within, in_context=True),))


async def _automod_of(ctx: Context, space: Resident, rule: UUID) -> Automod | None:
    return await automods.get(ctx.db, space.id, rule)
