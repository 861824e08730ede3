"""The tail: what is done behind facts is done once, soon, whoever does it, and whatever goes wrong."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from protocol.account import AccountRegister
from protocol.client import Client
from protocol.message import MessageDelete, MessageEdit, MessagePin, MessageSend
from server import Server
from server import tail as tails
from storage import tail
from storage.pool import Transaction
from storage.tail import Portion, Span
from tests.chat import UNBOUND, group, me, nodes, old_group, say, sql
from tests.conftest import Connector, Person, Starter
from tests.tail_node import DONE, Notes, a_node


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody looks often."""
    monkeypatch.setattr(tails, "_SWEEP_EVERY", 0.1)


async def noting(*servers: Server) -> None:
    """From now on it is written down what is done behind channels."""
    async with sql(servers[0]) as db:
        await db.execute(DONE)
    for number, one in enumerate(servers):
        one.tail.workers.append(Notes(str(number)))


async def done(server: Server, channel: UUID) -> list[int]:
    """What was done behind a channel, in the order in which it was."""
    rows = await server.pool.fetch("SELECT seq FROM done WHERE channel = $1 ORDER BY at, seq", channel)
    return [row["seq"] for row in rows]


async def settled(server: Server, *channels: UUID, timeout: float = 20) -> None:
    """Wait until nothing is left to do behind channels."""
    left = """
        SELECT count(*) FROM stream s LEFT JOIN tail t ON t.channel = s.id
         WHERE s.id = ANY ($1) AND s.head > coalesce(t.seq, 0)
    """
    async with asyncio.timeout(timeout):
        while await server.pool.fetchval(left, list(channels)):
            await asyncio.sleep(0.02)


async def test_what_this_process_has_stored_is_not_read_again(
    server: Server, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await noting(server)
    channel = await group(ann, bob)
    await settled(server, channel)
    read: list[object] = []
    reads = tail.read

    async def noticed(tx: Transaction, spans: Sequence[Span]) -> list[Portion]:
        read.extend(spans)
        return await reads(tx, spans)

    monkeypatch.setattr(tail, "read", noticed)
    said = [await say(ann, channel, str(number)) for number in range(20)]
    await settled(server, channel)
    assert (await done(server, channel))[-20:] == said
    assert not read
    assert not server.posting._fresh
    await ann.call(MessageEdit(channel=channel, seq=said[3], text="otherwise"))
    await settled(server, channel)
    assert read


async def test_everything_is_handed_to_every_worker_once_and_in_order(server: Server, ann: Person, bob: Person) -> None:
    seen: list[Portion] = []

    async def watch(tx: Transaction, portions: Sequence[Portion]) -> None:
        seen.extend(portions)

    await noting(server)
    server.tail.workers.append(watch)
    channel = await group(ann, bob)
    first, second = await say(ann, channel, "one"), await say(bob, channel, "two", mentions=[me(ann)])
    await settled(server, channel)
    await ann.call(MessageEdit(channel=channel, seq=first, text="one, again"))
    await ann.call(MessagePin(channel=channel, seq=second))
    await bob.call(MessageDelete(channel=channel, seq=second))
    await settled(server, channel)
    assert await done(server, channel) == [1, 2, 3, 4, 5]
    created = [one for portion in seen for one in portion.created]
    assert [(one.text, one.mentions) for one in created] == [("one", []), ("two", [me(ann)])]
    assert {one.text for portion in seen for one in portion.changed if one.seq == first} == {"one, again"}
    assert [seq for portion in seen for seq in portion.deleted] == [second]
    kinds = [fact.kind for portion in seen for fact in portion.facts]
    assert kinds == ["message.edited", "message.pinned", "message.deleted"]
    assert [portion.span.after for portion in seen[1:]] == [portion.span.last for portion in seen[:-1]]


async def test_two_nodes_do_everything_once_between_them(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start, **UNBOUND)
    await noting(one, other)
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    channels = [await group(ann, bob, name=str(number)) for number in range(5)]
    for _ in range(20):
        frames = [MessageSend(channel=channel, text=str(n), nonce=uuid4()) for n in range(3) for channel in channels]
        await asyncio.gather(*[(ann, bob)[number % 2].call(frame) for number, frame in enumerate(frames)])
        await asyncio.sleep(0.1)
    await settled(one, *channels)
    for channel in channels:
        assert await done(one, channel) == list(range(1, 61))
    assert await one.pool.fetchval("SELECT count(DISTINCT worker) FROM done") == 2


@pytest.mark.slow
async def test_it_comes_within_two_seconds_under_load(start: Starter, connect: Connector) -> None:
    one = await start(**UNBOUND)
    await noting(one)
    ann = await connect("ann", to=one)
    channels = [await group(ann, name=str(number)) for number in range(20)]

    async def talk(channel: UUID) -> None:
        for number in range(100):
            await say(ann, channel, f"the {number}th thing that is said here, and not the last one")

    await asyncio.gather(*map(talk, channels))
    await settled(one, *channels)
    late = "SELECT max(d.at - m.sent_at) FROM done d JOIN message m USING (channel, seq)"
    assert await one.pool.fetchval(late) < timedelta(seconds=2)
    assert await one.pool.fetchval("SELECT count(*) FROM done") == 2000
    assert one.tail.facts == 2000


async def test_what_nobody_has_taken_up_is_found(server: Server, ann: Person, bob: Person) -> None:
    await noting(server)
    channel = await old_group(server, me(ann), me(bob), 50)
    await server.pool.execute("UPDATE stream SET moved_at = now() - interval '1 minute' WHERE id = $1", channel)
    await settled(server, channel)
    assert await done(server, channel) == list(range(1, 51))


async def test_all_channels_are_looked_at_some_at_a_time(
    server: Server, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "_SWEEP_EVERY", 3600)
    await asyncio.sleep(0.3)
    channels = [await old_group(server, me(ann), me(bob), number % 2) for number in range(7)]
    await server.pool.execute("UPDATE stream SET moved_at = now() - interval '1 minute'")
    after, looks, found = UUID(int=0), 0, list[UUID]()
    while looks < 3:
        last, left = await tail.behind(server.pool, after, 3)
        assert (last is None) == (looks == 2)
        found, looks, after = found + left, looks + 1, last or after
    assert sorted(found) == sorted(channels[1::2])


async def test_a_channel_with_very_much_does_not_hold_up_the_others(server: Server, ann: Person, bob: Person) -> None:
    await noting(server)
    large, small = await old_group(server, me(ann), me(bob), 5000), await group(ann)
    server.streams.touched.add(large)
    await say(ann, small)
    await settled(server, large, small)
    assert await done(server, large) == list(range(1, 5001))
    before = "SELECT count(*) FROM done WHERE channel = $1 AND at < (SELECT at FROM done WHERE channel = $2)"
    assert await server.pool.fetchval(before, large, small) < 2500


async def test_a_fact_at_which_a_worker_fails_is_left_out_by_that_worker_alone(
    server: Server, ann: Person, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[int] = []

    async def poisoned(tx: Transaction, portions: Sequence[Portion]) -> None:
        await tx.execute("INSERT INTO done (channel, seq, kind) SELECT $1, 0, 'poisoned'", portions[0].span.channel)
        for one in (message for portion in portions for message in portion.created):
            tried.append(one.seq)
            if one.text == "poison":
                await tx.fetchval("SELECT 1 / 0")

    server.tail.workers.insert(0, poisoned)
    await noting(server)
    channel, other = await group(ann), await group(ann)
    for text in ("before", "poison", "behind"):
        await ann.call(MessageSend(channel=channel, text=text, nonce=uuid4()))
    await say(ann, other)
    await settled(server, channel, other)
    await say(ann, channel, "later")
    await settled(server, channel)
    assert [seq for seq in await done(server, channel) if seq] == [1, 2, 3, 4]
    assert await done(server, other) != []
    assert server.tail.left_out == 1
    assert f"fact 2 of channel {channel} is left out" in caplog.text
    assert "poison" not in [record.getMessage() for record in caplog.records]
    assert await server.pool.fetchval("SELECT count(*) FROM search WHERE channel = $1", channel) == 4
    assert tried.count(2) <= 4


async def test_it_goes_on_when_the_database_is_back(
    server: Server, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "_AGAIN", 0.05)
    lost: list[int] = []

    async def cut(tx: Transaction, portions: Sequence[Portion]) -> None:
        if len(lost) < 3:
            lost.append(1)
            await tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    await noting(server)
    server.tail.workers.append(cut)
    channel = await group(ann)
    for _ in range(3):
        await say(ann, channel)
    await settled(server, channel)
    assert len(lost) == 3
    assert await done(server, channel) == [1, 2, 3]
    assert server.tail.left_out == 0


async def test_nothing_is_done_behind_a_channel_that_is_about_to_go(server: Server, ann: Person, bob: Person) -> None:
    await noting(server)
    channel = await old_group(server, me(ann), me(bob), 10)
    async with server.pool.transaction() as tx:
        await tx.execute(
            "INSERT INTO grave (channel, by, taken_until) VALUES ($1, $2, now() + interval '1 h')", channel, me(ann)
        )
        assert (await tail.take(tx, [channel], 5)).spans == []
    server.streams.touched.add(channel)
    await asyncio.sleep(0.6)
    assert await done(server, channel) == []


# Killed


@pytest.mark.slow
async def test_what_a_killed_node_was_doing_is_done_once_by_another(
    server: Server, redis_url: str, folder: Path
) -> None:
    async with sql(server) as db:
        await db.execute(DONE)
    server.tail.workers.append(Notes("here", 0.02))
    working = "SELECT count(*) FROM done WHERE worker = $1"
    database, channels, said = server.config.database_url, list[UUID](), 0
    for number in range(3):
        async with a_node(database, redis_url, folder, f"child {number}") as url, Client(url, reconnect=False) as ann:
            await ann.open(await ann.call(AccountRegister(username=f"ann{number}", password=Person.password)))
            own = [await group(ann) for _ in range(4)]
            channels += own
            async with asyncio.timeout(20):
                while await server.pool.fetchval(working, f"child {number}") < 20:
                    await asyncio.gather(*[say(ann, channel) for channel in own])
                    said += len(own)
    await settled(server, *channels)
    rows = await server.pool.fetch("SELECT channel, seq, count(*) FROM done GROUP BY 1, 2")
    assert [row["count"] for row in rows] == [1] * said
    assert await server.pool.fetchval(working, "here") > 0
