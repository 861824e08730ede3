"""The client and a real server: a conversation goes on, exactly, whatever happens to sockets and processes."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from pathlib import Path
from uuid import UUID, uuid4

from protocol.account import AccountRegister
from protocol.channel import (
    ChannelAddMember,
    ChannelCreate,
    ChannelJoined,
    ChannelLeft,
    ChannelOpenDirect,
    ChannelRemoveMember,
)
from protocol.client import Client, StreamReset
from protocol.frame import Event, Fact
from protocol.message import MessageCreated
from protocol.session import SessionHello, SessionResumed
from server import Server
from tests.cable import Cable, a_cable
from tests.conftest import Starter
from tests.service import Service


class Friend(Client):
    """A client with an account, who listens all the time."""

    account: UUID
    cable: Cable | None = None

    async def begin(self, name: str) -> None:
        opened = await self.open(
            await self.call(AccountRegister(username=name, password="correct horse battery"), retry=True)
        )
        self.account = opened.account
        self.story: list[Event] = []
        self.told = asyncio.Condition()
        self.listening = asyncio.create_task(self.listen())

    async def listen(self) -> None:
        async for event in self.events():
            self.story.append(event)
            async with self.told:
                self.told.notify_all()

    def messages(self, channel: UUID) -> list[MessageCreated]:
        return [event for event in self.story if isinstance(event, MessageCreated) and event.stream == channel]

    async def has(self, channel: UUID, count: int) -> list[str]:
        """The texts of a channel, in the order they came, as soon as there are so many."""
        async with self.told, asyncio.timeout(60):
            await self.told.wait_for(lambda: len(self.messages(channel)) >= count)
        return [event.message.text for event in self.messages(channel)]

    async def hears(self, kind: type[Event]) -> Event:
        async with self.told, asyncio.timeout(20):
            await self.told.wait_for(lambda: any(isinstance(event, kind) for event in self.story))
        return next(event for event in self.story if isinstance(event, kind))

    def cut(self) -> None:
        assert self.cable is not None
        self.cable.cut()

    async def lose_and_regain(self) -> None:
        before = self.connections()
        self.cut()
        async with self.told, asyncio.timeout(20):
            await self.told.wait_for(lambda: self.connections() > before)

    def connections(self) -> int:
        return 1 + sum(isinstance(event, SessionHello) for event in self.story)

    def in_order(self) -> None:
        """Every stream that was heard, came without a gap and without a double."""
        streams: dict[UUID, list[int]] = {}
        for event in self.story:
            assert not isinstance(event, StreamReset)
            if isinstance(event, Fact):
                streams.setdefault(event.stream, []).append(event.seq)
        for seqs in streams.values():
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


@asynccontextmanager
async def friends(port: int, *names: str, queue: int = 10_000) -> AsyncIterator[list[Friend]]:
    """Clients, each with a cable of its own."""
    async with AsyncExitStack() as stack:
        found = []
        for name in names:
            cable, url = await stack.enter_async_context(a_cable(port))
            friend = await stack.enter_async_context(Friend(url, queue=queue))
            friend.cable = cable
            await friend.begin(name)
            found.append(friend)
        yield found


async def direct(one: Friend, other: Friend) -> UUID:
    return (await one.call(ChannelOpenDirect(user=other.account))).channel.id


async def say(friend: Friend, channel: UUID, count: int, at_once: int = 5) -> list[int]:
    """Send so many messages, several at a time; the seqs that were acknowledged."""
    numbers, acked = iter(range(count)), list[int]()

    async def some() -> None:
        for number in numbers:
            acked.append((await friend.send(channel, f"{number} {uuid4()}", timeout=60)).seq)

    await asyncio.gather(*[some() for _ in range(at_once)])
    return sorted(acked)


async def talk(channel: UUID, count: int, *friends: Friend) -> list[int]:
    """All of them at the same time."""
    return sorted(chain.from_iterable(await asyncio.gather(*[say(friend, channel, count) for friend in friends])))


def exactly(friend: Friend, channel: UUID, acked: list[int]) -> None:
    """All of these messages came, once, and no others."""
    friend.in_order()
    came = [event.message.seq for event in friend.messages(channel)]
    assert came == acked
    assert max(Counter(event.message.text for event in friend.messages(channel)).values()) == 1


async def test_a_thousand_messages_over_cut_cables_come_once_and_in_order(start: Starter) -> None:
    server = await start(frames_per_second=2000, frames_in_burst=2000)
    async with friends(server.port, "ann", "bob") as (ann, bob):
        channel = await direct(ann, bob)

        async def scissors() -> None:
            for friend in (bob, ann, bob, ann, bob):
                await asyncio.sleep(random.uniform(0.0, 0.1))
                await friend.lose_and_regain()

        cutting = asyncio.create_task(scissors())
        acked = await talk(channel, 495, ann, bob)
        await cutting
        acked += await say(bob, channel, 10)
        assert len(set(acked)) == 1000
        for friend in (ann, bob):
            await friend.has(channel, 1000)
            exactly(friend, channel, acked)
            assert isinstance(friend.session, SessionResumed)
            assert friend.connections() >= 3


async def test_a_program_without_room_gets_everything_from_the_server_later(start: Starter) -> None:
    server = await start(frames_per_second=2000, frames_in_burst=2000)
    async with friends(server.port, "ann") as (ann,), friends(server.port, "bob", queue=20) as (bob,):
        channel = await direct(ann, bob)
        await bob.hears(ChannelJoined)
        bob.listening.cancel()
        acked = await say(ann, channel, 200, at_once=1)
        bob.listening = asyncio.create_task(bob.listen())
        await bob.has(channel, 200)
        exactly(bob, channel, acked)


async def group(friend: Friend, *others: Friend) -> UUID:
    frame = ChannelCreate(name="a group", nonce=uuid4(), members=[other.account for other in others])
    return (await friend.call(frame)).channel.id


async def test_more_channels_than_a_stranger_may_name_are_resumed(start: Starter) -> None:
    server = await start(frames_per_second=2000, frames_in_burst=2000)
    async with friends(server.port, "ann", "bob") as (ann, bob):
        channels = [await group(ann, bob) for _ in range(90)]
        for channel in channels:
            await ann.send(channel, "before")
        for channel in channels:
            await bob.has(channel, 1)
        bob.cut()
        for channel in channels:
            await ann.send(channel, "after")
        for channel in channels:
            assert await bob.has(channel, 2) == ["before", "after"]
        bob.in_order()
        assert bob.connections() == 2


async def test_a_channel_that_was_entered_while_away_is_heard_from_its_beginning(server: Server) -> None:
    async with friends(server.port, "ann", "bob") as (ann, bob):
        async with ann.told:
            channel = await group(ann)
        bob.cut()
        await ann.call(ChannelAddMember(channel=channel, user=bob.account))
        for number in range(3):
            await ann.send(channel, str(number))
        assert await bob.has(channel, 3) == ["0", "1", "2"]
        bob.in_order()
        kinds = [type(event) for event in bob.story if isinstance(event, ChannelJoined | MessageCreated)]
        assert kinds == [ChannelJoined, *[MessageCreated] * 3]


async def test_a_channel_that_was_left_while_away_is_not_asked_for_again(server: Server) -> None:
    async with friends(server.port, "ann", "bob") as (ann, bob):
        channel = await group(ann, bob)
        await ann.send(channel, "hello")
        await bob.has(channel, 1)
        bob.cut()
        await ann.call(ChannelRemoveMember(channel=channel, user=bob.account))
        await ann.send(channel, "among us")
        left = await bob.hears(ChannelLeft)
        assert isinstance(left, ChannelLeft)
        assert left.reason == "removed"
        room = await direct(ann, bob)
        bob.cut()
        await ann.send(room, "still there?")
        assert await bob.has(room, 1) == ["still there?"]
        assert isinstance(bob.session, SessionResumed)
        assert len(bob.messages(channel)) == 1
        bob.in_order()


async def test_a_killed_worker_costs_nobody_a_message(folder: Path) -> None:
    settings = ("--workers", "2", "--set", "frames_per_second=2000", "--set", "frames_in_burst=2000")
    async with Service(folder, *settings) as service:
        port = int(service.url.rpartition(":")[2].partition("/")[0])
        async with friends(port, "ann", "bob", "eve") as (ann, bob, eve):
            channel = await group(ann, bob, eve)

            acked: list[int] = []
            for number, worker in enumerate(service.workers(), 1):
                talking = asyncio.create_task(talk(channel, 200, ann, bob))
                await eve.has(channel, len(acked) + 50)
                os.kill(worker, signal.SIGKILL)
                acked += await talking
                while service.text.count("is back after") < number:
                    await asyncio.sleep(0.05)
            acked += await say(eve, channel, 10)
            for friend in (ann, bob, eve):
                await friend.has(channel, 810)
                exactly(friend, channel, acked)
                assert isinstance(friend.session, SessionResumed)
