"""Blocked: who blocks or is blocked neither opens a channel nor writes in an old one, at once and on every node."""

from uuid import uuid4

import pytest

from protocol.channel import ChannelList, ChannelMembers, ChannelOpenDirect
from protocol.draft import DraftSave
from protocol.frame import Request
from protocol.message import (
    MessageCreated,
    MessageDelete,
    MessageEdit,
    MessageForward,
    MessageMarkRead,
    MessagePin,
    MessageReceipt,
    MessageSend,
)
from protocol.reaction import ReactionAdd
from protocol.user import UserBlock, UserUnblock
from server import Server
from tests.chat import direct, group, history, me, nodes, refused, say
from tests.conftest import Connector, Person, Starter

Pair = tuple[Person, Person]


@pytest.fixture
async def apart(start: Starter, connect: Connector) -> Pair:
    """Two people on two nodes."""
    one, other = await nodes(start)
    return await connect("ann", to=one), await connect("bob", to=other)


@pytest.mark.parametrize("blocker", [0, 1])
async def test_blocked_people_cannot_open_a_channel(apart: Pair, blocker: int) -> None:
    ann, bob = apart
    await apart[blocker].call(UserBlock(user=me(apart[1 - blocker])))
    assert await refused(ann, ChannelOpenDirect(user=me(bob))) == "missing"
    assert await refused(bob, ChannelOpenDirect(user=me(ann))) == "missing"
    assert (await ann.call(ChannelList())).channels == []
    await apart[blocker].call(UserUnblock(user=me(apart[1 - blocker])))
    assert await direct(ann, bob) == await direct(bob, ann)


@pytest.mark.parametrize("blocker", [0, 1])
async def test_from_the_block_on_neither_writes_anything_on_any_node(apart: Pair, blocker: int) -> None:
    ann, bob = apart
    channel, elsewhere = await direct(ann, bob), await group(ann, bob)
    for person in apart:  # what is decided once is remembered
        await say(person, channel, "before")
    source = await say(ann, elsewhere)
    await apart[blocker].call(UserBlock(user=me(apart[1 - blocker])))
    for person, seq in ((ann, 1), (bob, 2)):
        frames: list[Request[object]] = [
            MessageSend(channel=channel, text="after", nonce=uuid4()),
            MessageForward(channel=channel, source=elsewhere, seq=source, nonce=uuid4()),
            MessageEdit(channel=channel, seq=seq, text="after"),
            MessageDelete(channel=channel, seq=seq),
            MessagePin(channel=channel, seq=seq),
            ReactionAdd(channel=channel, seq=seq, emoji="👍"),
        ]
        assert {await refused(person, frame) for frame in frames} == {"forbidden"}
        assert [one.text for one in await history(person, channel)] == ["before", "before"]
        await person.call(MessageMarkRead(channel=channel, seq=2))
        await person.call(DraftSave(channel=channel, text="never sent"))
        assert await say(person, elsewhere) > source, "a group is everybody's"


async def test_after_the_block_is_taken_back_both_write_again_at_once(apart: Pair) -> None:
    ann, bob = apart
    channel = await direct(ann, bob)
    await say(bob, channel)
    await ann.call(UserBlock(user=me(bob)))
    assert await refused(bob, MessageSend(channel=channel, text="x", nonce=uuid4())) == "forbidden"
    await ann.call(UserUnblock(user=me(bob)))
    for person in (bob, ann):
        await say(person, channel, "again")
    assert [one.text for one in await history(bob, channel)] == ["hello", "again", "again"]


async def test_a_refused_nonce_may_be_used_again(apart: Pair) -> None:
    ann, bob = apart
    channel, nonce = await direct(ann, bob), uuid4()
    await ann.call(UserBlock(user=me(bob)))
    assert await refused(bob, MessageSend(channel=channel, text="x", nonce=nonce)) == "forbidden"
    await ann.call(UserUnblock(user=me(bob)))
    assert (await bob.call(MessageSend(channel=channel, text="y", nonce=nonce))).seq == 1


async def test_blocked_people_get_no_receipts_of_each_other(apart: Pair) -> None:
    ann, bob = apart
    channel = await direct(ann, bob)
    await say(ann, channel)
    await bob.wait_for(MessageCreated)
    await bob.call(UserBlock(user=me(ann)))
    assert await refused(bob, MessageSend(channel=channel, text="x", nonce=uuid4())) == "forbidden"
    await bob.call(MessageMarkRead(channel=channel, seq=1))
    with pytest.raises(TimeoutError):
        await ann.wait_for(MessageReceipt, timeout=0.3)


async def test_in_a_group_blocked_people_stay_members(
    server: Server, ann: Person, bob: Person, connect: Connector
) -> None:
    cid = await connect("cid")
    channel = await group(cid, ann, bob)
    await ann.call(UserBlock(user=me(bob)))
    assert [one.username for one in (await ann.call(ChannelMembers(channel=channel))).users] == ["ann", "bob", "cid"]
    await say(bob, channel, "to all")
    assert [one.text for one in await history(ann, channel)] == ["to all"]
