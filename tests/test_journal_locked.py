"""The journal where somebody else holds a channel: those who write there wait, and nobody else does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from protocol.channel import ChannelAddMember, ChannelRemoveMember
from protocol.error import Internal, Refusal, Unavailable
from protocol.message import MessageSend
from server import Server
from storage.entry import Entry
from storage.ids import new_id
from storage.journal import Journal
from storage.pool import Pool
from tests.chat import UNBOUND, Phone, direct, group, me, nodes, refused, say, sql
from tests.conftest import Connector, Starter
from tests.raw import until

HOLD = "SELECT head FROM stream WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE"
REMOVED = "SELECT max(seq) FROM fact WHERE stream = $1 AND kind = 'channel.member_left'"
TEXTS = "SELECT text FROM message WHERE channel = $1 ORDER BY seq"


@asynccontextmanager
async def held(server: Server, *channels: UUID) -> AsyncIterator[Any]:
    """A transaction of somebody else that holds channels."""
    async with sql(server) as db, db.transaction():
        await db.execute(HOLD, channels)
        yield db


async def texts(server: Server, channel: UUID) -> list[str]:
    """All messages of a channel in order."""
    async with sql(server) as db:
        return [row["text"] for row in await db.fetch(TEXTS, channel)]


def sends(channel: UUID, first: int, count: int) -> list[MessageSend]:
    """So many messages whose texts are their numbers."""
    return [MessageSend(channel=channel, text=str(first + n), nonce=uuid4()) for n in range(count)]


@pytest.mark.parametrize("cold", [False, True], ids=["known", "cold"])
async def test_a_held_channel_delays_its_own_messages_only_and_they_come_after_in_order_and_once(
    start: Starter, connect: Connector, cold: bool
) -> None:
    server = await start(**UNBOUND)
    ann = await connect("ann", to=server)
    left, right, free = await group(ann), await group(ann), await group(ann)
    if cold:
        server = await start(**UNBOUND)
    phone, talker = [await Phone.open(server, ann.tokens_given.access) for _ in range(2)]
    if not cold:
        for channel in (left, right):
            await phone.call(sends(channel, -1, 1)[0])
    numbers, loop, worst = dict[UUID, list[int]]({left: [], right: []}), asyncio.get_running_loop(), 0.0
    async with held(server, left, right):
        end, sent = loop.time() + 3, 0
        while (before := loop.time()) < end:
            for channel in (left, right):
                numbers[channel] += phone.ask(*sends(channel, sent, 3))
            sent += 3
            await talker.call(sends(free, sent, 1)[0])
            worst = max(worst, loop.time() - before)
            await asyncio.sleep(0.01)
        assert worst < 0.5
        assert sent > 100
        assert not any(number in phone.replies_ for asked in numbers.values() for number in asked)
        assert set(server.posting.journal.aside) == {left, right}
    for channel, asked in numbers.items():
        told = [reply["ok"]["seq"] for reply in await phone.answers(asked)]
        assert told == list(range(told[0], told[0] + sent))
        assert [int(text) for text in await texts(server, channel) if text != "-1"] == list(range(sent))
        assert await phone.heard(channel, told[-1]) == list(range(1, told[-1] + 1))
    await until(lambda: not server.posting.journal.aside)
    assert server.posting.journal.waiting == 0
    for one in (phone, talker):
        one.abort()


async def test_who_was_removed_while_the_channel_was_held_is_not_heard_in_it(
    start: Starter, connect: Connector
) -> None:
    server = await start(**UNBOUND)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    channel = await group(ann, bob)
    await say(bob, channel)
    phone = await Phone.open(server, bob.tokens_given.access)
    async with held(server, channel) as db:
        numbers = phone.ask(*sends(channel, 0, 20))
        await until(lambda: channel in server.posting.journal.aside)
        await db.execute("DELETE FROM member WHERE channel = $1 AND account = $2", channel, me(bob))
        await db.execute("UPDATE stream SET access = access + 1 WHERE id = $1", channel)
    assert {reply["error"]["code"] for reply in await phone.answers(numbers)} == {"missing"}
    assert await texts(server, channel) == ["hello"]
    assert await say(ann, channel) == 2
    phone.abort()


async def test_a_removal_that_waits_for_a_held_channel_together_with_messages_ends_them(
    start: Starter, connect: Connector
) -> None:
    one, other = await nodes(start, **UNBOUND)
    ann, bob = await connect("ann", to=one), await connect("bob", to=one)
    channel = await group(ann)
    phone = await Phone.open(other, bob.tokens_given.access)
    for _ in range(5):
        await ann.call(ChannelAddMember(channel=channel, user=me(bob)))
        async with held(one, channel):
            numbers = phone.ask(*sends(channel, 0, 20))
            await until(lambda: channel in other.posting.journal.aside)
            removal = asyncio.create_task(ann.call(ChannelRemoveMember(channel=channel, user=me(bob))))
            numbers += phone.ask(*sends(channel, 20, 20))
            await asyncio.sleep(0.05)
        await removal
        async with sql(one) as db:
            removed = await db.fetchval(REMOVED, channel)
        replies = await phone.answers(numbers)
        assert all(reply["ok"]["seq"] < removed for reply in replies if "ok" in reply)
        assert {reply["error"]["code"] for reply in replies if "error" in reply} <= {"missing"}
        late = phone.ask(*sends(channel, 40, 1))
        assert (await phone.answers(late))[0]["error"]["code"] == "missing"
    phone.abort()


async def test_a_message_sent_twice_to_a_held_channel_is_stored_once(start: Starter, connect: Connector) -> None:
    server = await start(**UNBOUND)
    ann = await connect("ann", to=server)
    channel = await group(ann)
    phone = await Phone.open(server, ann.tokens_given.access)
    frames = sends(channel, 0, 30)
    async with held(server, channel):
        numbers = phone.ask(*frames, *frames)
        await until(lambda: channel in server.posting.journal.aside)
        numbers += phone.ask(*frames)
        await asyncio.sleep(0.25)  # so that all of them have been tried at once
    seqs = [reply["ok"]["seq"] for reply in await phone.answers(numbers)]
    assert seqs[:30] == seqs[30:60] == seqs[60:] == list(range(seqs[0], seqs[0] + 30))
    assert await texts(server, channel) == [frame.text for frame in frames]
    phone.abort()


async def test_what_waits_for_a_held_channel_is_bounded_with_all_else(start: Starter, connect: Connector) -> None:
    server = await start(**UNBOUND)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    channel, other = await group(ann), await direct(ann, bob)
    phones = [await Phone.open(server, ann.tokens_given.access) for _ in range(3)]
    async with held(server, channel):
        numbers = [phone.ask(*sends(channel, 0, 4000)) for phone in phones]
        await until(lambda: server.posting.journal.waiting >= 10_000, 20)
        await until(lambda: any("error" in reply for phone in phones for reply in phone.replies_.values()), 20)
        assert await refused(bob, MessageSend(channel=other, text="x", nonce=uuid4())) == "overloaded"
    replies = [reply for phone, asked in zip(phones, numbers, strict=True) for reply in await phone.answers(asked)]
    stored = sorted(reply["ok"]["seq"] for reply in replies if "ok" in reply)
    assert stored == list(range(stored[0], stored[0] + len(stored)))
    assert len(stored) == len(await texts(server, channel)) >= 10_000
    assert {reply["error"]["code"] for reply in replies if "error" in reply} == {"overloaded"}
    assert await say(bob, other) == 1
    for phone in phones:
        phone.abort()


# The journal alone


class Sink(Entry):
    """An entry whose end can be waited for."""

    __slots__ = ("ended",)

    def __init__(self, channel: UUID, author: UUID, text: str) -> None:
        super().__init__(channel, author, uuid4(), text, 1)
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def stored(self) -> None:
        self.ended.set_result(self.seq)

    def refused(self, refusal: Refusal) -> None:
        if not self.ended.done():
            self.ended.set_exception(refusal)


async def nobody_decides(entries: object) -> None:
    raise AssertionError("every entry has its access version")


def new_journal(pool: Pool) -> Journal:
    return Journal(pool.lane(), nobody_decides, lambda entries: None)


def put(journal: Journal, channel: UUID, *words: str) -> list[asyncio.Future[int]]:
    """Append messages; their ends."""
    entries = [Sink(channel, new_id(), text) for text in words]
    for entry in entries:
        journal.append(entry)
    return [entry.ended for entry in entries]


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    one = Pool(database, size=5, acquire_timeout=5, query_timeout=10)
    await one.start()
    yield one
    await one.stop()


@pytest.fixture
async def holder(database: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def streams(pool: Pool, count: int) -> list[UUID]:
    """Channels without anybody."""
    found = [new_id() for _ in range(count)]
    await pool.execute("INSERT INTO stream (id) SELECT unnest($1::uuid[])", found)
    return found


@pytest.mark.parametrize(("count", "each"), [(20, 100), (300, 5)])
async def test_of_many_held_channels_each_goes_on_as_soon_as_it_is_free(
    pool: Pool, database: str, holder: "asyncpg.Connection[Any]", count: int, each: int
) -> None:
    journal, channels, [last] = new_journal(pool), await streams(pool, count), await streams(pool, 1)
    async with holder.transaction():
        await holder.execute(HOLD, channels)
        other = await asyncpg.connect(database)
        async with other.transaction():
            await other.execute(HOLD, [last])
            ends = {channel: put(journal, channel, *map(str, range(each))) for channel in [*channels, last]}
            await until(lambda: len(journal.aside) == count + 1)
        async with asyncio.timeout(1):
            assert await asyncio.gather(*ends[last]) == list(range(1, each + 1))
        assert not any(end.done() for channel in channels for end in ends[channel])
        await other.close()
    async with asyncio.timeout(5):
        for channel in channels:
            assert await asyncio.gather(*ends[channel]) == list(range(1, each + 1))
    await until(lambda: not journal.aside)
    await journal.stop()


async def test_a_row_that_cannot_be_stored_fails_alone_also_where_others_wait(
    pool: Pool, holder: "asyncpg.Connection[Any]"
) -> None:
    journal, [one, other] = new_journal(pool), await streams(pool, 2)
    words = ["a", "b", "poison\x00", "c", "d"]
    async with holder.transaction():
        await holder.execute(HOLD, [one])
        ends = put(journal, one, *words) + put(journal, other, *words)
        free = await asyncio.gather(*ends[5:], return_exceptions=True)
        assert [end for end in free if isinstance(end, int)] == [1, 2, 3, 4]
        assert isinstance(free[2], Internal)
        assert not ends[0].done()
        ends += put(journal, one, "e")
    waited = await asyncio.gather(*ends[:5], ends[10], return_exceptions=True)
    assert [end for end in waited if isinstance(end, int)] == [1, 2, 3, 4, 5]
    assert isinstance(waited[2], Internal)
    rows = await pool.fetch(TEXTS, one)
    assert [row["text"] for row in rows] == ["a", "b", "c", "d", "e"]
    await journal.stop()


async def test_messages_that_are_stored_one_by_one_keep_their_order_when_their_channel_comes_free(
    pool: Pool, holder: "asyncpg.Connection[Any]"
) -> None:
    journal, [channel] = new_journal(pool), await streams(pool, 1)
    words = [*map(str, range(10)), "poison\x00"]
    async with holder.transaction():
        await holder.execute(HOLD, [channel])
        ends = put(journal, channel, *words)
        await asyncio.sleep(0.25)  # two of them could have been tried in vain
    assert (await asyncio.gather(*ends, return_exceptions=True))[:10] == list(range(1, 11))
    await journal.stop()


async def test_who_has_waited_aside_for_too_long_is_told_to_send_it_again(
    pool: Pool, holder: "asyncpg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.journal._PATIENCE", 0.5)
    journal, [held_one, free] = new_journal(pool), await streams(pool, 2)
    async with holder.transaction():
        await holder.execute(HOLD, [held_one])
        [end] = put(journal, held_one, "early")
        with pytest.raises(Unavailable):
            async with asyncio.timeout(3):
                await end
        assert await put(journal, free, "x")[0] == 1
        assert journal.waiting == 0
    assert await put(journal, held_one, "late")[0] == 1
    await journal.stop()


async def test_stopping_refuses_what_is_still_held_and_stores_all_else(
    pool: Pool, holder: "asyncpg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, [held_one, free] = new_journal(pool), await streams(pool, 2)
    async with holder.transaction():
        await holder.execute(HOLD, [held_one])
        waits = put(journal, held_one, *map(str, range(600)))
        await until(lambda: held_one in journal.aside)
        others = put(journal, free, *map(str, range(600)))
        monkeypatch.setattr("storage.journal._PATIENCE", 1.0)
        waits += put(journal, held_one, *map(str, range(600)))
        async with asyncio.timeout(3):
            await journal.stop()
        assert all(end.done() for end in waits)
        assert await asyncio.gather(*others) == list(range(1, 601))
        outcomes = await asyncio.gather(*waits, return_exceptions=True)
        assert all(isinstance(outcome, Unavailable) for outcome in outcomes)


async def test_processes_that_hammer_one_channel_wait_for_each_other_in_turn(pool: Pool) -> None:
    journals, [channel] = [new_journal(pool) for _ in range(2)], await streams(pool, 1)
    ends: list[asyncio.Future[int]] = []
    for _ in range(200):
        for journal in journals:
            ends += put(journal, channel, *"abcde")
        await asyncio.sleep(0.002)
    assert sorted(await asyncio.gather(*ends)) == list(range(1, 2001))
    assert [journal.held for journal in journals] == [0, 0]
    for journal in journals:
        await journal.stop()
