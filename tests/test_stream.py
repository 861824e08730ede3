"""Streams: every session gets every fact of what it hears, once, in order, whatever happens in between."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from protocol.channel import ChannelAddMember, ChannelLeave, ChannelRemoveMember, ChannelUpdate
from protocol.message import (
    MessageCreated,
    MessageDelete,
    MessageEdit,
    MessageMarkRead,
    MessagePin,
    MessageSend,
    MessageUnpin,
)
from protocol.reaction import ReactionAdd, ReactionRemove
from protocol.session import Cursor, SessionPing
from server import Server
from storage import stream as storage
from tests.chat import UNBOUND, Phone, group, me, nodes, old_group, say
from tests.conftest import Connector, Person, Starter

Trio = tuple[Person, Person, Person]


@pytest.fixture
async def trio(connect: Connector) -> Trio:
    return await connect("ann"), await connect("bob"), await connect("cid")


def access(person: Person) -> str:
    return person.tokens_given.access


async def a_life(ann: Person, bob: Person, channel: UUID) -> int:
    """Facts of every kind but deletions; the last one's seq."""
    for number in range(6):
        await say(ann, channel, f"message {number}")
    await ann.call(MessageEdit(channel=channel, seq=2, text="other words"))
    await bob.call(ReactionAdd(channel=channel, seq=1, emoji="👍"))
    await ann.call(ReactionAdd(channel=channel, seq=1, emoji="👍"))
    await bob.call(ReactionRemove(channel=channel, seq=1, emoji="👍"))
    await ann.call(MessagePin(channel=channel, seq=3))
    await bob.call(MessagePin(channel=channel, seq=4))
    await bob.call(MessageUnpin(channel=channel, seq=3))
    await ann.call(ChannelUpdate(channel=channel, topic="a topic"))
    await bob.call(ChannelLeave(channel=channel))
    await ann.call(ChannelAddMember(channel=channel, user=me(bob)))
    return await say(bob, channel, "the last")


async def missed(server: Server, token: str, channel: UUID, cursor: int) -> list[dict[str, Any]]:
    """What a resume with one cursor sends before its reply, of that stream."""
    phone, reply = await Phone.resume(server, token, {channel: cursor})
    assert reply["reset"] == []
    found = phone.facts(channel)
    phone.abort()
    return found


# Resuming


async def test_resume_gives_exactly_the_rest_from_memory(server: Server, trio: Trio) -> None:
    ann, bob, cid = trio
    channel = await group(ann, bob, cid)
    phone = await Phone.open(server, access(cid))
    head = await a_life(ann, bob, channel)
    assert await phone.heard(channel, head) == list(range(1, head + 1))
    fetched = server.streams.fetched
    for cursor in range(head + 1):
        assert await missed(server, access(cid), channel, cursor) == phone.facts(channel)[cursor:]
    assert server.streams.fetched == fetched
    phone.abort()


async def test_resume_from_the_database_tells_the_same_facts_on_another_node(
    start: Starter, server: Server, trio: Trio
) -> None:
    ann, bob, cid = trio
    channel = await group(ann, bob, cid)
    phone = await Phone.open(server, access(cid))
    head = await a_life(ann, bob, channel)
    await phone.heard(channel, head)
    other = await start()
    for cursor in range(head + 1):
        found = await missed(other, access(cid), channel, cursor)
        assert [(one["seq"], one["ev"]) for one in found] == [
            (one["seq"], one["ev"]) for one in phone.facts(channel)[cursor:]
        ]
        for here, there in zip(found, phone.facts(channel)[cursor:], strict=True):
            assert here.keys() == there.keys()
            assert here == there or "message" in here  # which is told as it is by now
    assert other.streams.fetched
    phone.abort()


async def test_resume_tells_nothing_of_what_was_taken_back_but_its_place(
    start: Starter, server: Server, trio: Trio
) -> None:
    ann, bob, cid = trio
    channel = await group(ann, bob, cid)
    phone = await Phone.open(server, access(cid))
    await say(ann, channel, "canary one")
    await ann.call(MessageEdit(channel=channel, seq=1, text="canary two"))
    await ann.call(MessageDelete(channel=channel, seq=1))
    await phone.heard(channel, 3)
    other = await start()
    for node in (server, other, server):
        again, _ = await Phone.resume(node, access(bob), {channel: 0})
        assert again.seqs(channel) == [1, 2, 3]
        assert b"canary" not in b"".join(again.messages)
        again.abort()
    phone.abort()


async def test_resume_goes_on_where_the_reply_ends(server: Server, trio: Trio) -> None:
    ann, bob, _ = trio
    channel = await group(ann, bob)
    for _ in range(5):
        await say(ann, channel)
    phone, reply = await Phone.resume(server, access(bob), {channel: 2, me(bob): 0})
    assert phone.seqs(channel) == [3, 4, 5]
    assert reply["channels"][0]["head"] == 5
    await say(ann, channel)
    assert await phone.heard(channel, 6) == [3, 4, 5, 6]
    assert phone.seqs(me(bob)) == [1]
    phone.abort()


async def test_a_stream_without_a_cursor_goes_on_from_its_head(server: Server, trio: Trio) -> None:
    ann, bob, _ = trio
    channel = await group(ann, bob)
    await say(ann, channel)
    phone, reply = await Phone.resume(server, access(bob), {})
    assert phone.facts(channel) == []
    assert reply["reset"] == []
    await say(ann, channel)
    assert await phone.heard(channel, 2) == [2]
    phone.abort()


async def test_a_channel_entered_meanwhile_is_heard_from_where_the_entry_says(server: Server, trio: Trio) -> None:
    ann, bob, cid = trio
    channel = await group(ann, bob)
    await say(ann, channel, "before")
    await ann.call(ChannelAddMember(channel=channel, user=me(cid)))
    for _ in range(3):
        await say(ann, channel, "after")
    phone, reply = await Phone.resume(server, access(cid), {me(cid): 0})
    [joined] = phone.facts(me(cid))
    assert joined["ev"] == "channel.joined"
    assert joined["membership"]["head"] == 2
    assert phone.seqs(channel) == [3, 4, 5]
    assert reply["reset"] == []
    await say(ann, channel)
    assert await phone.heard(channel, 6) == [3, 4, 5, 6]
    phone.abort()


async def test_unknown_and_forbidden_streams_are_both_reset(server: Server, trio: Trio) -> None:
    ann, bob, cid = trio
    channel, unknown = await group(ann, bob), uuid4()
    await say(ann, channel, "canary")
    phone, reply = await Phone.resume(server, access(cid), {channel: 0, unknown: 0, me(ann): 0})
    assert set(reply["reset"]) == {str(channel), str(unknown), str(me(ann))}
    assert phone.events[1:] == []
    await say(ann, channel, "canary")
    await phone.call(SessionPing())
    assert b"canary" not in b"".join(phone.messages)
    phone.abort()


async def test_a_cursor_ahead_of_its_stream_is_reset(start: Starter, server: Server, trio: Trio) -> None:
    ann, bob, _ = trio
    for node in (server, await start()):
        channel = await group(ann, bob)
        await say(ann, channel)
        phone, reply = await Phone.resume(node, access(bob), {channel: 2})
        assert reply["reset"] == [str(channel)]
        assert phone.facts(channel) == []
        seq = await say(ann, channel)
        assert await phone.heard(channel, seq) == [seq]
        phone.abort()


async def test_a_cursor_too_far_behind_is_reset(start: Starter, server: Server, trio: Trio) -> None:
    ann, bob, _ = trio
    channel = await old_group(server, me(ann), me(bob), 10_500)
    other = await start()
    phone, reply = await Phone.resume(other, access(bob), {channel: 0})
    assert reply["reset"] == [str(channel)]
    assert phone.facts(channel) == []
    phone.abort()
    phone, reply = await Phone.resume(other, access(bob), {channel: 501})
    assert reply["reset"] == []
    assert phone.seqs(channel) == list(range(502, 10501))
    phone.abort()


async def test_a_cursor_before_pruned_facts_is_reset_even_where_messages_are_left(
    start: Starter, server: Server, trio: Trio
) -> None:
    ann, bob, _ = trio
    channel = await group(ann, bob)
    await say(ann, channel)  # 1
    await ann.call(MessagePin(channel=channel, seq=1))  # 2
    await say(ann, channel)  # 3
    await storage.prune(server.pool, 0)
    await ann.call(MessageUnpin(channel=channel, seq=1))  # 4
    other = await start()
    for cursor, reset, rest in ((0, True, []), (1, True, []), (2, False, [3, 4]), (3, False, [4]), (4, False, [])):
        phone, reply = await Phone.resume(other, access(bob), {channel: cursor})
        assert (reply["reset"] == [str(channel)], phone.seqs(channel)) == (reset, rest), cursor
        phone.abort()


# While others go on


async def test_live_facts_during_resumes_are_neither_lost_nor_doubled(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start, **UNBOUND)
    ann, bob = await connect("ann", to=one), await connect("bob", to=one)
    channel = await group(ann, bob)
    writers = [await Phone.open(node, access(ann)) for node in (one, other, one)]
    going = True

    async def write(phone: Phone) -> None:
        while going:
            numbers = phone.ask(*[MessageSend(channel=channel, text="x", nonce=uuid4()) for _ in range(5)])
            await phone.answers(numbers)

    writing = [asyncio.create_task(write(phone)) for phone in writers]
    cursor = 0
    for number in range(50):
        phone, reply = await Phone.resume((one, other)[number % 2], access(bob), {channel: cursor})
        assert reply["reset"] == []
        await phone.heard(channel, cursor + 1)
        if number % 3:
            await asyncio.sleep(0.01)
        phone.abort()
        seqs = phone.seqs(channel)
        assert seqs == list(range(cursor + 1, cursor + 1 + len(seqs)))
        cursor = seqs[-1 - number % 2] if len(seqs) > 1 else seqs[-1]
    going = False
    await asyncio.gather(*writing)
    head = writers[0].seqs(channel)[-1]
    phone, _ = await Phone.resume(other, access(bob), {channel: cursor})
    head = max(head, phone.seqs(channel)[-1] if phone.seqs(channel) else cursor)
    for writer in writers:
        assert await writer.heard(channel, head) == list(range(1, head + 1))
        writer.abort()
    phone.abort()


async def test_a_long_resume_amid_lively_channels_is_not_taken_for_slowness(
    server: Server, start: Starter, trio: Trio
) -> None:
    ann, bob, _ = trio
    quiet, lively = await old_group(server, me(ann), me(bob), 3000, "x" * 4000), await group(ann, bob)
    node = await start(**UNBOUND)
    writer = await Phone.open(node, access(ann))
    resuming = asyncio.create_task(Phone.resume(node, access(bob), {quiet: 0, lively: 0}))
    count = 0
    while not resuming.done():
        numbers = writer.ask(*[MessageSend(channel=lively, text="x", nonce=uuid4()) for _ in range(3)])
        await writer.answers(numbers)
        count += 3
    phone, reply = await resuming
    assert reply["reset"] == []
    assert phone.seqs(quiet) == list(range(1, 3001))
    assert await phone.heard(lively, count) == list(range(1, count + 1))
    writer.abort()
    phone.abort()


# Between nodes


async def test_without_redis_the_poll_delivers_within_little_more_than_a_second(
    start: Starter, connect: Connector
) -> None:
    one, other = [await start(redis_url="unix:///nowhere/redis.sock") for _ in range(2)]
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    channel = await group(ann, bob)
    phone = await Phone.open(other, access(bob))
    assert not one.bus.alive
    assert not other.bus.alive
    loop = asyncio.get_running_loop()
    for number in range(1, 4):
        began = loop.time()
        await say(ann, channel)
        assert await phone.heard(channel, number) == list(range(1, number + 1))
        assert loop.time() - began < 2.0
    phone.abort()


async def test_with_redis_other_nodes_hear_at_once(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    channel = await group(ann, bob)
    phone = await Phone.open(other, access(bob))
    await say(ann, channel)
    await phone.heard(channel, 1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(2, 22):
        await say(ann, channel)
        await phone.heard(channel, number)
    assert loop.time() - began < 1.5
    phone.abort()


async def test_a_lost_envelope_is_made_up_for_when_the_next_comes_and_else_within_a_second(
    start: Starter, connect: Connector
) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    channel = await group(ann, bob)
    phone = await Phone.open(other, access(bob))
    await say(ann, channel)
    await phone.heard(channel, 1)
    other.bus.unfollow([channel.bytes])
    await other.bus.settled()
    await say(ann, channel, "lost")
    await say(ann, channel, "lost, too")
    other.bus.follow([channel.bytes])
    await other.bus.settled()
    await say(ann, channel, "heard")
    assert await phone.heard(channel, 4, 2) == [1, 2, 3, 4]
    other.bus.unfollow([channel.bytes])
    await other.bus.settled()
    await say(ann, channel, "lost, and nothing after")
    assert await phone.heard(channel, 5, 3) == [1, 2, 3, 4, 5]
    phone.abort()


async def test_who_enters_a_channel_while_the_database_has_no_time_hears_it_all_the_same(
    start: Starter, connect: Connector
) -> None:
    one, other = await nodes(start, pool_size=2, acquire_timeout=0.2)
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    channel = await group(ann)
    phone = await Phone.open(other, access(bob))
    async with other.pool.transaction(), other.pool.transaction():
        await ann.call(ChannelAddMember(channel=channel, user=me(bob)))
        await phone.until(lambda: bool(phone.facts(me(bob))))
        await asyncio.sleep(0.5)
    await say(ann, channel)
    assert await phone.heard(channel, 2, 5) == [2]
    phone.abort()


# Hearing no more


@pytest.fixture(params=["with redis", "without redis"])
async def pair(request: pytest.FixtureRequest, start: Starter) -> list[Server]:
    """Two nodes, which hear of each other or don't."""
    if request.param == "with redis":
        return await nodes(start, **UNBOUND)
    return [await start(redis_url="unix:///nowhere/redis.sock", **UNBOUND) for _ in range(2)]


async def test_a_removed_member_hears_nothing_more_on_another_node(pair: list[Server], connect: Connector) -> None:
    one, other = pair
    ann, bob, cid = [await connect(name, to=one) for name in ("ann", "bob", "cid")]
    channel = await group(ann, bob, cid)
    bobs, cids = await Phone.open(other, access(bob)), await Phone.open(other, access(cid))
    await say(ann, channel)
    await bobs.heard(channel, 1)
    await ann.call(ChannelRemoveMember(channel=channel, user=me(bob)))
    for _ in range(20):
        await say(ann, channel, "canary")
    await cids.heard(channel, 22)
    await bobs.until(lambda: any(one["ev"] == "channel.left" for one in bobs.events))
    await bobs.call(SessionPing())
    assert bobs.seqs(channel) == [1]
    assert b"canary" not in b"".join(bobs.messages)
    for phone in (bobs, cids):
        phone.abort()


async def test_who_opens_sessions_while_being_removed_hears_nothing_after_the_removal(
    pair: list[Server], connect: Connector
) -> None:
    one, other = pair
    ann, bob, cid = [await connect(name, to=one) for name in ("ann", "bob", "cid")]
    channel = await group(ann, bob, cid)
    cids = await Phone.open(other, access(cid))
    for _ in range(8):
        phones: list[Phone] = []
        opening = [asyncio.create_task(_keep_opening(other, access(bob), phones)) for _ in range(3)]
        await asyncio.sleep(0.02)
        await ann.call(ChannelRemoveMember(channel=channel, user=me(bob)))
        seqs = [await say(ann, channel, "canary") for _ in range(5)]
        for one_ in opening:
            one_.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        seqs.append(await say(ann, channel, "canary"))
        await cids.heard(channel, seqs[-1])
        for phone in phones:
            if not phone.over:
                await phone.call(SessionPing())
            assert not any(seq >= seqs[0] for seq in phone.seqs(channel))
            phone.abort()
        await ann.call(ChannelAddMember(channel=channel, user=me(bob)))
    cids.abort()


async def _keep_opening(server: Server, token: str, phones: list[Phone]) -> None:
    while len(phones) < 40:
        phones.append(await Phone.open(server, token))


async def test_who_comes_back_into_a_channel_hears_it_from_there_on_once(
    pair: list[Server], connect: Connector
) -> None:
    one, other = pair
    ann, bob = await connect("ann", to=one), await connect("bob", to=one)
    channel = await group(ann)
    phone = await Phone.open(other, access(bob))
    for _ in range(10):
        await ann.call(ChannelAddMember(channel=channel, user=me(bob)))
        await say(ann, channel, "inside")
        await ann.call(ChannelRemoveMember(channel=channel, user=me(bob)))
        await say(ann, channel, "outside")
    await ann.call(ChannelAddMember(channel=channel, user=me(bob)))
    last = await say(ann, channel, "the end")
    await phone.heard(channel, last)
    heads = [fact["membership"]["head"] for fact in phone.facts(me(bob)) if fact["ev"] == "channel.joined"]
    assert len(heads) == 11
    entries = [number for number, one in enumerate(phone.events) if one["ev"] == "channel.joined"]
    after = [one["seq"] for one in phone.events[entries[-1] :] if one.get("stream") == str(channel)]
    assert after == list(range(heads[-1] + 1, last + 1))
    phone.abort()


# Comparing heads


async def test_a_ping_tells_which_heads_are_behind(server: Server, trio: Trio) -> None:
    ann, bob, _ = trio
    channel, other = await group(ann, bob), await group(ann)
    await say(ann, channel)
    await say(ann, channel)
    phone = await Phone.open(server, access(bob))
    heads = {channel: 1, me(bob): 1, other: 0}
    pong = await phone.call(SessionPing(heads=[Cursor(stream=stream, seq=seq) for stream, seq in heads.items()]))
    assert pong["behind"] == [{"stream": str(channel), "seq": 2}]
    phone.abort()


async def test_marks_of_one_device_reach_the_other_on_another_node(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=one)
    channel = await group(ann, bob)
    phone = await Phone.open(other, access(bob))
    await say(ann, channel)
    await bob.call(MessageMarkRead(channel=channel, seq=1))
    await phone.until(lambda: phone.facts(me(bob))[-1:] != [] and phone.facts(me(bob))[-1]["ev"] == "message.read")
    assert phone.facts(me(bob))[-1]["read"] == 1
    phone.abort()


async def test_who_came_while_the_database_was_away_is_looked_at_before_anything_is_told(
    server: Server, trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody was removed between being looked up and joining, and the second look finds no database."""
    ann, bob, _ = trio
    channel = await group(ann, bob)
    seq = await say(ann, channel)
    assert (await bob.wait_for(MessageCreated)).seq == seq
    stream = server.streams.get(channel)
    assert stream is not None
    [ctx] = [one for one in stream.audience if one.session is not None and one.session.account == me(bob)]
    await server.pool.execute("DELETE FROM member WHERE channel = $1 AND account = $2", channel, me(bob))
    stream.let_go(ctx)
    with monkeypatch.context() as away:
        away.setattr(server.vital, "_pool", None)
        server.streams.place(stream, ctx, stream.head, stream.access - 1)
        await asyncio.sleep(0.3)
        assert ctx.socket in stream.sockets, "nobody could look yet"
    seq = await say(ann, channel)
    async with asyncio.timeout(5):
        while ctx.socket in stream.sockets or stream.head < seq:
            await asyncio.sleep(0.02)
    assert all(fact.seq < seq for fact in bob._inbox._events if getattr(fact, "stream", None) == channel)
