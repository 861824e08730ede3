"""Streams in doubt: what a socket should hear and does not, what was told and is not true, who hears only a part."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from protocol.api_key import ApiKeyCreate
from protocol.channel import ChannelCreate, ChannelGet, ChannelJoined, ChannelList, ChannelMute
from protocol.codec import encode
from protocol.draft import DraftSave, DraftSaved
from protocol.error import Conflict, Overloaded, RateLimited
from protocol.message import MessageCreated, MessageHistory, MessageMarkRead, MessageRead, MessageSend
from protocol.permission import Permission
from protocol.session import Cursor, SessionOpen, SessionPing, SessionResume
from server import Server
from server.audience import Batch
from server.core import frame
from server.limit import Limiter
from server.page import MOST_BYTES
from storage import stream as storage
from storage.ids import new_id
from tests.chat import Phone, group, me, nodes, say
from tests.community import community
from tests.conftest import Connector, Person, Starter
from tests.raw import until


def access(person: Person) -> str:
    return person.tokens_given.access


# What one should hear


async def test_a_ping_discovers_a_stream_that_the_socket_has_silently_lost(
    server: Server, ann: Person, bob: Person
) -> None:
    channel = await group(ann, bob)
    phone = await Phone.open(server, access(bob))
    seq = await say(ann, channel)
    await phone.heard(channel, seq)
    stream = server.streams.get(channel)
    assert stream is not None
    for ctx in stream.audience:
        stream.let_go(ctx)
    last = await say(ann, channel)
    reply = await phone.call(SessionPing(heads=[Cursor(stream=channel, seq=seq)]))
    assert reply["behind"] == [{"stream": str(channel), "seq": last}]
    reply = await phone.call(SessionPing(heads=[Cursor(stream=channel, seq=last)]))
    assert reply["behind"] == []
    phone.abort()


async def test_a_ping_tells_nothing_of_streams_that_are_none_of_ones_business(
    server: Server, ann: Person, bob: Person, stranger: Person
) -> None:
    channel = await group(ann)
    await say(ann, channel)
    for person in (bob, stranger):
        heads = [Cursor(stream=one, seq=0) for one in (channel, me(ann), new_id())]
        assert (await person.call(SessionPing(heads=heads))).behind == []


async def test_who_wants_no_messages_is_not_told_that_some_are_missing(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    await bob.call(SessionOpen(token=access(bob), wants=["typing"]))
    await say(ann, channel)
    assert (await bob.call(SessionPing(heads=[Cursor(stream=channel, seq=0)]))).behind == []


async def test_an_account_enters_a_channel_although_something_breaks_on_the_way(
    server: Server, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, broken = server.reach.place, asyncio.Event()

    async def breaks(*args: object) -> object:
        if not broken.is_set():
            broken.set()
            raise ZeroDivisionError
        return await place(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(server.reach, "place", breaks)
    channel = await group(ann, bob)
    seq = await say(ann, channel)
    assert (await bob.wait_for(MessageCreated, 10.0)).seq == seq
    assert broken.is_set()


@pytest.mark.parametrize("permission", ["history", "view"])
async def test_what_was_missed_is_not_sent_to_who_may_not_read_it_any_more(
    start: Starter, connect: Connector, monkeypatch: pytest.MonkeyPatch, permission: Permission
) -> None:
    """The right is lost while it is read for them; who still sees the channel hears what comes from then on."""
    here, there = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=here)
    club = await community(ann, bob)
    room = await club.room()
    last = [await say(ann, room, f"old {number}") for number in range(3)][-1]
    read = storage.missed

    async def too_late(db: Any, stream: UUID, *rest: Any) -> Any:
        if stream == room:
            await club.overwrite(room, deny=[permission])
        return await read(db, stream, *rest)

    monkeypatch.setattr(storage, "missed", too_late)
    phone, reply = await Phone.resume(there, access(bob), {room: 0})
    monkeypatch.setattr(storage, "missed", read)
    assert phone.facts(room) == []
    assert reply["reset"] == ([str(room)] if permission == "history" else [])
    seq = await say(ann, room, "new")
    if permission == "history":
        await phone.heard(room, seq)
        assert [fact["seq"] for fact in phone.facts(room)] == [seq] == [last + 1]
    else:
        assert (await phone.call(SessionPing(heads=[Cursor(stream=room, seq=0)])))["behind"] == []
        assert phone.facts(room) == []
    phone.abort()


# What is not true


async def test_a_stream_that_is_ahead_of_the_database_is_read_anew(start: Starter, connect: Connector) -> None:
    """As after a failover that has lost the last facts: what came after them must not be dropped."""
    here, there = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    channel = await group(ann, bob)
    phone = await Phone.open(there, access(bob))
    seq = await say(ann, channel)
    await phone.heard(channel, seq)
    stream = there.streams.get(channel)
    assert stream is not None
    there.streams.take(Batch(channel, stream.access, seq + 1, [frame(1, b'{"ev":"never.stored"}')] * 100))
    await until(lambda: phone.over, 10)
    assert phone.closed is not None and phone.closed[0] == 4503
    said = await say(ann, channel, "not lost")
    back, reply = await Phone.resume(there, access(bob), {channel: seq + 100})
    assert reply["reset"] == [str(channel)]
    page = await back.call(MessageHistory(channel=channel, known=said))
    assert page["messages"][-1]["text"] == "not lost"
    seq = await say(ann, channel, "heard again")
    await back.until(lambda: seq in back.seqs(channel))
    back.abort()


# Who hears only a part


async def test_a_key_for_messages_hears_channels_and_nothing_else_of_its_account(
    server: Server, ann: Person, bob: Person, connect: Connector
) -> None:
    first = await group(ann, bob)
    key = await ann.call(ApiKeyCreate(name="a bot", password=Person.password, scopes=["message.history"]))
    bot = await connect()
    await bot.open(key.secret)
    await ann.call(DraftSave(channel=first, text="canary"))
    await ann.call(ChannelMute(channel=first, until=None))
    await ann.wait_for(DraftSaved)
    seq = await say(bob, first)
    assert (await bot.wait_for(MessageCreated)).seq == seq
    second = await group(bob, ann)
    await until(lambda: (stream := server.streams.get(second)) is not None and len(stream.audience) == 3)
    seq = await say(bob, second, "in a channel that was entered later")
    assert (await bot.wait_for(MessageCreated)).stream == second
    await ann.call(MessageMarkRead(channel=second, seq=seq))
    await ann.wait_for(MessageRead)
    assert (await bot.call(SessionPing(heads=[Cursor(stream=me(ann), seq=0)]))).behind == []
    with pytest.raises(TimeoutError):
        await bot.wait_for(DraftSaved, timeout=0.2)


async def test_a_key_for_messages_resumes_without_its_accounts_own_facts(
    server: Server, ann: Person, bob: Person
) -> None:
    channel = await group(ann, bob)
    key = await ann.call(ApiKeyCreate(name="a bot", password=Person.password, scopes=["message.history"]))
    await ann.call(DraftSave(channel=channel, text="canary"))
    await say(bob, channel)
    phone = await Phone.connect(server.url)
    cursors = [Cursor(stream=me(ann), seq=0), Cursor(stream=channel, seq=0)]
    reply = await phone.call(SessionResume(token=key.secret, cursors=cursors))
    assert (reply["reset"], reply["head"]) == ([], 0)
    assert [one["ev"] for one in phone.events if "seq" in one] == ["message.created"]
    assert b"canary" not in b"".join(phone.messages)
    phone.abort()


async def test_a_key_for_channels_reads_no_words_with_them(ann: Person, bob: Person, connect: Connector) -> None:
    channel = await group(ann, bob)
    await say(bob, channel, "canary")
    key = await ann.call(ApiKeyCreate(name="a bot", password=Person.password, scopes=["channel"]))
    bot = await connect()
    opened = await bot.open(key.secret)
    made = await bot.call(ChannelCreate(name="own", nonce=new_id()))
    shown = [*opened.channels, *(await bot.call(ChannelList())).channels, await bot.call(ChannelGet(channel=channel))]
    assert [one.last for one in [*shown, made]] == [None] * 5
    assert (await ann.call(ChannelGet(channel=channel))).last is not None


# Opening


async def test_one_account_cannot_keep_the_door_busy(start: Starter, connect: Connector) -> None:
    server = await start()
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    server.limiter = Limiter(0.02)
    with pytest.raises(RateLimited) as refused:
        for _ in range(20):
            await ann.call(SessionOpen(token=access(ann)))
    assert refused.value.retry_after
    await bob.call(SessionOpen(token=access(bob)))


async def test_who_could_not_be_let_in_is_not_half_in(
    start: Starter, connect: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start(request_timeout=1)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    channel = await group(ann, bob)
    for _ in range(3):
        await say(ann, channel)

    async def never(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(storage, "missed", never)
    stream = server.streams.get(channel)
    assert stream is not None
    stream.forget()
    stranger = await connect(to=server)
    before = server.hub.logged_in
    with pytest.raises(Overloaded):
        await stranger.call(SessionResume(token=access(bob), cursors=[Cursor(stream=channel, seq=0)]))
    assert server.hub.logged_in == before
    assert all(ctx.session is not None for ctx in stream.audience)


async def test_a_request_with_an_id_in_flight_is_refused_and_not_done(server: Server, ann: Person) -> None:
    channel = await group(ann)
    phone = await Phone.open(server, access(ann))
    first, second = (MessageSend(id=7, channel=channel, text=text, nonce=new_id()) for text in ("first", "second"))
    phone.send(encode(first), encode(second))
    await phone.until(lambda: len([one for one in phone.messages if b'"re":7' in one]) == 2)
    assert sum(Conflict.code.encode() in one for one in phone.messages) == 1
    page = await ann.call(MessageHistory(channel=channel, known=1))
    assert [one.text for one in page.messages] == ["first"]
    phone.abort()


# Memory


async def test_only_small_pages_are_kept_in_memory(server: Server, ann: Person) -> None:
    channel = await group(ann)
    seq = await say(ann, channel)
    assert (await ann.wait_for(MessageCreated)).seq == seq
    stream = server.streams.get(channel)
    assert stream is not None
    await ann.call(MessageHistory(channel=channel, known=1))
    assert stream.page is not None
    for _ in range(20):
        seq = await say(ann, channel, "x" * 4000)
        page = await ann.call(MessageHistory(channel=channel, known=seq))
        assert page.messages[-1].seq == seq
        assert stream.page is None or stream.page.bytes <= MOST_BYTES
    assert stream.page is None


async def test_alone_a_node_publishes_nothing(server: Server, ann: Person, bob: Person) -> None:
    before = await _published(server)
    channel = await group(ann, bob)
    seq = [await say(ann, channel) for _ in range(20)][-1]
    await bob.wait_for(MessageCreated)
    await ann.call(MessageMarkRead(channel=channel, seq=seq))
    assert await _published(server) == before


async def test_with_another_node_facts_are_published(start: Starter, connect: Connector) -> None:
    here, _ = await nodes(start)
    ann = await connect("ann", to=here)
    before = await _published(here)
    await say(ann, await group(ann))
    assert await _published(here) > before


async def _published(server: Server) -> int:
    """How often Redis was asked to publish something."""
    import redis.asyncio

    client = redis.asyncio.from_url(server.config.redis_url)
    stats = await client.info("commandstats")
    await client.aclose()
    return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("publish", "spublish"))


async def test_what_was_read_for_one_who_comes_back_is_there_for_the_next(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start)
    ann = await connect("ann", to=here)
    channel = await group(ann)
    for number in range(50):
        await say(ann, channel, str(number))
    first, _ = await Phone.resume(there, access(ann), {channel: 0})
    fetched = there.streams.fetched
    assert fetched >= 50
    second, _ = await Phone.resume(there, access(ann), {channel: 10})
    assert there.streams.fetched == fetched
    assert second.facts(channel) == first.facts(channel)[10:]
    assert first.seqs(channel) == list(range(1, 51))
    for phone in (first, second):
        phone.abort()


# What everybody waits for


async def test_streams_go_on_while_requests_have_taken_all_connections(
    start: Starter, connect: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fact that must be read from the database, and a message that is decided anew."""
    server = await start(pool_size=2)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    channel = await group(ann, bob)
    assert (await bob.wait_for(ChannelJoined)).membership.channel.id == channel
    phone = await Phone.open(server, access(bob))
    async with server.pool.transaction(), server.pool.transaction():
        with monkeypatch.context() as silent:
            silent.setattr(server.streams, "committed", lambda batches: None)
            lost = await say(ann, channel, "told to nobody")
        seq = await say(ann, channel, "told")
        await phone.until(lambda: phone.seqs(channel) == [lost, seq], 3)
        server.grants.forget(channel)
        seq = await say(ann, channel, "decided anew")
        await phone.until(lambda: seq in phone.seqs(channel), 3)
    phone.abort()


async def test_two_commits_of_one_process_that_come_in_the_wrong_order_need_no_database(
    server: Server, ann: Person, bob: Person
) -> None:
    channel = await group(ann, bob)
    phone = await Phone.open(server, access(bob))
    await phone.heard(channel, await say(ann, channel))
    stream = server.streams.get(channel)
    assert stream is not None
    facts = [frame(1, b'{"ev":"some.fact","stream":"%b","seq":%d}' % (stream.key, seq)) for seq in (2, 3)]
    fetched = server.streams.fetched
    server.streams.take(Batch(channel, stream.access, 3, [facts[1]]))
    await asyncio.sleep(0.01)
    server.streams.take(Batch(channel, stream.access, 2, [facts[0]]))
    await phone.until(lambda: phone.seqs(channel) == [1, 2, 3], 1)
    assert server.streams.fetched == fetched
    phone.abort()
