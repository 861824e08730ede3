"""Who may do what: what binds the ids of frames, and the permissions of members of spaces.

Rule 1: what a standing that was remembered leads to is read under its access version, or the standing is read anew.
Rule 2: permissions are decided here alone; docs/permissions.md says how, in a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from protocol import permission
from protocol.permission import Permission
from protocol.user import User
from server.rule import Bind, Load, Rule
from storage import automod as automods
from storage import channel as channels
from storage import file as files
from storage import member as members
from storage import message as messages
from storage import report as reports
from storage import user as users
from storage.standing import Footing, Standing

if TYPE_CHECKING:
    from protocol.automod import Automod
    from protocol.channel import Channel
    from protocol.file import File
    from protocol.report import ReportDetail
    from server.context import Context
    from server.structure import Resident
    from storage.stream import Place


def in_channel(*needs: Permission, field: str = "channel") -> Rule:
    """The viewer is a member of the channel, or sees it in a space of theirs, and has these permissions there.

    What this process knows of that is as new as what it delivers.
    """
    bits = permission.bits(needs)
    bind = Bind(field, "channel", channel_seen, at_once=_known_standing, in_context=True, needs=bits)
    return Rule(binds=(bind,))


async def channel_seen(ctx: Context, channel: UUID) -> Standing | None:
    """How the viewer stands in a channel now."""
    found = (await ctx.app.structures.look(ctx.db, [channel], [ctx.user]))[0]
    if found is not None:
        ctx.app.grants.keep(ctx.user, found)
    return found


def _known_standing(ctx: Context, channel: UUID) -> Standing | None:
    return ctx.app.grants.known(channel, ctx.user)


def sending(field: str = "channel") -> Rule:
    """The viewer may write into the channel. The journal decides, under the access version it stores with."""
    return Rule(binds=(Bind(field, "channel", channel_seen, at_once=_any_standing, in_context=True),))


def _any_standing(ctx: Context, channel: UUID) -> Standing | Undecided:
    return ctx.app.grants.last(channel, ctx.user) or Undecided(channel)


def files_given(field: str = "files") -> Rule:
    """Files, all of which are the viewer's own; None where some are no more."""
    return Rule(binds=(Bind(field, "file", files.own_all, at_once=_no_files, optional=True),))


def _no_files(ctx: Context, ids: Sequence[UUID]) -> Sequence[File] | None:
    return None if ids else ()


class Undecided(Struct, frozen=True):
    """A channel of which nobody has looked yet how the viewer stands there."""

    id: UUID
    access: int = 0
    writes: bool = False
    slow: int = 0
    settled: bool = False
    rules: int = 0
    space: UUID | None = None
    lifetime: int | None = None


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


def channels_read(field: str = "channels") -> Rule:
    """Channels, the messages of all of which the viewer may read."""
    return Rule(binds=(Bind(field, "channel", _readable_all, in_context=True),))


async def _readable_all(ctx: Context, channels: Sequence[UUID]) -> list[UUID] | None:
    found = await ctx.app.reach.readable(ctx.db, ctx.user, list(channels))
    return found if len(found) == len(set(channels)) else None


def channel_or_open(field: str = "channel") -> Rule:
    """A channel that the viewer is in or sees, or an open group."""
    return Rule(binds=(Bind(field, "channel", _channel_or_open, in_context=True),))


async def _channel_or_open(ctx: Context, channel: UUID) -> Standing | Channel | None:
    return await channel_seen(ctx, channel) or await channels.enterable(ctx.db, ctx.user, channel)


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


async def _resident_of(ctx: Context, space: Resident, user: UUID) -> Resident | None:
    return await ctx.app.structures.resident(ctx.db, space.id, user)


def reportable(field: str = "user") -> Rule:
    """Somebody whom the viewer may see, or is together with somewhere."""
    return Rule(binds=(Bind(field, "user", users.reportable),))


def report_in(field: str = "report", within: str = "space") -> Rule:
    """A report in the queue of that space which this moderator sees."""
    return Rule(binds=(Bind(field, "report", _report_of, within=within, in_context=True),))


def automod_in(field: str = "rule", within: str = "space") -> Rule:
    """A rule of automod of that space."""
    return Rule(binds=(Bind(field, "automod", _automod_of, within=within, in_context=True),))


async def _automod_of(ctx: Context, space: Resident, rule: UUID) -> Automod | None:
    return await automods.get(ctx.db, space.id, rule)


async def _report_of(ctx: Context, space: Resident, report: UUID) -> ReportDetail | None:
    return await reports.get(ctx.db, space.eyes, report)


def member_in(field: str = "user") -> Rule:
    """Somebody who is in that channel, too."""
    return Rule(binds=(Bind(field, "user", _member_of, within="channel", in_context=True),))


async def _member_of(ctx: Context, channel: Standing, user: UUID) -> User | None:
    """Also one who blocks or is blocked: both see each other there."""
    found = (await ctx.app.structures.look(ctx.db, [channel.id], [user]))[0]
    return await users.get(ctx.db, user) if found is not None else None


def message_in(
    within: str = "channel", field: str = "seq", load: Load = messages.visible, name: str = "message"
) -> Rule:
    """A message of that channel which the viewer sees."""
    return Rule(binds=(Bind(field, "message", load, within=within, name="message"),))


# What a member of a space may do: docs/permissions.md has the same in a table.


class Role(Struct, frozen=True):
    """A role as far as it decides: everyone's has the id of the space, and position 0."""

    id: UUID
    position: int
    permissions: int


class Overwrite(Struct, frozen=True):
    """What a channel or category allows and denies to a role or a member."""

    target: UUID
    allow: int
    deny: int


class Member(Struct, frozen=True):
    """Somebody in a space, with the roles that they have, everyone's among them."""

    account: UUID
    roles: Sequence[Role]
    owner: bool = False
    timed_out: bool = False

    @property
    def height(self) -> float:
        """Nobody touches a role or a member as high as themselves; the owner is above all."""
        return inf if self.owner else max((role.position for role in self.roles), default=0)


class Step(Struct, frozen=True):
    """What is allowed after one step of the decision; `cause`: the role or member whose rule it was."""

    rule: str
    allowed: int
    cause: UUID | None = None


def steps(member: Member, layers: Sequence[Sequence[Overwrite]] = ()) -> Iterator[Step]:
    """How it is decided what a member may do, step by step: `layers` are the category's overwrites, then the channel's.

    Without layers: in the space as such.
    """
    allowed = 0
    for role in member.roles:
        if role.permissions & ~allowed:
            yield Step("role", allowed := allowed | role.permissions, role.id)
    if member.owner:
        yield Step("owner", permission.ALL, member.account)
        return
    if allowed & permission.ADMINISTRATOR:
        yield Step("administrator", permission.ALL)
        return
    for layer in layers:
        for step in _overwritten(member, layer, allowed):
            allowed = step.allowed
            yield step
    if layers:
        yield Step("implied", allowed := permission.implied(allowed))
    if member.timed_out:
        yield Step("timed_out", allowed & permission.IN_TIMEOUT)


def _overwritten(member: Member, layer: Sequence[Overwrite], allowed: int) -> Iterator[Step]:
    """Everyone's first, then all roles' denials before all roles' allowances, then the member's own."""
    everyone = next((role.id for role in member.roles if role.position == 0), None)
    roles = {role.id for role in member.roles} - {everyone}
    for rule, targets in (("everyone", {everyone}), ("roles", roles), ("member", {member.account})):
        found = [one for one in layer if one.target in targets]
        for one in found:
            if allowed & one.deny:
                yield Step(f"denied_by_{rule}", allowed := allowed & ~one.deny, one.target)
        for one in found:
            if one.allow & ~allowed:
                yield Step(f"allowed_by_{rule}", allowed := allowed | one.allow, one.target)


def permissions(member: Member, layers: Sequence[Sequence[Overwrite]] = ()) -> int:
    """What a member may do, as bits."""
    allowed = 0
    for step in steps(member, layers):
        allowed = step.allowed
    return allowed


def deciding(member: Member, layers: Sequence[Sequence[Overwrite]], bit: int) -> Step:
    """The step that decided about one permission: the last one that gave or took it."""
    last, decided = 0, Step("nobody", 0)
    for step in steps(member, layers):
        if (step.allowed ^ last) & bit or step.rule in ("owner", "administrator"):
            decided = step
        last = step.allowed
    return decided


# Above and below


def may_touch(member: Member, other: Member) -> bool:
    """Whether somebody may kick, ban, time out, rename or change the roles of another."""
    return not other.owner and member.height > other.height


def may_shape(member: Member, before: Role | None, after: Role | None) -> bool:
    """Whether somebody may make, change, move, give or take a role: only below themselves, only what they have."""
    had = permissions(member)
    if not had & permission.MANAGE_ROLES:
        return False
    given = (after.permissions if after else 0) & ~(before.permissions if before else 0)
    return given & ~had == 0 and all(role is None or role.position < member.height for role in (before, after))


def may_overwrite(member: Member, layers: Sequence[Sequence[Overwrite]], changed: int, height: float) -> bool:
    """Whether somebody may change these bits of a channel's overwrite for a role or member of a height."""
    had = permissions(member, layers)
    in_all = permissions(member)
    return bool(in_all & permission.MANAGE_ROLES) and changed & ~had == 0 and height < member.height


# Channels

_TALK: tuple[Permission, ...] = ("view", "history", "send", "react", "attach", "mention_everyone", "start_polls", "pin")
_CALL: tuple[Permission, ...] = ("connect", "speak", "video")
_IN_GROUP = permission.bits((*_TALK, *_CALL, "bypass_slow_mode"))
_OWNS_GROUP = _IN_GROUP | permission.bits(("manage_messages", "manage_channels", "kick"))
_MUTE, VIEW = permission.bits(("view", "history")), permission.bits(("view",))
_SEND, _IN_THREADS = permission.bits(("send",)), permission.bits(("send_in_threads",))
_MANAGE_THREADS = permission.bits(("manage_threads",))
_UNPACED = permission.bits(("bypass_slow_mode",))


def standing(footing: Footing, allowed: int, rules: int = 0) -> Standing | None:
    """How somebody stands in a channel; `allowed`: in a space, what they may do in it (a thread's is its channel's)."""
    if footing.space is None:
        owns = footing.kind == "group" and footing.owner == footing.account
        allowed = _MUTE if footing.mute else _OWNS_GROUP if owns else _IN_GROUP
    elif not allowed & VIEW:
        return None
    elif footing.kind == "thread":
        writes = allowed & _IN_THREADS and (allowed & _MANAGE_THREADS or not footing.locked)
        allowed = permission.implied((allowed & ~_SEND) | (_SEND if writes else 0))
    elif footing.kind in ("category", "forum"):
        allowed &= ~_SEND
    return Standing(
        id=footing.id,
        kind=footing.kind,
        owner=footing.owner,
        access=footing.access,
        allowed=allowed,
        members=footing.members,
        space=footing.space,
        slow=0 if allowed & _UNPACED else footing.slow,
        lifetime=footing.lifetime,
        settled=footing.settled,
        rules=rules,
    )
