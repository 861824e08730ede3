"""What falls due: who takes it has it for a while, the oldest first, and what fails is in nobody's way."""

import asyncio
from uuid import UUID

import pytest

import server.due
from protocol.ballot import NewPoll
from protocol.error import Unavailable
from protocol.poll import PollClosed
from server import Server, poll
from storage import due
from storage.due import Due
from tests.chat import group, say
from tests.conftest import Person

SOON = 6.0
YEARS = 10**9


async def keep(server: Server, stream: UUID, *ahead: float) -> None:
    """Rows that are due so many seconds from now, numbered from 1 on."""
    await server.pool.execute(
        """
        INSERT INTO due (kind, stream, seq, at) SELECT 'poll', $1, k, now() + make_interval(secs => a)
          FROM unnest($2::float8[]) WITH ORDINALITY AS t(a, k)
        """,
        stream,
        list(ahead),
    )


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers look for nothing: the test does."""
    monkeypatch.setattr(server.due, "_EVERY", YEARS)


async def test_the_oldest_are_taken_first_and_what_is_not_due_is_not(idle: None, server: Server, ann: Person) -> None:
    channel = await group(ann)
    await keep(server, channel, -5, 60, -7, -1, -3)
    assert {one.seq for one in await due.take(server.pool, 2)} == {1, 3}
    assert set(await due.take(server.pool, 10)) == {Due("poll", channel, 5), Due("poll", channel, 4)}
    assert await due.take(server.pool, 10) == []


async def test_what_is_taken_is_free_for_others_after_a_while(idle: None, server: Server, ann: Person) -> None:
    channel = await group(ann)
    await keep(server, channel, -5)
    [one] = await due.take(server.pool, 10)
    left = await due.due_in(server.pool)
    assert left is not None and due.TAKEN - 5 < left <= due.TAKEN
    await due.put_off(server.pool, one, 0)
    assert await due.take(server.pool, 10) == [one]


async def test_many_who_look_at_once_take_each_once(idle: None, server: Server, ann: Person) -> None:
    await keep(server, await group(ann), *[-1] * 200)
    found = await asyncio.gather(*(due.take(server.pool, 50) for _ in range(8)))
    seqs = sorted(one.seq for some in found for one in some)
    assert seqs == list(range(1, 201))


async def test_nothing_is_due_where_there_is_nothing(idle: None, server: Server, ann: Person) -> None:
    assert await due.due_in(server.pool) is None
    await keep(server, await group(ann), 3600)
    left = await due.due_in(server.pool)
    assert left is not None and 3590 < left <= 3600


@pytest.mark.parametrize("failure", [RuntimeError("broken"), Unavailable("no database")])
async def test_what_fails_keeps_no_other_from_its_turn_and_is_tried_again(
    server: Server, ann: Person, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr("server.due._EVERY", 0.05)
    channel, tries = await group(ann), 0
    first, second = [await say(ann, channel, poll=NewPoll(options=["tea", "coffee"])) for _ in range(2)]

    async def fails_once(app: Server, one: Due) -> None:
        nonlocal tries
        tries += one.seq == first
        if one.seq == first and tries == 1:
            raise failure
        await poll.fall_due(app, one)

    monkeypatch.setitem(server.dues._kinds, "poll", fails_once)
    await keep(server, channel, -2, -1)
    assert (await ann.wait_for(PollClosed, SOON)).message == second
    assert await server.pool.fetchval("SELECT at > now() + interval '10 s' FROM due WHERE seq = $1", first)
    await server.pool.execute("UPDATE due SET at = now()")
    assert (await ann.wait_for(PollClosed, SOON)).message == first
    assert tries == 2
