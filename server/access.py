"""Who may do what: what binds the ids of frames about channels, and the permissions of members of spaces.

(What binds ids about spaces is in server/space_access.py.)

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
from storage import channel as channels
from storage import file as files
from storage import message as messages
from storage import user as users
from storage.standing import Footing, Standing

if TYPE_CHECKING:
    from protocol.channel import Channel
    from protocol.file import File
    from server.context import Context


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


def reportable(field: str = "user") -> Rule:
    """Somebody whom the viewer may see, or is together with somewhere."""
    return Rule(binds=(Bind(field, "user", users.reportable),))


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
