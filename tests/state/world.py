"""Three people with seven devices on two nodes, the channels that they have made, and what was answered to them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

from protocol.channel import ChannelCreate, ChannelOpenDirect
from protocol.frame import Request
from protocol.message import MessageEdit, MessageForward, MessageSend
from protocol.scheduled import ScheduledCreate
from server import Server
from tests.chat import registered, settled
from tests.state.device import Build, Device
from tests.state.reading import Reading, presences_settle
from tests.state.words import Words

PEOPLE = 3
# Whose they are, and whether they hold messages.
DEVICES = [(0, True), (1, True), (2, True), (0, True), (0, False), (1, False), (2, False)]


class World:
    """What the state machine plays with; one for each example."""

    def __init__(self, servers: list[Server], people: list[tuple[UUID, str]]) -> None:
        self._servers, self._people = servers, people
        self.accounts = [account for account, _ in people]
        self.devices = [Device(servers, *people[who], whole=whole) for who, whole in DEVICES]
        self.channels: list[UUID] = []
        self.words = Words()
        self.scheduled: dict[str, str] = {}
        self._doing: list[asyncio.Task[None]] = []
        self.unchecked = 0  # how much was done since the last check

    @classmethod
    async def new(cls, servers: list[Server]) -> World:
        """People who have a group already, and something to talk about."""
        tokens = [await registered(servers[0]) for _ in range(PEOPLE)]
        world = cls(servers, [(one.account, one.access) for one in tokens])
        for number, device in enumerate(world.devices):
            await device.open(number % 2)
        await world.do(0, lambda _: ChannelCreate(name="group", nonce=uuid4(), members=world.accounts[1:], open=True))
        group = world.channels[0]
        await world.do(0, lambda _: ChannelOpenDirect(user=world.accounts[1]))
        for who in (0, 1, 2):
            await world.do(who, lambda _: MessageSend(channel=group, text="here", nonce=uuid4()))
        world.unchecked = 0
        return world

    async def do(self, who: int, build: Build, *, overlaps: bool = False) -> None:
        """Let a device ask for something; with `overlaps` don't wait for what is done by anybody."""
        self.unchecked += 1
        self._doing.append(asyncio.create_task(self._do(self.devices[who], build, who % 2)))
        await (asyncio.sleep(0) if overlaps else self.rest())

    async def _do(self, device: Device, build: Build, node: int) -> None:
        done = await device.act(build, node)
        if done is not None:
            self._note(*done)

    def _note(self, frame: Request[Any], reply: dict[str, Any]) -> None:
        if isinstance(frame, ChannelCreate | ChannelOpenDirect):
            channel = UUID(reply["channel"]["id"])
            if channel not in self.channels:
                self.channels.append(channel)
        elif isinstance(frame, MessageSend):
            self.words.put(frame.channel, reply["seq"], at=reply["seq"], text=frame.text)
        elif isinstance(frame, MessageEdit) and reply["seq"]:
            self.words.put(frame.channel, frame.seq, at=reply["seq"], text=frame.text)
        elif isinstance(frame, ScheduledCreate):
            self.scheduled[reply["id"]] = reply["text"]
        elif isinstance(frame, MessageForward):
            self.words.forwarded[frame.channel, reply["seq"]] = frame.source, frame.seq

    async def leave_node(self, who: int) -> None:
        """A device's socket is gone, once it has its answer."""
        async with self.devices[who].busy:
            self.devices[who].go_away()

    async def move(self, who: int, node: int) -> None:
        """A device resumes."""
        async with self.devices[who].busy:
            await self.devices[who].come_back(node)

    async def come(self) -> None:
        """It is time for all that is scheduled, for polls to close, and for messages to disappear."""
        self.unchecked += 1
        async with self._servers[0].pool.transaction() as tx:
            await tx.fetch("SELECT FROM stream ORDER BY id FOR NO KEY UPDATE")
            await tx.execute("UPDATE message SET expires_at = now() WHERE expires_at IS NOT NULL")
            await tx.execute("UPDATE due SET at = now()")
        await self._servers[0].pool.execute("UPDATE scheduled SET due = now() WHERE failed IS NULL AND NOT begun")

    async def _all_is_sent(self) -> None:
        """Nothing is due any more, and it is known what was said by that; everybody was told of what was deleted."""
        left = """
            SELECT EXISTS (SELECT FROM scheduled WHERE failed IS NULL AND (begun OR due <= now()))
                OR EXISTS (SELECT FROM due WHERE at <= now() + interval '20 s') OR EXISTS (SELECT FROM grave)
        """
        async with asyncio.timeout(10):
            while await self._servers[0].pool.fetchval(left):
                await asyncio.sleep(0.01)

    async def _hang_up(self) -> None:
        """Every call is over."""
        one = self._servers[0]
        for row in await one.pool.fetch("SELECT channel, id FROM call"):
            await one.calls.finish(row["channel"], row["id"], "missed")

    async def rest(self) -> None:
        """Until everything that was asked is answered."""
        await asyncio.gather(*self._doing)
        self._doing.clear()

    async def check(self, node: int) -> None:
        """What everybody knows is what who comes anew is told."""
        self.unchecked = 0
        await self.rest()
        await self._hang_up()
        await self._all_is_sent()
        await settled(self._servers[0])
        await presences_settle([device for device in self.devices if device.phone is not None])
        for number, device in enumerate(self.devices):
            if device.phone is None:
                await device.come_back((number + node) % 2)
        fresh = [Device(self._servers, *person, whole=True) for person in self._people]
        try:
            readings = [await Reading.of(one, (number + node) % 2) for number, one in enumerate(fresh)]
            await self._compare(readings)
            await presences_settle(self.devices, asker=fresh)
            self._compare_presences(readings)
        finally:
            for one in fresh:
                one.go_away()

    async def _compare(self, readings: list[Reading]) -> None:
        for who, device in enumerate(self.devices):
            reading = readings[DEVICES[who][0]]
            await device.reach(reading.state["heads"])
            assert device.view.state() == (reading.state if device.view.whole else reading.outline)
            for id, (channel, seq) in device.view.sent.items():
                self.words.put(channel, seq, at=seq, text=self.scheduled[id])
        for reading in readings:
            await reading.judge(self.words, readings)

    def _compare_presences(self, readings: list[Reading]) -> None:
        for who, device in enumerate(self.devices):
            for user, shown in device.presences.items():
                readings[DEVICES[who][0]].judge_presence(readings[self.accounts.index(user)], shown)

    def close(self) -> None:
        """Everybody goes."""
        for task in self._doing:
            task.cancel()
        for device in self.devices:
            device.go_away()
