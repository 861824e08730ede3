"""The journal: what is acknowledged is stored, once, in order, and by nobody who may not."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from protocol.channel import ChannelAddMember, ChannelRemoveMember
from protocol.error import Internal, Refusal
from protocol.message import MessageSend
from server import Config, Server
from storage.embedded import Embedded
from storage.entry import Entry
from storage.ids import new_id
from storage.journal import Journal
from storage.pool import Pool
from tests.chat import UNBOUND, Phone, direct, group, me, nodes, say, sql
from tests.conftest import QUICK, Connector, Starter
from tests.raw import until


def sends(channel: UUID, count: int) -> list[MessageSend]:
    """So many messages whose texts are their numbers."""
    return [MessageSend(channel=channel, text=str(number), nonce=uuid4()) for number in range(count)]


async def texts(server: Server, channel: UUID) -> list[str]:
    """All messages of a channel in order."""
    async with sql(server) as db:
        return [
            row["text"] for row in await db.fetch("SELECT text FROM message WHERE channel = $1 ORDER BY seq", channel)
        ]


# Once


async def test_a_thousand_nonces_each_sent_at_once_through_two_nodes_are_a_thousand_messages(
    start: Starter, connect: Connector
) -> None:
    one, other = await nodes(start, **UNBOUND)
    ann = await connect("ann", to=one)
    channel = await group(ann)
    here, there = await Phone.open(one, ann.tokens_given.access), await Phone.open(other, ann.tokens_given.access)
    frames = sends(channel, 1000)
    numbers = list(zip(here.ask(*frames), there.ask(*frames), strict=True))
    first = await here.answers([number for number, _ in numbers])
    second = await there.answers([number for _, number in numbers])
    assert [reply["ok"] for reply in first] == [reply["ok"] for reply in second]
    assert sorted(reply["ok"]["seq"] for reply in first) == list(range(1, 1001))
    assert sorted(map(int, await texts(one, channel))) == list(range(1000))
    for phone in (here, there):
        assert await phone.heard(channel, 1000) == list(range(1, 1001))
        phone.abort()


async def test_a_nonce_stands_for_one_message_and_is_a_conflict_in_another_channel(
    start: Starter, connect: Connector
) -> None:
    one, other = await nodes(start, **UNBOUND)
    ann = await connect("ann", to=one)
    left, right = await group(ann), await group(ann)
    here, there = await Phone.open(one, ann.tokens_given.access), await Phone.open(other, ann.tokens_given.access)
    nonces = [uuid4() for _ in range(200)]
    lefts = here.ask(*[MessageSend(channel=left, text="left", nonce=nonce) for nonce in nonces])
    rights = there.ask(*[MessageSend(channel=right, text="right", nonce=nonce) for nonce in nonces])
    outcomes = list(zip(await here.answers(lefts), await there.answers(rights), strict=True))
    for pair in outcomes:
        [refusal] = [reply["error"] for reply in pair if "error" in reply]
        assert (refusal["code"], refusal["field"]) == ("conflict", "nonce")
    assert len(await texts(one, left)) + len(await texts(one, right)) == 200
    again = await here.answers(here.ask(*[MessageSend(channel=left, text="x", nonce=nonce) for nonce in nonces]))
    assert [reply.get("ok") for reply in again] == [pair[0].get("ok") for pair in outcomes]


async def test_a_retry_gets_the_first_reply_whatever_else_it_says(start: Starter, connect: Connector) -> None:
    server = await start()
    ann = await connect("ann", to=server)
    channel = await group(ann)
    nonce = uuid4()
    first = await ann.call(MessageSend(channel=channel, text="first", nonce=nonce))
    await say(ann, channel)
    assert await ann.call(MessageSend(channel=channel, text="second", nonce=nonce)) == first
    assert await texts(server, channel) == ["first", "hello"]


async def test_two_people_may_use_one_nonce(start: Starter, connect: Connector) -> None:
    server = await start()
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    channel, nonce = await direct(ann, bob), uuid4()
    seqs = [(await one.call(MessageSend(channel=channel, text="x", nonce=nonce))).seq for one in (ann, bob)]
    assert seqs == [1, 2]


# In order


async def test_a_thousand_sends_in_one_write_on_a_cold_server_are_stored_in_the_order_sent(
    start: Starter, connect: Connector
) -> None:
    server = await start()
    ann = await connect("ann", to=server)
    channels = [await group(ann) for _ in range(3)]
    cold = await start(**UNBOUND)
    phone = await Phone.open(cold, ann.tokens_given.access)
    frames = [MessageSend(channel=channels[number % 3], text=str(number), nonce=uuid4()) for number in range(1000)]
    replies = await phone.answers(phone.ask(*frames))
    for part, channel in enumerate(channels):
        assert [reply["ok"]["seq"] for reply in replies[part::3]] == list(range(1, len(replies[part::3]) + 1))
        assert [int(text) for text in await texts(server, channel)] == list(range(part, 1000, 3))
    phone.abort()


async def test_sends_stay_in_order_while_others_come_and_go(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start, **UNBOUND)
    ann, bob, cid = [await connect(name, to=one) for name in ("ann", "bob", "cid")]
    channel = await group(ann, bob, cid)
    phone = await Phone.open(other, bob.tokens_given.access)
    numbers: list[int] = []

    async def come_and_go() -> None:
        for _ in range(10):
            await ann.call(ChannelRemoveMember(channel=channel, user=me(cid)))
            await ann.call(ChannelAddMember(channel=channel, user=me(cid)))

    going = asyncio.create_task(come_and_go())
    while not going.done():
        numbers += phone.ask(*sends(channel, 20))
        await asyncio.sleep(0.002)
    await going
    seqs = [reply["ok"]["seq"] for reply in await phone.answers(numbers)]
    assert seqs == sorted(seqs)
    assert len(seqs) > 200
    phone.abort()


# By nobody who may not


async def test_nothing_of_a_removed_member_is_stored_above_the_removal(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start, **UNBOUND)
    ann, bob = await connect("ann", to=one), await connect("bob", to=one)
    channel = await group(ann)
    phone = await Phone.open(other, bob.tokens_given.access)
    rounds, going = 200, True

    async def talk() -> None:
        while going:
            numbers = phone.ask(*sends(channel, 5))
            await phone.answer(numbers[0])

    talking = asyncio.create_task(talk())
    async with sql(one) as db:
        for _ in range(rounds):
            await ann.call(ChannelAddMember(channel=channel, user=me(bob)))
            spoken = "SELECT count(*) FROM message WHERE channel = $1"
            count = await db.fetchval(spoken, channel)
            async with asyncio.timeout(5):
                while await db.fetchval(spoken, channel) == count:
                    pass
            await ann.call(ChannelRemoveMember(channel=channel, user=me(bob)))
        going = False
        await talking
        rows = await db.fetch(
            """
            SELECT seq, kind FROM fact WHERE stream = $1
            UNION ALL SELECT seq, 'message' FROM message WHERE channel = $1 ORDER BY 1
            """,
            channel,
        )
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    inside, removals = False, 0
    for row in rows:
        if row["kind"] == "message":
            assert inside, f"message {row['seq']} came after a removal"
        else:
            inside = row["kind"] == "channel.member_joined"
            removals += not inside
    assert removals == rounds
    assert {reply["error"]["code"] for reply in phone.replies_.values() if "error" in reply} <= {"missing"}
    phone.abort()


# What goes wrong


class Sink(Entry):
    """An entry whose end can be waited for."""

    __slots__ = ("ended",)

    def __init__(self, channel: UUID, author: UUID, text: str, access: int) -> None:
        super().__init__(channel, author, uuid4(), text, access)
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def stored(self) -> None:
        self.ended.set_result(self.seq)

    def refused(self, refusal: Refusal) -> None:
        self.ended.set_exception(refusal)


async def nobody_decides(entries: object) -> None:
    raise AssertionError("every entry has its access version")


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    one = Pool(database, size=5, acquire_timeout=5, query_timeout=10)
    await one.start()
    yield one
    await one.stop()


async def streams(pool: Pool, count: int) -> list[UUID]:
    """Channels without anybody."""
    found = [new_id() for _ in range(count)]
    await pool.execute("INSERT INTO stream (id) SELECT unnest($1::uuid[])", found)
    return found


async def test_a_row_that_cannot_be_stored_fails_alone(pool: Pool) -> None:
    [channel] = await streams(pool, 1)
    author = new_id()
    committed: list[Entry] = []
    journal = Journal(pool.lane(), nobody_decides, committed.extend)
    entries = [Sink(channel, author, "poison\x00" if number == 7 else str(number), 1) for number in range(20)]
    for entry in entries:
        journal.append(entry)
    ends = await asyncio.gather(*(entry.ended for entry in entries), return_exceptions=True)
    assert isinstance(ends[7], Internal)
    assert [end for number, end in enumerate(ends) if number != 7] == list(range(1, 20))
    assert [entry.text for entry in committed] == [str(number) for number in range(20) if number != 7]
    await journal.stop()


async def test_opposed_orders_of_channels_on_two_nodes_never_deadlock(pool: Pool) -> None:
    channels = await streams(pool, 20)
    journals = [Journal(pool.lane(), nobody_decides, lambda entries: None) for _ in range(4)]
    ends = []
    for _ in range(40):
        for number, journal in enumerate(journals):
            for channel in channels if number % 2 else reversed(channels):
                entry = Sink(channel, new_id(), "x", 1)
                journal.append(entry)
                ends.append(entry.ended)
        await asyncio.sleep(0.001)
    await asyncio.gather(*ends)
    for journal in journals:
        await journal.stop()
    assert await pool.fetchval("SELECT count(*) FROM message") == len(ends)
    assert await pool.fetchval("SELECT max(head) || ' ' || min(head) FROM stream") == "160 160"
    await pool.execute("SELECT pg_stat_clear_snapshot(), pg_stat_force_next_flush()")
    assert await pool.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


async def test_more_than_can_wait_is_answered_overloaded_and_the_rest_is_stored(
    start: Starter, connect: Connector
) -> None:
    server = await start(**UNBOUND)
    ann = await connect("ann", to=server)
    channel = await group(ann)
    phones = [await Phone.open(server, ann.tokens_given.access) for _ in range(3)]
    async with sql(server) as db, db.transaction():
        await db.fetchval("SELECT head FROM stream WHERE id = $1 FOR UPDATE", channel)
        numbers = [phone.ask(*sends(channel, 4000)) for phone in phones]
        await until(lambda: server.posting.journal.waiting >= 10_000, 20)
        await until(lambda: any(phone.replies_.get(4001) for phone in phones), 20)
    replies = [reply for phone, asked in zip(phones, numbers, strict=True) for reply in await phone.answers(asked)]
    stored = [reply["ok"]["seq"] for reply in replies if "ok" in reply]
    errors = [reply["error"] for reply in replies if "error" in reply]
    assert {error["code"] for error in errors} == {"overloaded"}
    assert all(error["retry_after"] > 0 for error in errors)
    assert len(stored) >= 10_000
    assert sorted(stored) == list(range(1, len(stored) + 1))
    assert len(await texts(server, channel)) == len(stored)
    assert await say(ann, channel) == len(stored) + 1
    for phone in phones:
        phone.abort()


@pytest.fixture
async def own_postgres(folder: Path) -> AsyncIterator[Embedded]:
    embedded = Embedded(folder, redis=False)
    await embedded.start()
    yield embedded
    await embedded.stop()


async def test_nothing_acknowledged_is_lost_and_nothing_falsely_refused_when_postgresql_dies_under_load(
    own_postgres: Embedded, redis_url: str, folder: Path, connect: Connector
) -> None:
    values = {**QUICK, **UNBOUND, "data": folder, "database_url": own_postgres.database_url, "redis_url": redis_url}
    async with Server(Config(**values)) as server:
        ann = await connect("ann", to=server)
        channel = await group(ann)
        phone = await Phone.open(server, ann.tokens_given.access)
        frames = sends(channel, 4000)
        numbers: list[int] = []
        for at in range(0, len(frames), 50):
            numbers += phone.ask(*frames[at : at + 50])
            await asyncio.sleep(0.02)
            if at in (1000, 2500):
                os.kill(postmaster(own_postgres), signal.SIGKILL if at == 1000 else signal.SIGINT)
        replies = await phone.answers(numbers)
        errors = [reply["error"]["code"] for reply in replies if "error" in reply]
        assert set(errors) <= {"unavailable"}
        assert len(errors) < 4000
        async with sql(server) as db:
            rows = await db.fetch("SELECT nonce, seq FROM message WHERE channel = $1", channel)
        found = {row["nonce"]: row["seq"] for row in rows}
        told = {frame.nonce: reply["ok"]["seq"] for frame, reply in zip(frames, replies, strict=True) if "ok" in reply}
        assert {nonce: found.get(nonce) for nonce in told} == told
        assert sorted(found.values()) == list(range(1, len(found) + 1))
        assert await phone.heard(channel, len(found)) == list(range(1, len(found) + 1))
        again = await phone.answers(phone.ask(*frames))
        assert sorted(reply["ok"]["seq"] for reply in again) == list(range(1, 4001))
        phone.abort()


def postmaster(postgres: Embedded) -> int:
    """Its first process."""
    [(_, where)] = postgres.describe()
    return int(re.findall(r"pid (\d+)", where)[0])
