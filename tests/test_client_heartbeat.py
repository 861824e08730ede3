"""The client's heartbeat, and what it does about streams that are more than fit into a frame."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from protocol.client import Client, StreamReset
from protocol.codec import encode
from protocol.frame import Fact
from tests.library import Library, a_library, come, nothing_more, places
from tests.peer import ACCOUNT, no, tokens

ROOM, HALL = uuid4(), uuid4()


@pytest.fixture
async def library() -> AsyncIterator[Library]:
    async with a_library() as one:
        yield one


# What is more than fits into a frame


async def many(library: Library, client: Client, count: int) -> list[UUID]:
    """So many streams, followed; the last of them moved last."""
    streams = [uuid4() for _ in range(count)]
    for stream in streams:
        await library.tell(stream)
    await come(client, count)
    return streams


async def test_the_streams_that_moved_last_are_resumed_and_of_the_others_is_told_which_moved(library: Library) -> None:
    async with Client(library.url) as client:
        await client.open(tokens())
        streams = await many(library, client, 2500)
        library.cut()
        for stream in (streams[3], streams[10], streams[2400]):
            library.add(stream)
        events = await come(client, 3)
        assert places(events[:1]) == [(streams[2400], 2)]
        assert {event.stream for event in events[1:] if isinstance(event, StreamReset)} == {streams[3], streams[10]}
        await nothing_more(client)
        for stream in (streams[3], streams[4]):
            await library.tell(stream)
        assert places(await come(client, 2)) == [(streams[3], 3), (streams[4], 2)]
    assert library.cursors().keys() == {*streams[1501:], ACCOUNT}
    assert [request.get("wants") for request in library.asked("session.open")] == [None, []]
    assert len(encode(library.asked("session.resume")[0])) > library.hello["limits"]["frame_bytes_before_login"]
    heads = [one["stream"] for request in library.asked("session.ping") for one in request.get("heads", [])]
    assert {str(one) for one in streams[:1501]} <= set(heads)


async def test_a_fact_of_a_stream_that_was_not_resumed_tells_what_came_before_it(library: Library) -> None:
    library.answers["session.ping"] = lambda _: no("overloaded")
    async with Client(library.url) as client:
        await client.open(tokens())
        streams = await many(library, client, 1005)
        library.cut()
        library.add(streams[0])
        await library.sockets_made(2)
        while library.hearing is not library.socket:
            await asyncio.sleep(0.001)
        await library.tell(streams[0])
        await library.tell(streams[1])
        reset, *facts = await come(client, 3)
        assert reset == StreamReset(stream=streams[0])
        assert places(facts) == [(streams[0], 3), (streams[1], 2)]


async def test_cursors_fit_into_what_the_server_takes(library: Library) -> None:
    library.hello = {**library.hello, "limits": {**library.hello["limits"], "frame_bytes": 4000}}
    async with Client(library.url) as client:
        await client.open(tokens(access="t" * 500))
        streams = await many(library, client, 100)
        library.cut()
        for stream in streams:
            library.add(stream)
        events = await come(client, 100)
        named = library.cursors().keys() - {ACCOUNT}
        assert 50 < len(named) < 70
        assert {event.stream for event in events if isinstance(event, Fact)} == named
        assert {event.stream for event in events if isinstance(event, StreamReset)} == set(streams) - named


# The heartbeat


async def test_a_loss_that_nobody_noticed_is_found_at_the_next_heartbeat(library: Library) -> None:
    library.hello = {**library.hello, "heartbeat": 1}
    async with Client(library.url) as client:
        await client.open(tokens())
        await library.tell(ROOM)
        await library.tell(HALL)
        library.add(ROOM)
        assert places(await come(client, 3)) == [(ROOM, 1), (HALL, 1), (ROOM, 2)]
    heads = library.asked("session.ping")[0]["heads"]
    assert {(UUID(one["stream"]), one["seq"]) for one in heads} == {(ACCOUNT, 0), (ROOM, 1), (HALL, 1)}
    assert len(library.sockets) == 2


async def test_facts_that_are_on_their_way_are_waited_for(library: Library) -> None:
    library.hello = {**library.hello, "heartbeat": 1}
    async with Client(library.url) as client:
        await client.open(tokens())
        await library.tell(ROOM)
        late = library.add(ROOM)
        while not library.asked("session.ping"):
            await asyncio.sleep(0.01)
        await library.send(late)
        while len(library.asked("session.ping")) < 2:
            await asyncio.sleep(0.01)
        assert places(await come(client, 2)) == [(ROOM, 1), (ROOM, 2)]
    assert len(library.sockets) == 1
