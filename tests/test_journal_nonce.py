"""A message that was stored is told as stored, however often it is sent and whatever its author may do by then."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from protocol.channel import ChannelRemoveMember
from protocol.client import Client
from protocol.error import Conflict, Forbidden, Missing
from protocol.frame import Request
from protocol.message import MessageDelete, MessageForward, MessageSend
from protocol.user import UserBlock
from tests.chat import UNBOUND, Phone, direct, group, me, nodes, refused, say, sql
from tests.conftest import Connector, Person, Starter
from tests.raw import until

HOLD = "SELECT head FROM stream WHERE id = $1 FOR UPDATE"


def send(channel: UUID, nonce: UUID | None = None) -> MessageSend:
    return MessageSend(channel=channel, text="hello", nonce=nonce or uuid4())


async def refusal(person: Client, frame: Request[Any]) -> tuple[str, str, str | None]:
    """All that a refusal tells."""
    with pytest.raises((Missing, Forbidden, Conflict)) as caught:
        await person.call(frame)
    return caught.value.code, str(caught.value), caught.value.field


async def test_who_was_removed_after_sending_gets_the_first_reply_again(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start, **UNBOUND)
    ann, bob = await connect("ann", to=one), await connect("bob", to=one)
    channel = await group(ann, bob)
    frame = send(channel)
    first = await bob.call(frame)
    await ann.call(ChannelRemoveMember(channel=channel, user=me(bob)))
    assert await bob.call(frame) == first
    phone = await Phone.open(other, bob.tokens_given.access)
    assert (await phone.call(frame))["seq"] == first.seq
    assert await refused(bob, send(channel)) == "missing"
    phone.abort()


async def test_who_was_blocked_after_sending_gets_the_first_reply_again(ann: Person, bob: Person) -> None:
    channel = await direct(ann, bob)
    frame = send(channel)
    first = await bob.call(frame)
    await ann.call(UserBlock(user=me(bob)))
    assert await bob.call(frame) == first
    assert await refused(bob, send(channel)) == "forbidden"


async def test_who_may_not_write_learns_nothing_from_nonces_of_others(ann: Person, bob: Person) -> None:
    hidden = await group(ann)
    frame = send(hidden)
    await ann.call(frame)
    fresh = await refusal(bob, send(uuid4()))
    assert await refusal(bob, frame) == await refusal(bob, send(hidden)) == fresh


async def test_a_nonce_of_ones_own_says_nothing_of_channels_one_cannot_see(ann: Person, bob: Person) -> None:
    hidden, own, nonce = await group(ann), await group(bob), uuid4()
    await bob.call(send(own, nonce))
    answers = {await refusal(bob, send(channel, nonce)) for channel in (hidden, uuid4())}
    assert len(answers) == 1
    assert answers.pop()[0] == "conflict"


async def test_a_forward_whose_source_is_no_more_gets_the_first_reply_again(ann: Person, bob: Person) -> None:
    source, target = await group(ann, bob), await direct(ann, bob)
    frames = [
        MessageForward(channel=target, source=source, seq=await say(ann, source), nonce=uuid4()) for _ in range(2)
    ]
    first = [await bob.call(frame) for frame in frames]
    await ann.call(MessageDelete(channel=source, seq=frames[0].seq))
    assert await bob.call(frames[0]) == first[0]
    await ann.call(ChannelRemoveMember(channel=source, user=me(bob)))
    assert [await bob.call(frame) for frame in frames] == first
    new = [MessageForward(channel=target, source=source, seq=frame.seq, nonce=uuid4()) for frame in frames]
    assert {await refusal(bob, frame) for frame in new} == {await refusal(bob, send(uuid4()))}
    elsewhere = MessageForward(channel=await group(bob), source=source, seq=1, nonce=frames[0].nonce)
    assert (await refusal(bob, elsewhere))[0] == "conflict"


async def test_a_forward_that_is_on_its_way_while_its_source_goes_is_told_twice_as_stored(
    start: Starter, connect: Connector
) -> None:
    server = await start(**UNBOUND)
    ann = await connect("ann", to=server)
    source, target = await group(ann), await group(ann)
    seq = await say(ann, source)
    phone = await Phone.open(server, ann.tokens_given.access)
    frame = MessageForward(channel=target, source=source, seq=seq, nonce=uuid4())
    async with sql(server) as db, db.transaction():
        await db.execute(HOLD, target)
        numbers = phone.ask(frame)
        await until(lambda: target in server.posting.journal.aside)
        await ann.call(MessageDelete(channel=source, seq=seq))
        numbers += phone.ask(frame)
        await asyncio.sleep(0.2)  # long enough to be refused
        assert not any(number in phone.replies_ for number in numbers)
    assert [reply["ok"]["seq"] for reply in await phone.answers(numbers)] == [1, 1]
    phone.abort()


async def test_what_may_be_stored_is_not_looked_up_before(start: Starter, connect: Connector) -> None:
    server = await start()
    ann = await connect("ann", to=server)
    channel = await group(ann)
    await say(ann, channel)
    counts = []
    for _ in range(5):
        before = server.pool.queries
        await say(ann, channel)
        counts.append(server.pool.queries - before)
    assert min(counts) == 1  # others are about what else a server does all the time
