"""The client and streams: every fact once and in order, whatever happens to connections; what is lost is told."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from protocol.channel import ChannelGet, ChannelLeft, ChannelList, Memberships
from protocol.client import Client, Disconnected, StreamReset
from protocol.frame import Fact
from protocol.message import MessageDeleted, MessageSent
from protocol.session import SessionClose, SessionPing
from protocol.typing import TypingStopped
from tests.library import START, Library, a_library, builtins, come, membership, nothing_more, places
from tests.peer import ACCOUNT, no, ok, tokens

ROOM, HALL, YARD = uuid4(), uuid4(), uuid4()


@pytest.fixture
async def library() -> AsyncIterator[Library]:
    async with a_library() as one:
        yield one


async def test_what_was_missed_comes_in_order_and_once_before_what_is_new(library: Library) -> None:
    library.shown, library.heads[ROOM] = [ROOM], 7
    async with Client(library.url) as client:
        await client.open(tokens())
        await library.tell(ROOM)
        assert places(await come(client, 1)) == [(ROOM, 8)]
        library.cut()
        for _ in range(3):
            library.add(ROOM)
        await library.sockets_made(2)
        await client.call(SessionPing())
        await library.tell(ROOM)
        assert places(await come(client, 4)) == [(ROOM, seq) for seq in range(9, 13)]
        await nothing_more(client)
    assert len(library.asked("session.open")) == 1
    assert library.cursors() == {ROOM: 8, ACCOUNT: 0}


async def test_a_fact_that_comes_twice_is_handed_out_once(library: Library) -> None:
    async with Client(library.url) as client:
        await client.open(tokens())
        for _ in range(3):
            await library.tell(ROOM)
        for fact in (library.facts[ROOM][2], library.facts[ROOM][0]):
            await library.send(fact)
        await library.tell(ROOM)
        assert places(await come(client, 4)) == [(ROOM, seq) for seq in range(1, 5)]
        await nothing_more(client)
    assert len(library.sockets) == 1


async def test_behind_a_gap_nothing_is_handed_out_until_it_is_filled(library: Library) -> None:
    async with Client(library.url) as client:
        await client.open(tokens())
        await library.tell(ROOM)
        library.add(ROOM)
        await library.tell(ROOM)
        await library.tell(HALL)
        assert places(await come(client, 4)) == [(ROOM, 1), (HALL, 1), (ROOM, 2), (ROOM, 3)]
        await nothing_more(client)
    assert library.cursors() == {ROOM: 1, HALL: 1, ACCOUNT: 0}


async def test_without_reconnecting_a_gap_is_the_end(library: Library) -> None:
    async with Client(library.url, reconnect=False) as client:
        await client.open(tokens())
        await library.tell(ROOM)
        library.add(ROOM)
        await library.tell(ROOM)
        assert places(await come(client, 1)) == [(ROOM, 1)]
        with pytest.raises(Disconnected):
            await come(client, 1)


async def test_a_replay_that_breaks_off_goes_on_from_where_it_was(library: Library) -> None:
    async with Client(library.url) as client:
        await client.open(tokens())
        await library.tell(ROOM)
        assert places(await come(client, 1)) == [(ROOM, 1)]
        library.cut_replay_after = 40
        library.cut()
        for _ in range(100):
            library.add(ROOM)
        assert places(await come(client, 100)) == [(ROOM, seq) for seq in range(2, 102)]
        await nothing_more(client)
    resumed = [request["cursors"] for request in library.asked("session.resume")]
    assert [one["seq"] for cursors in resumed for one in cursors if one["stream"] == str(ROOM)] == [1, 41]


async def test_heads_in_replies_begin_streams_but_never_move_them(library: Library) -> None:
    library.heads |= {ROOM: 5, HALL: 20}
    library.answers["channel.get"] = lambda _: ok(membership(ROOM, library.heads[ROOM]))
    library.answers["channel.list"] = lambda _: ok(
        Memberships(channels=[membership(HALL, 20), membership(YARD, 3, joined=False)], next=None)
    )
    async with Client(library.url) as client:
        await client.open(tokens())
        await client.call(ChannelGet(channel=ROOM))
        await client.call(ChannelList())
        fact = library.add(ROOM)
        await client.call(ChannelGet(channel=ROOM))  # tells a head whose fact is on its way
        await library.send(fact)
        assert places(await come(client, 1)) == [(ROOM, 6)]
        library.cut()
        library.add(HALL)
        assert places(await come(client, 1)) == [(HALL, 21)]
    assert library.cursors() == {ROOM: 6, HALL: 20, ACCOUNT: 0}


async def test_events_that_overtake_the_reply_of_a_session_are_held_and_sorted_out(library: Library) -> None:
    library.shown, library.heads[ROOM] = [ROOM], 3

    async def hastily(request: dict[str, Any]) -> dict[str, Any]:
        early = library.add(ROOM)
        reply = library.open(request)
        await library.send(early)
        await library.send({"ev": "typing.stopped", "channel": str(ROOM), "user": str(ACCOUNT)})
        await library.send(library.add(ROOM))
        return reply

    library.answers["session.open"] = hastily
    async with Client(library.url) as client:
        opened = await client.open(tokens())
        assert opened.channels[0].head == 4
        await library.tell(ROOM)
        typing, *facts = await come(client, 3)
        assert isinstance(typing, TypingStopped)
        assert places(facts) == [(ROOM, 5), (ROOM, 6)]
        await nothing_more(client)


async def test_a_flood_before_the_reply_of_a_session_costs_the_connection(library: Library) -> None:
    async def flood(_: dict[str, Any]) -> None:
        library.answers["session.open"], socket = library.open, library.socket
        for _number in range(20):
            await library.send(library.add(ROOM), socket)

    library.answers["session.open"] = flood
    async with Client(library.url, queue=10) as client:
        await client.open(tokens())
        await library.tell(ROOM)
        assert places(await come(client, 1)) == [(ROOM, 21)]
    assert len(library.sockets) == 2


async def test_events_that_came_before_a_refused_session_are_not_lost(library: Library) -> None:
    async def refuse(_: dict[str, Any]) -> dict[str, Any]:
        await library.send({"ev": "typing.stopped", "channel": str(ROOM), "user": str(ACCOUNT)})
        return no("forbidden")

    library.answers["session.open"] = refuse
    async with Client(library.url) as client:
        with pytest.raises(Exception, match="no"):
            await client.open("key")
        assert isinstance((await come(client, 1))[0], TypingStopped)


async def test_a_stream_that_nobody_can_replay_is_told_and_goes_on_from_its_head(library: Library) -> None:
    library.shown, library.reset = [ROOM], {ROOM, HALL}
    async with Client(library.url) as client:
        await client.open(tokens())
        await library.tell(ROOM)
        await library.tell(HALL)
        await come(client, 2)
        library.heads[ROOM] = library.heads[HALL] = 500
        library.cut()
        resets = await come(client, 2)
        assert {event.stream for event in resets if isinstance(event, StreamReset)} == {ROOM, HALL}
        await library.tell(ROOM)
        library.reset = set()
        assert places(await come(client, 1)) == [(ROOM, 501)]
        library.cut()
        await library.sockets_made(3)
        await nothing_more(client)
    assert library.cursors() == {ROOM: 501, ACCOUNT: 0}  # nothing is known of the other one any more


async def test_what_has_no_room_waits_on_the_server_and_calls_go_on(library: Library) -> None:
    async with Client(library.url, queue=10) as client:
        await client.open(tokens())
        await library.tell(ROOM)
        seqs = [seq for _, seq in places(await come(client, 1))]
        for _ in range(49):
            await library.tell(random.choice([ROOM, HALL]))
        while len(seqs) < 50:
            seqs += [seq for _, seq in places(await come(client, 1))]
            await client.call(SessionPing(), retry=True)
        await nothing_more(client)
    heads = sorted([library.heads[ROOM], library.heads[HALL]])
    assert sorted(seqs) == sorted([*range(1, heads[0] + 1), *range(1, heads[1] + 1)])
    assert 3 <= len(library.sockets) <= 15


async def test_a_reset_that_has_no_room_is_told_later(library: Library) -> None:
    library.shown = [ROOM]
    async with Client(library.url, queue=4) as client:
        await client.open(tokens())
        await library.tell(ROOM)
        await come(client, 1)
        for _ in range(6):
            await library.tell(HALL)
        library.reset, library.heads[ROOM] = {ROOM}, 50
        await client.call(SessionPing())
        library.cut()
        await library.sockets_made(2)
        await client.call(SessionPing(), retry=True)
        events = await come(client, 7)
        assert sum(isinstance(event, StreamReset) for event in events) == 1
        facts = [event for event in events if isinstance(event, Fact)]
        assert places(facts) == [(HALL, seq) for seq in range(1, 7)]


async def test_a_channel_that_was_left_is_forgotten(library: Library) -> None:
    library.shown = [ROOM, HALL]
    async with Client(library.url) as client:
        await client.open(tokens())
        left = {"channel": str(ROOM), "reason": "removed", "by": str(ACCOUNT)}
        await library.tell(ACCOUNT, "channel.left", **left)
        assert isinstance((await come(client, 1))[0], ChannelLeft)
        library.shown = [HALL]
        library.cut()
        await library.sockets_made(2)
        await nothing_more(client)
    assert library.cursors() == {HALL: 0, ACCOUNT: 1}


async def test_a_channel_that_was_left_while_away_is_not_told_as_reset(library: Library) -> None:
    library.shown = [ROOM]
    async with Client(library.url) as client:
        await client.open(tokens())
        library.cut()
        library.add(ACCOUNT, "channel.left", channel=str(ROOM), reason="removed", by=str(ACCOUNT))
        library.add(ROOM)
        library.shown, library.reset = [], {ROOM}
        assert isinstance((await come(client, 1))[0], ChannelLeft)
        await nothing_more(client)


async def test_a_channel_entered_while_away_is_caught_up_with(library: Library) -> None:
    async with Client(library.url) as client:
        await client.open(tokens())
        library.cut()
        joined = {"membership": builtins(membership(ROOM, 2)), "by": str(ACCOUNT)}
        library.add(ACCOUNT, "channel.joined", **joined)
        library.shown, library.heads[ROOM] = [ROOM], 2
        for _ in range(3):
            library.add(ROOM)
        events = places(await come(client, 4))
        assert events == [(ACCOUNT, 1), (ROOM, 3), (ROOM, 4), (ROOM, 5)]
        await nothing_more(client)


async def test_a_reply_from_before_a_channel_was_left_does_not_take_it_up_again(library: Library) -> None:
    library.shown, library.heads[ROOM] = [ROOM], 5

    async def late(request: dict[str, Any]) -> dict[str, Any]:
        await library.tell(ACCOUNT, "channel.left", channel=str(ROOM), reason="removed", by=str(ACCOUNT))
        return ok(membership(ROOM, 5))

    library.answers["channel.get"] = late
    async with Client(library.url) as client:
        await client.open(tokens())
        await client.call(ChannelGet(channel=ROOM))
        library.heads[ROOM] = 9
        joined = {"membership": builtins(membership(ROOM, 9)), "by": str(ACCOUNT)}
        await library.tell(ACCOUNT, "channel.joined", **joined)
        await library.tell(ROOM)
        assert places(await come(client, 3)) == [(ACCOUNT, 1), (ACCOUNT, 2), (ROOM, 10)]
        library.answers["channel.get"] = lambda _: ok(membership(HALL, 3))
        await client.call(ChannelGet(channel=HALL))  # asked for afterwards: believed
        library.heads[HALL] = 3
        library.cut()
        await library.sockets_made(2)
        await nothing_more(client)
    assert library.cursors() == {ROOM: 10, HALL: 3, ACCOUNT: 2}


async def test_a_channel_left_during_a_request_is_not_resumed(library: Library) -> None:
    library.shown = [ROOM]

    async def late(request: dict[str, Any]) -> dict[str, Any]:
        await library.tell(ACCOUNT, "channel.left", channel=str(ROOM), reason="removed", by=str(ACCOUNT))
        return ok(Memberships(channels=[membership(ROOM, 0), membership(HALL, 0)], next=None))

    library.answers["channel.list"] = late
    async with Client(library.url) as client:
        await client.open(tokens())
        await client.call(ChannelList())
        library.shown = [HALL]
        library.cut()
        await library.sockets_made(2)
        await come(client, 1)
        await nothing_more(client)
    assert library.cursors() == {HALL: 0, ACCOUNT: 1}


async def test_facts_that_only_newer_programs_know_keep_their_place(library: Library) -> None:
    async with Client(library.url) as client:
        await client.open(tokens())
        await library.tell(ROOM)
        await library.tell(ROOM, "poll.created", question="?")
        await library.tell(ROOM, "message.deleted", messages="of another form")
        await library.tell(ROOM)
        assert places(await come(client, 2)) == [(ROOM, 1), (ROOM, 4)]
        library.cut()
        await library.sockets_made(2)
        await nothing_more(client)
    assert library.cursors() == {ROOM: 4, ACCOUNT: 0}


async def test_a_session_that_was_closed_or_replaced_leaves_no_cursors(library: Library) -> None:
    library.answers["session.close"] = lambda _: {"ok": {}}
    async with Client(library.url) as client:
        await client.open(tokens())
        await library.tell(ROOM)
        await come(client, 1)
        await client.call(SessionClose())
        await client.open("another")
        library.cut()
        await library.sockets_made(2)
        await client.call(SessionPing(), retry=True)
        assert library.cursors() == {ACCOUNT: 0}
        await library.tell(HALL)
        await come(client, 1)
        await client.open("a third")
        library.cut()
        await library.sockets_made(3)
        await client.call(SessionPing(), retry=True)
        assert library.cursors() == {ACCOUNT: 0}


async def test_wants_are_told_each_time(library: Library) -> None:
    async with Client(library.url, wants=["messages", "typing"]) as client:
        await client.open(tokens())
        library.cut()
        await library.sockets_made(2)
        await client.call(SessionPing(), retry=True)
    told = [request["wants"] for request in library.requests if "token" in request]
    assert told == [["messages", "typing"]] * 2


async def test_who_wants_no_messages_has_nothing_to_resume(library: Library) -> None:
    library.shown = [ROOM]
    async with Client(library.url, wants=["typing"]) as client:
        await client.open(tokens())
        library.cut()
        await library.sockets_made(2)
        await client.call(SessionPing(), retry=True)
    assert [request["wants"] for request in library.asked("session.open")] == [["typing"]] * 2
    assert not library.asked("session.resume")


async def test_a_message_is_sent_with_the_same_nonce_until_it_is_answered(library: Library) -> None:
    def lose_twice(_: dict[str, Any]) -> dict[str, Any] | None:
        match len(library.asked("message.send")):
            case 1:
                library.cut()
                return None
            case 2:
                return no("overloaded", retry_after=0.01)
        return ok(MessageSent(seq=9, sent_at=START))

    library.answers["message.send"] = lose_twice
    async with Client(library.url) as client:
        await client.open(tokens())
        assert (await client.send(ROOM, "hi", reply_to=3, mentions=[ACCOUNT], silent=True)).seq == 9
        first, *others = library.asked("message.send")
        assert (first["text"], first["reply_to"], first["silent"]) == ("hi", 3, True)
        assert {request["nonce"] for request in others} == {first["nonce"]}
        assert len(others) == 2
        await client.send(ROOM, "hi")
        assert library.asked("message.send")[-1]["nonce"] != first["nonce"]


@pytest.mark.parametrize("seed", range(4))
async def test_a_thousand_facts_over_bad_connections_come_once_and_in_order(library: Library, seed: int) -> None:
    """Facts get lost and come twice, sockets are cut, and the program has little room."""
    chance = random.Random(seed)
    library.shown = streams = [uuid4() for _ in range(5)]
    lost, cut = chance.sample(range(900), 2), chance.sample(range(900), 3)

    async def trouble() -> None:
        sockets = 0
        for number in range(1000):
            stream = chance.choice(streams)
            fact = library.add(stream)
            if number not in lost:
                await library.repeat(fact)
            if number in cut:
                sockets = len(library.sockets)
                library.cut()
            if number - 30 in cut:
                await library.sockets_made(sockets + 1)
            if number % 20 == 0:
                await library.repeat(chance.choice(library.facts[stream]))
                await asyncio.sleep(0.005)
        for stream in streams:  # so that a loss at the end shows
            await library.tell(stream)

    async with Client(library.url, queue=chance.choice([50, 10_000])) as client:
        await client.open(tokens())
        making = asyncio.create_task(trouble())
        found = await come(client, 1005)
        await making
        await nothing_more(client)
    for stream in streams:
        seqs = [seq for where, seq in places(found) if where == stream]
        assert seqs == list(range(1, library.heads[stream] + 1))
    assert isinstance(found[-1], MessageDeleted)
    assert len(library.sockets) > 3
