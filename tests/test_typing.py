"""typing: told to who is there and wants to know, and kept nowhere."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest

from protocol.channel import ChannelCreate, ChannelMemberLeft, ChannelOpenDirect, ChannelRemoveMember
from protocol.error import Forbidden, Missing
from protocol.message import MessageCreated, MessageSend
from protocol.session import SessionOpen
from protocol.typing import TypingStart, TypingStarted, TypingStop, TypingStopped
from protocol.user import UserBlock, UserUnblock
from server import Server
from tests.conftest import Connector, Person, Starter

SOON = 4.0


def id_of(person: Person) -> UUID:
    return person.tokens_given.account


async def group(owner: Person, *members: Person) -> UUID:
    """A group that its members hear already: what is not kept would pass those by who are on their way in."""
    frame = ChannelCreate(name="group", nonce=uuid4(), members=[id_of(one) for one in members])
    channel = (await owner.call(frame)).channel.id
    await owner.call(MessageSend(channel=channel, text="hello", nonce=uuid4()))
    for one in members:
        await one.wait_for(MessageCreated, SOON)
    return channel


async def hears_nothing_of_typing(listener: Person, speaker: Person, channel: UUID) -> None:
    """What comes next is a message; whatever was told before would have come before."""
    await speaker.call(MessageSend(channel=channel, text="done", nonce=uuid4()))
    await listener.wait_for(MessageCreated, SOON)
    for kind in (TypingStarted, TypingStopped):
        with pytest.raises(TimeoutError):
            await listener.wait_for(kind, 0.05)


async def test_typing_is_told_to_the_others_in_the_channel(ann: Person, bob: Person, connect: Connector) -> None:
    cid, dan = await connect("cid"), await connect("dan")
    channel, other = await group(ann, bob, cid), await group(ann, dan)
    await ann.call(TypingStart(channel=channel))
    for one in (bob, cid):
        told = await one.wait_for(TypingStarted, SOON)
        assert (told.channel, told.user) == (channel, id_of(ann))
        assert 1 <= told.seconds <= 30
    await ann.call(TypingStop(channel=channel))
    for one in (bob, cid):
        assert await one.wait_for(TypingStopped, SOON) == TypingStopped(channel=channel, user=id_of(ann))
    await hears_nothing_of_typing(dan, ann, other)
    await hears_nothing_of_typing(ann, bob, channel)


async def test_ones_own_other_devices_are_not_told(ann: Person, bob: Person, connect: Connector) -> None:
    channel = await group(ann, bob)
    second = await connect()
    await second.call(SessionOpen(token=ann.tokens_given.access))
    await ann.call(TypingStart(channel=channel))
    await hears_nothing_of_typing(second, bob, channel)


async def test_who_does_not_want_it_is_not_told(ann: Person, connect: Connector) -> None:
    bob = await connect("bob")
    await bob.call(SessionOpen(token=bob.tokens_given.access, wants=["messages", "receipts"]))
    channel = await group(ann, bob)
    await ann.call(TypingStart(channel=channel))
    await hears_nothing_of_typing(bob, ann, channel)


async def test_nothing_of_it_is_kept(ann: Person, bob: Person, connect: Connector, server: Server) -> None:
    channel = await group(ann, bob)
    await bob.close()
    before = await server.pool.fetchval("SELECT head FROM stream WHERE id = $1", channel)
    for _ in range(3):
        await ann.call(TypingStart(channel=channel))
    assert await server.pool.fetchval("SELECT head FROM stream WHERE id = $1", channel) == before
    back = await connect()
    await back.call(SessionOpen(token=bob.tokens_given.access))
    await hears_nothing_of_typing(back, ann, channel)


async def test_it_costs_the_database_nothing(ann: Person, bob: Person, server: Server) -> None:
    channel = await group(ann, bob)
    await ann.call(TypingStart(channel=channel))
    await bob.wait_for(TypingStarted, SOON)
    before = server.pool.queries
    for _ in range(30):
        await ann.call(TypingStart(channel=channel))
        await bob.wait_for(TypingStarted, SOON)
    assert server.pool.queries - before < 30, "the server asks for heads now and then, and for nothing else"


async def test_only_who_may_write_there_types_there(ann: Person, bob: Person, connect: Connector) -> None:
    cid = await connect("cid")
    pair = (await ann.call(ChannelOpenDirect(user=id_of(bob)))).channel.id
    for frame in (TypingStart(channel=pair), TypingStop(channel=pair), TypingStart(channel=uuid4())):
        with pytest.raises(Missing):
            await cid.call(frame)
    await ann.call(UserBlock(user=id_of(bob)))
    for one in (ann, bob):
        for frame in (TypingStart(channel=pair), TypingStop(channel=pair)):
            with pytest.raises(Forbidden):
                await one.call(frame)
    await ann.call(UserUnblock(user=id_of(bob)))
    await bob.call(TypingStart(channel=pair))
    assert (await ann.wait_for(TypingStarted, SOON)).user == id_of(bob)


async def test_who_was_removed_neither_types_nor_hears_of_it(ann: Person, bob: Person, connect: Connector) -> None:
    cid = await connect("cid")
    channel = await group(ann, bob, cid)
    await ann.call(ChannelRemoveMember(channel=channel, user=id_of(bob)))
    await cid.wait_for(ChannelMemberLeft, SOON)
    with pytest.raises(Missing):
        await bob.call(TypingStart(channel=channel))
    await ann.call(TypingStart(channel=channel))
    await cid.wait_for(TypingStarted, SOON)
    with pytest.raises(TimeoutError):
        await bob.wait_for(TypingStarted, 0.3)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_it_reaches_those_on_another_node(server: Server, start: Starter, connect: Connector) -> None:
    other = await start()
    ann, bob = await connect("ann", to=server), await connect("bob", to=other)
    channel = await group(ann, bob)

    async def told() -> bool:
        """The first ones may come before the other node follows the channel: passing events are lost then."""
        await ann.call(TypingStart(channel=channel))
        try:
            return (await bob.wait_for(TypingStarted, 0.3)).user == id_of(ann)
        except TimeoutError:
            return False

    await until(told)
    await ann.call(TypingStop(channel=channel))
    assert (await bob.wait_for(TypingStopped, SOON)).user == id_of(ann)
