"""What the state machine draws from: who does it, where, to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from protocol.frame import Request
from tests.state.device import Device
from tests.state.world import DEVICES, PEOPLE, World

WHO = st.integers(0, len(DEVICES) - 1)
READER = st.integers(0, sum(whole for _, whole in DEVICES) - 1)  # who holds messages
USER = st.integers(0, PEOPLE - 1)
NODE = st.integers(0, 1)
PLACE = st.integers(0, 3)
BACK = st.integers(0, 7)  # how far back from the newest
OVERLAPS = st.booleans()

Make = Callable[["Place"], Request[Any] | None]


class Place:
    """Where a device is about to do something: numbers become what is there by then."""

    def __init__(self, world: World, device: Device, place: int, back: int) -> None:
        self._world, self._device, self._place, self._back = world, device, place, back

    def channel(self, place: int | None = None) -> UUID:
        """One of the device's channels, or one that does not exist."""
        place = self._place if place is None else place
        mine = [one for one in self._world.channels if str(one) in self._device.view.memberships]
        return mine[place % len(mine)] if mine else uuid4()

    @property
    def own(self) -> UUID:
        """A channel of which one is the owner, if there is one."""
        known, me = self._device.view.memberships, str(self._device.account)
        mine = [one for one in self._world.channels if known.get(str(one), {}).get("channel", {}).get("owner") == me]
        return mine[self._place % len(mine)] if mine else self.channel()

    @property
    def anywhere(self) -> UUID:
        """A channel that somebody has made."""
        return self._world.channels[self._place % len(self._world.channels)]

    @property
    def scheduled(self) -> UUID:
        """One of the account's scheduled messages, or one that does not exist."""
        mine = sorted(self._device.view.scheduled)
        return UUID(mine[self._place % len(mine)]) if mine else uuid4()

    @property
    def notification(self) -> int:
        """One of the account's notifications, or none."""
        mine = sorted(self._device.view.notifications)
        return mine[-1 - self._back % len(mine)] if mine else 0

    def seqs(self, many: int = 1, *, mine: bool = False, polls: bool = False) -> tuple[UUID, list[int]]:
        """Messages that are there, or only polls; who holds none knows how many facts there were."""
        view, found = self._device.view, {}
        for channel in self._world.channels:
            there = [
                one["seq"]
                for one in view.there(str(channel))
                if (not mine or one["author"] == view.account) and (not polls or "poll" in one)
            ]
            if there:
                found[channel] = there
        if not found:
            channel = self.channel()
            found[channel] = list(range(1, view.cursors.get(str(channel), 0) + 1)) or [1]
        channel = list(found)[self._place % len(found)]
        there = found[channel]
        return channel, [there[-1 - (self._back + number) % len(there)] for number in range(many)]

    @property
    def call(self) -> dict[str, UUID]:
        """A call that goes on, as far as the device knows, or one that there is not."""
        view = self._device.view
        rings = [(UUID(channel), UUID(call)) for call, channel in view.rings.items()]
        live = [
            (channel, UUID(one["call"]["id"]))
            for channel in self._world.channels
            for one in view.there(str(channel))
            if "call" in one and not one["call"]["ended_at"]
        ]
        found = rings + live or [(self.channel(), uuid4())]
        channel, call = found[self._place % len(found)]
        return {"channel": channel, "call": call}

    def message(self, *, mine: bool = False, polls: bool = False) -> dict[str, Any]:
        """One of them, as requests name it."""
        channel, seqs = self.seqs(mine=mine, polls=polls)
        return {"channel": channel, "seq": seqs[0]}

    def inside(self, channel: UUID, numbers: Iterable[int]) -> list[UUID]:
        """Those of these people who are in a channel, as far as their own devices know."""
        there = {one.account for one in self._world.devices if str(channel) in one.view.memberships}
        return [user for user in map(self.user, numbers) if user in there]

    def user(self, number: int) -> UUID:
        return self._world.accounts[number]


class Rules(RuleBasedStateMachine):
    """Has a world, in which devices do things."""

    world: World

    def run(self, awaitable: Any) -> None:
        """Let the world's loop run until this is done."""
        raise NotImplementedError

    def do(self, who: int, overlaps: bool, make: Make, place: int = 0, back: int = 0) -> None:
        """Let a device ask for something, when it comes to it."""
        world = self.world
        self.run(world.do(who, lambda device: make(Place(world, device, place, back)), overlaps=overlaps))
