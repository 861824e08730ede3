"""Events + stale state = fresh state, for spaces: whatever is done there, what was told adds up to what is there."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from protocol.channel import ChannelDelete, ChannelReorder, ChannelUpdate
from protocol.emoji import EmojiCreate, EmojiDelete, EmojiUpdate
from protocol.error import Refusal
from protocol.frame import Request
from protocol.member import MemberTimeout
from protocol.permission import OF_CHANNELS, PermissionClear, PermissionSet, names
from protocol.role import RoleDelete, RoleGrant, RoleReorder, RoleRevoke, RoleUpdate
from protocol.space import SpaceChanged, SpaceGet, SpaceUpdate, SpaceView
from protocol.sticker import StickerCreate
from server import Server
from tests.chat import UNBOUND, Phone, me, nodes
from tests.community import Community, community
from tests.conftest import Connector, Person, Starter
from tests.test_member import soon

LIVES = int(os.environ.get("STATE_EXAMPLES", "3"))
STEPS = 40


class Watcher:
    """Somebody who keeps what they saw of a space up to date by what they are told."""

    def __init__(self, server: Server, token: str, phone: Phone, space: UUID) -> None:
        self.server, self.token, self.phone, self.space, self._read = server, token, phone, space, 0
        self.view: SpaceView

    async def read(self) -> SpaceView:
        """What is there, asked afresh."""
        return msgspec.convert(await self.phone.call(SpaceGet(space=self.space)), SpaceView)

    async def begin(self) -> None:
        self.view = await self.read()
        self._read = len(self.phone.events)

    def fold(self) -> None:
        """Apply what was told since."""
        for said in self.phone.events[self._read :]:
            if said["ev"] == "space.changed" and said["space"] == str(self.space):
                self._apply(msgspec.convert(said, SpaceChanged))
        self._read = len(self.phone.events)

    def _apply(self, told: SpaceChanged) -> None:
        assert told.was == self.view.outline, "a difference to something that was never told"
        roles = {one.id: one for one in self.view.roles} | {one.id: one for one in told.roles}
        channels = {one.channel.id: one for one in self.view.channels} | {one.channel.id: one for one in told.channels}
        emoji = {one.id: one for one in self.view.emoji} | {one.id: one for one in told.emoji}
        stickers = {one.id: one for one in self.view.stickers} | {one.id: one for one in told.stickers}
        for gone in told.gone:
            for known in (roles, channels, emoji, stickers):
                known.pop(gone, None)  # type: ignore[attr-defined]
        self.view = msgspec.structs.replace(
            self.view,
            outline=told.outline,
            space=told.about or self.view.space,
            permissions=self.view.permissions if told.permissions is None else told.permissions,
            roles=list(roles.values()),
            channels=list(channels.values()),
            emoji=list(emoji.values()),
            stickers=list(stickers.values()),
        )

    def seen(self, view: SpaceView) -> tuple[Any, ...]:
        """What has to be equal."""
        return (
            view.outline,
            msgspec.structs.replace(view.space, members=0),
            sorted(view.permissions),
            {one.id: one for one in view.roles},
            {one.channel.id: one for one in view.channels},
            {one.id: one for one in (*view.emoji, *view.stickers)},
        )


class Life:
    """A space in which anything happens, by who may do it or not."""

    def __init__(self, dice: random.Random, club: Community, people: list[Person]) -> None:
        self._dice, self._club, self._people = dice, club, people
        self._steps: list[Callable[[], Awaitable[object]]] = [
            self._role,
            self._change_role,
            self._give,
            self._give,
            self._room,
            self._change_room,
            self._overwrite,
            self._overwrite,
            self._overwrite,
            self._order,
            self._time_out,
            self._rename,
            self._delete,
            self._emblem,
        ]

    async def step(self) -> None:
        """One thing; that it is refused is fine."""
        try:
            await self._dice.choice(self._steps)()
        except Refusal as refusal:
            assert refusal.code in ("forbidden", "missing", "invalid", "conflict"), refusal

    def _by(self) -> Person:
        return self._dice.choice([self._club.owner, self._club.owner, *self._people])  # type: ignore[list-item]

    def _some(self) -> list[Any]:
        return self._dice.sample(names(OF_CHANNELS), 3)

    async def _view(self) -> SpaceView:
        return await self._club.seen(self._club.owner)

    async def _a_role(self) -> UUID:
        return self._dice.choice((await self._view()).roles).id

    async def _a_room(self) -> UUID:
        rooms = (await self._view()).channels
        return self._dice.choice(rooms).channel.id if rooms else uuid4()

    async def _role(self) -> None:
        await self._club.role("r", *self._some(), "manage_roles", by=self._by())

    async def _change_role(self) -> None:
        frame = RoleUpdate(space=self._club.id, role=await self._a_role(), permissions=[*self._some(), "view"])
        await self._by().call(frame)

    async def _give(self) -> None:
        kind = self._dice.choice([RoleGrant, RoleGrant, RoleRevoke])
        user = me(self._dice.choice(self._people))
        await self._by().call(kind(space=self._club.id, role=await self._a_role(), user=user))

    async def _room(self) -> None:
        kind = self._dice.choice(["text", "category", "broadcast"])
        await self._club.room(str(uuid4())[:4], kind=kind, private=self._dice.random() < 0.5, by=self._by())

    async def _change_room(self) -> None:
        await self._by().call(ChannelUpdate(channel=await self._a_room(), topic=str(self._dice.random())))

    async def _overwrite(self) -> None:
        target = self._dice.choice([{"role": await self._a_role()}, {"user": me(self._dice.choice(self._people))}])
        some: list[Any] = list({*self._some(), "view"})
        cut = self._dice.randrange(len(some))
        frame: Request[Any] = PermissionSet(channel=await self._a_room(), allow=some[:cut], deny=some[cut:], **target)
        if self._dice.random() < 0.3:
            frame = PermissionClear(channel=await self._a_room(), **target)
        await self._by().call(frame)

    async def _order(self) -> None:
        view = await self._view()
        rooms = [one.channel for one in view.channels if one.channel.kind != "category"]
        categories = [one.channel.id for one in view.channels if one.channel.kind == "category"]
        parent = self._dice.choice([None, *categories])
        some = [room.id for room in self._dice.sample(rooms, min(2, len(rooms)))]
        await self._by().call(ChannelReorder(space=self._club.id, channels=some, parent=parent))
        roles = [role.id for role in view.roles if role.id != self._club.id]
        self._dice.shuffle(roles)
        await self._by().call(RoleReorder(space=self._club.id, roles=roles))

    async def _time_out(self) -> None:
        until = self._dice.choice([None, soon(hours=1)])
        await self._by().call(MemberTimeout(space=self._club.id, user=me(self._dice.choice(self._people)), until=until))

    async def _rename(self) -> None:
        await self._by().call(SpaceUpdate(space=self._club.id, name=f"Club {self._dice.random()}"[:20]))

    async def _emblem(self) -> None:
        at: dict[str, Any] = {"space": self._club.id, "name": str(uuid4())[:4]}
        made = [one.id for one in (await self._view()).emoji]
        frames: list[Request[Any]] = [
            EmojiCreate(**at, file=uuid4(), nonce=uuid4()),
            StickerCreate(**at, file=uuid4(), nonce=uuid4()),
            *(EmojiUpdate(**at, emoji=one) for one in made[:1]),
            *(EmojiDelete(space=self._club.id, emoji=one) for one in made[1:2]),
        ]
        await self._by().call(self._dice.choice(frames))

    async def _delete(self) -> None:
        if self._dice.random() < 0.5:
            await self._by().call(ChannelDelete(channel=await self._a_room()))
        else:
            await self._by().call(RoleDelete(space=self._club.id, role=await self._a_role()))


@pytest.mark.parametrize("seed", range(LIVES))
async def test_events_on_a_stale_view_of_a_space_give_the_fresh_one(
    start: Starter, connect: Connector, seed: int
) -> None:
    dice = random.Random(seed)
    servers = await nodes(start, **UNBOUND)
    people = [await connect(name, to=dice.choice(servers)) for name in ("bob", "cid", "dan")]
    owner = await connect("ann", to=servers[0])
    club = await community(owner, *people)
    watchers = [await _watcher(dice.choice(servers), one, club.id) for one in (owner, *people)]
    life = Life(dice, club, people)
    for number in range(STEPS):
        await life.step()
        if number % 10 == 9:
            for one in watchers:
                await _agrees(one)
    for one in watchers:
        one.phone.abort()


async def _watcher(server: Server, person: Person, space: UUID) -> Watcher:
    phone = await Phone.open(server, person.tokens_given.access)
    watcher = Watcher(server, person.tokens_given.access, phone, space)
    await watcher.begin()
    return watcher


async def _agrees(one: Watcher) -> None:
    """What one has, after all that was told has come, is what one would read."""
    fresh = await _fresh(one)

    def same() -> bool:
        one.fold()
        return one.view.outline == fresh.outline

    await one.phone.until(same, 10)
    assert one.seen(one.view) == one.seen(fresh)


async def _fresh(one: Watcher) -> SpaceView:
    """Read by another socket: a socket that reads is told of no difference to what it has read."""
    other = Watcher(one.server, one.token, await Phone.open(one.server, one.token), one.space)
    try:
        return await other.read()
    finally:
        other.phone.abort()
