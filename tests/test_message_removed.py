"""Whoever was removed reads nothing that came after, also through a process that has not heard of it yet."""

from uuid import UUID

import pytest

from protocol.channel import ChannelMembers, ChannelRemoveMember
from protocol.error import Missing
from protocol.frame import Request
from protocol.message import (
    MessageAround,
    MessageForward,
    MessageGet,
    MessageHistory,
    MessagePins,
    MessageReaders,
    MessageRevisions,
)
from protocol.reaction import ReactionList
from server import Server
from storage.ids import new_id
from tests.chat import group, me, say
from tests.conftest import Connector, Starter

KINDS = 10


def reads(channel: UUID, seq: int) -> list[Request[object]]:
    """Every way to read a channel, or what came to stand at a seq."""
    return [
        MessageHistory(channel=channel, after=0),
        MessageHistory(channel=channel, known=seq),
        MessageHistory(channel=channel, before=seq + 1),
        MessageAround(channel=channel, seq=seq),
        MessagePins(channel=channel),
        MessageGet(channel=channel, seq=seq),
        MessageRevisions(channel=channel, seq=seq),
        MessageReaders(channel=channel, seq=seq),
        ReactionList(channel=channel, seq=seq),
        ChannelMembers(channel=channel),
    ]


@pytest.fixture
async def deaf(start: Starter) -> list[Server]:
    """Two processes that can't tell each other anything: each learns of the other's doings within a second."""
    return [await start(redis_url="unix:///nowhere/redis.sock") for _ in range(2)]


@pytest.mark.parametrize("kind", range(KINDS), ids=[type(one).__name__ for one in reads(new_id(), 1)])
async def test_a_removed_member_reads_nothing_through_another_node(
    deaf: list[Server], connect: Connector, kind: int
) -> None:
    here, there = deaf
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    channel = await group(ann, bob)
    seq = await say(bob, channel)
    await bob.call(reads(channel, seq)[kind])
    await ann.call(ChannelRemoveMember(channel=channel, user=me(bob)))
    seq = await say(ann, channel, "canary")
    with pytest.raises(Missing):
        await bob.call(reads(channel, seq)[kind])


async def test_a_removed_member_forwards_nothing_through_another_node(deaf: list[Server], connect: Connector) -> None:
    here, there = deaf
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    channel, own = await group(ann, bob), await group(bob)
    await bob.call(MessageForward(channel=own, source=channel, seq=await say(ann, channel), nonce=new_id()))
    await ann.call(ChannelRemoveMember(channel=channel, user=me(bob)))
    seq = await say(ann, channel, "canary")
    with pytest.raises(Missing):
        await bob.call(MessageForward(channel=own, source=channel, seq=seq, nonce=new_id()))


async def test_who_stays_reads_on_without_noticing(deaf: list[Server], connect: Connector) -> None:
    here, there = deaf
    ann, bob, cid = await connect("ann", to=here), await connect("bob", to=there), await connect("cid", to=there)
    channel = await group(ann, bob, cid)
    await say(ann, channel)
    await bob.call(MessageHistory(channel=channel, after=0))
    await ann.call(ChannelRemoveMember(channel=channel, user=me(cid)))
    seq = await say(ann, channel, "news")
    for frame in reads(channel, seq):
        await bob.call(frame)
    assert (await bob.call(MessageGet(channel=channel, seq=seq))).text == "news"
