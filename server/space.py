"""Changing spaces: what changes, who may do so, and who is told.

Rule 1: whoever changes something holds the space, and is looked at again when it is held.
Rule 2: whatever decides there has changed with the commit for everybody: the space's access version moves.
Rule 3: what was done is noted in the space's log, in the transaction that does it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from protocol.error import Conflict, Forbidden, Missing
from protocol.member import Member, MemberChanged
from protocol.permission import Permission, bits
from protocol.role import Role
from protocol.space import Space, SpaceCreate, SpaceJoined, SpaceLeft
from server import notification
from server.access import Overwrite, may_overwrite, may_touch
from server.fact import Change, changing
from server.rule import check
from server.structure import Resident
from storage import channel as channels
from storage import deed, retention, stream
from storage import member as members
from storage import role as roles
from storage import space as spaces
from storage import user as users
from storage.ids import new_id
from storage.pool import UniqueViolation

if TYPE_CHECKING:
    from server.app import Server
    from server.context import Context

MOST_CHANNELS, MOST_ROLES, MOST_SPACES = 500, 250, 200
_MOST_OVERWRITES = 100
# What everybody may do in a new space.
_EVERYONE: tuple[Permission, ...] = (
    "view",
    "history",
    "send",
    "send_in_threads",
    "start_threads",
    "react",
    "attach",
    "start_polls",
    "connect",
    "speak",
    "video",
    "invite",
    "change_nick",
)
# What kinds of channels deny to everyone at first.
_DENIED: dict[str, tuple[Permission, ...]] = {"broadcast": ("send",), "stage": ("speak",)}


class Order(Struct, frozen=True, omit_defaults=True):
    """What stands in which order, for the log."""

    channels: list[UUID] | None = None
    roles: list[UUID] | None = None


class Ruling:
    """Somebody changes something in a space that is held."""

    def __init__(self, app: Server, change: Change, me: Resident) -> None:
        self._app, self.change, self.tx, self.me = app, change, change.tx, me
        self.id, self.structure = me.id, me.structure

    async def resident(self, account: UUID) -> Resident:
        """Somebody in it."""
        found = await self._app.structures.resident(self.tx, self.id, account)
        if found is None:
            raise Missing
        return found

    async def below(self, account: UUID) -> Resident:
        """Somebody in it who stands lower than who asks."""
        found = await self.resident(account)
        if not may_touch(self.me.member, found.member):
            raise Forbidden("they stand as high as you, or higher")
        return found

    def withdraw(self) -> None:
        """Somebody may have lost a right."""
        self.change.withdraw(self.id)

    async def restructure(self) -> None:
        """What decides here has changed."""
        await spaces.restructure(self.tx, self.id)
        self.withdraw()

    async def note(
        self,
        action: str,
        target: UUID | None,
        before: Struct | None,
        after: Struct | None,
        reason: str,
        channel: UUID | None = None,
    ) -> None:
        """Remember who has done what, and why; `channel`: what it is about, if that is not the target."""
        await deed.note(self.tx, self.id, self.me.account, action, target, before, after, reason, channel)

    async def tell_member(self, account: UUID) -> Member:
        """What has changed of somebody, to their own devices."""
        found = await members.get(self.tx, self.id, account)
        assert found is not None
        if self.change.holds(account):
            seq = self.change.next(account)
            self.change.tell(MemberChanged(stream=account, seq=seq, space=self.id, member=found))
        return found


@asynccontextmanager
async def ruling(ctx: Context, space: UUID, *needs: Permission, also: tuple[UUID, ...] = ()) -> AsyncIterator[Ruling]:
    """A transaction that holds a space (and `also` other streams), for who may do this."""
    async with changing(ctx.app, space, *also) as change:
        me = await ctx.app.structures.resident(change.tx, space, ctx.user) if change.holds(space) else None
        if me is None:
            raise Missing
        check(me.allowed, bits(needs))
        yield Ruling(ctx.app, change, me)


# Making


async def create(app: Server, owner: UUID, frame: SpaceCreate) -> Space:
    """A space with everyone's role, its owner, and a channel to begin with."""
    id = new_id()
    space = Space(
        id=id,
        name=frame.name,
        description=frame.description,
        avatar=frame.avatar,
        open=frame.open,
        owner=owner,
        members=1,
        created_at=datetime.now(UTC),
    )
    try:
        async with changing(app, owner) as change:
            await _check_room(change, owner)
            change.add(await stream.create(change.tx, id))
            await spaces.create(change.tx, owner, space, frame.nonce)
            await roles.create(change.tx, id, _everyone(id), None)
            await _begin(change, id, owner)
            await members.enter(change.tx, id, owner, None)
            made = await spaces.get(change.tx, id)
            assert made is not None
            change.tell(SpaceJoined(stream=owner, seq=change.next(owner), space=made, by=owner))
            await deed.note(change.tx, id, owner, "space.create", id, None, made, "")
    except UniqueViolation:
        found = await spaces.made_with(app.pool, owner, frame.nonce)
        if found is None:
            raise Conflict("this nonce stands for a space that is no more", field="nonce") from None
        return found
    return made


def _everyone(space: UUID) -> Role:
    return Role(
        id=space,
        name="everyone",
        colour=None,
        position=0,
        permissions=list(_EVERYONE),
        apart=False,
        mentionable=False,
    )


async def _begin(change: Change, space: UUID, owner: UUID) -> None:
    channel = new_id()
    change.add(await stream.create(change.tx, channel, space))
    await channels.create(change.tx, "text", channel, owner, name="general", space=space)


async def _check_room(change: Change, account: UUID) -> None:
    """That an account, whose stream is held, is still there and may be in one more space."""
    if not change.holds(account) or account not in await users.living(change.tx, [account]):
        raise Missing
    if len(await members.spaces(change.tx, account, None, MOST_SPACES)) >= MOST_SPACES:
        raise Conflict(f"an account has room for {MOST_SPACES} spaces: leave one first")


# Channels


async def add_channel(rule: Ruling, kind: str, **fields: Any) -> UUID:
    """A channel of a space."""
    if len(rule.structure.channels) >= MOST_CHANNELS:
        raise Conflict(f"a space has room for {MOST_CHANNELS} channels")
    channel, private = new_id(), fields.pop("private", False)
    rule.change.add(await stream.create(rule.tx, channel, rule.id))
    await channels.create(rule.tx, kind, channel, rule.me.account, space=rule.id, **fields)
    await retention.begin(rule.tx, channel)
    denied = bits((*_DENIED.get(kind, ()), *(("view",) if private else ())))
    await spaces.overwrite(rule.tx, channel, rule.id, False, 0, denied)
    if private and not rule.me.member.owner:
        await spaces.overwrite(rule.tx, channel, rule.me.account, True, bits(["view"]), 0)
    await rule.restructure()
    await rule.note("channel.create", channel, None, await channels.get(rule.tx, channel), "")
    return channel


def check_moving(rule: Ruling, channel: UUID, parent: UUID | None) -> None:
    """What a category overwrites comes and goes with it: who moves a channel must be able to change that there."""
    structure, before = rule.structure, rule.structure.channels[channel].parent
    if before == parent:
        return
    for one in (*structure.overwrites.get(before, ()), *structure.overwrites.get(parent, ())):  # type: ignore[arg-type]
        role = structure.roles.get(one.target)
        height = role.position if role is not None else -1
        if not may_overwrite(rule.me.member, structure.layers(channel), one.allow | one.deny, height):
            raise Forbidden("what is allowed there would change: that takes manage_roles, and what you have yourself")


def check_decides_nothing(rule: Ruling, category: UUID) -> None:
    """That no channel becomes another one, perhaps seen by everybody, because its category goes."""
    inside = any(one.parent == category for one in rule.structure.channels.values())
    if inside and rule.structure.overwrites.get(category):
        raise Conflict("what it overwrites holds for the channels in it: move or delete them first")


async def overwrite(rule: Ruling, channel: UUID, one: Overwrite, member: bool) -> None:
    """What a channel allows and denies to a role or a member."""
    before = rule.structure.overwrites.get(channel, [])
    new = all(other.target != one.target for other in before)
    if one.allow | one.deny and new and len(before) >= _MOST_OVERWRITES:
        raise Conflict(f"a channel has room for {_MOST_OVERWRITES} overwrites")
    await spaces.overwrite(rule.tx, channel, one.target, member, one.allow, one.deny)
    await rule.restructure()


# Coming and going


async def enter(app: Server, space: UUID, account: UUID) -> Space:
    """Let an account into an open space; again is no error."""
    async with changing(app, space, account) as change:
        if not change.holds(space) or await spaces.enterable(change.tx, account, space) is None:
            raise Missing
        if await admit(change, space, account, account, None):
            await deed.note(change.tx, space, account, "member.joined", account, None, None, "")
        found = await spaces.get(change.tx, space)
        assert found is not None
    return found


async def admit(change: Change, space: UUID, account: UUID, by: UUID, role: UUID | None) -> bool:
    """The same, where both are held; whether it was not in before."""
    if not change.holds(space) or await spaces.get(change.tx, space) is None:
        raise Missing
    if await members.banned(change.tx, space, account):
        raise Missing
    if await members.get(change.tx, space, account) is not None:
        return False
    await _check_room(change, account)
    await members.enter(change.tx, space, account, role)
    found = await spaces.get(change.tx, space)
    assert found is not None
    change.tell(SpaceJoined(stream=account, seq=change.next(account), space=found, by=by))
    await notification.enter(change, space, account)
    return True


async def put_out(change: Change, space: UUID, account: UUID, reason: str) -> bool:
    """Take an account out of a space; both are held. Whether it was in."""
    if not await members.leave(change.tx, space, account):
        return False
    change.withdraw(space)
    if change.holds(account):
        change.tell(SpaceLeft(stream=account, seq=change.next(account), space=space, reason=reason))  # type: ignore[arg-type]
        await notification.leave(change, space, account)
    return True


async def abandon(app: Server, space: UUID, account: UUID) -> None:
    """An account that is no more leaves a space; if it was its own, who has been in it longest owns it, or it ends."""
    async with changing(app, space, account) as change:
        found = await spaces.get(change.tx, space) if change.holds(space) else None
        if found is None:
            return
        if found.owner == account:
            await _hand_over(change, found)
        await put_out(change, space, account, "left")
    app.ruins.wake()


async def _hand_over(change: Change, space: Space) -> None:
    heir = await members.heir(change.tx, space.id)
    if heir is None:
        await spaces.bury(change.tx, space.id)
        return
    after = replace(space, owner=heir)
    await spaces.update(change.tx, after)
    await spaces.restructure(change.tx, space.id)
    await deed.note(change.tx, space.id, None, "space.transfer", heir, space, after, "its owner has left this server")
