"""message: reading pages, and how far everybody is."""

from uuid import UUID

import pytest

from protocol.channel import ChannelAddMember
from protocol.message import (
    MessageAround,
    MessageCreated,
    MessageDelete,
    MessageEdit,
    MessageHistory,
    MessageMarkDelivered,
    MessageMarkRead,
    MessagePin,
    MessageRead,
    MessageReaders,
    MessageReceipt,
    Messages,
    MessageSend,
)
from protocol.reaction import ReactionAdd
from server import Server
from tests.chat import (
    UNBOUND,
    Phone,
    device,
    direct,
    group,
    history,
    me,
    nodes,
    refused,
    registered,
    say,
    sql,
    standing,
)
from tests.conftest import Connector, Person, Starter


async def filled(person: Person, channel: UUID, server: Server, count: int) -> None:
    """So many messages whose texts are their seqs, and one fact in between: the 11th."""
    async with sql(server) as db:
        await db.execute(
            """
            INSERT INTO message (channel, seq, author, nonce, sent_at, text)
            SELECT $1, n, $2, gen_random_uuid(), now(), n::text FROM generate_series(1, $3::int) n WHERE n <> 11
            """,
            channel,
            me(person),
            count,
        )
        await db.execute("INSERT INTO fact VALUES ($1, 11, 'message.pinned', '{}', NULL)", channel)
        await db.execute("UPDATE stream SET head = $2 WHERE id = $1", channel, count)


def seqs(page: Messages) -> list[int]:
    return [one.seq for one in page.messages]


def shape(page: Messages) -> tuple[list[int], bool, bool]:
    """First and last seq, and whether there is more on either side."""
    found = seqs(page)
    assert found == sorted(found)
    return found[:1] + found[-1:], page.earlier, page.later


# Pages


async def test_an_empty_channel_has_an_empty_history(ann: Person) -> None:
    channel = await group(ann)
    for frame in (
        MessageHistory(channel=channel),
        MessageHistory(channel=channel, before=10),
        MessageHistory(channel=channel, after=0),
        MessageAround(channel=channel, seq=0),
        MessageAround(channel=channel, seq=100, limit=1),
    ):
        assert await ann.call(frame) == Messages(messages=[], head=0, earlier=False, later=False)


@pytest.mark.parametrize(
    ("fields", "found", "earlier", "later"),
    [
        ({}, [51, 100], True, False),
        ({"limit": 1}, [100, 100], True, False),
        ({"limit": 99}, [1, 100], False, False),
        ({"limit": 98}, [2, 100], True, False),
        ({"limit": 100}, [1, 100], False, False),
        ({"before": 51}, [1, 50], False, True),
        ({"before": 12, "limit": 5}, [6, 10], True, True),
        ({"before": 11, "limit": 5}, [6, 10], True, True),
        ({"before": 1}, [], False, True),
        ({"before": 0}, [], False, True),
        ({"before": 101, "limit": 1}, [100, 100], True, False),
        ({"before": 2**53 - 1, "limit": 1}, [100, 100], True, False),
        ({"after": 0, "limit": 3}, [1, 3], False, True),
        ({"after": 10, "limit": 3}, [12, 14], True, True),
        ({"after": 97, "limit": 3}, [98, 100], True, False),
        ({"after": 96, "limit": 3}, [97, 99], True, True),
        ({"after": 100}, [], True, False),
        ({"after": 2**53 - 1}, [], True, False),
        ({"after": 90, "before": 95}, [91, 94], True, True),
        ({"after": 0, "before": 4}, [1, 3], False, True),
    ],
)
async def test_history_is_what_lies_strictly_before_or_after(
    server: Server, ann: Person, fields: dict[str, int], found: list[int], earlier: bool, later: bool
) -> None:
    channel = await group(ann)
    await filled(ann, channel, server, 100)
    page = await ann.call(MessageHistory(channel=channel, **fields))
    assert shape(page) == (found, earlier, later)
    assert page.head == 100
    assert all(one.text == str(one.seq) for one in page.messages)


@pytest.mark.parametrize(
    ("seq", "limit", "found", "earlier", "later"),
    [
        (50, 10, [45, 54], True, True),
        (50, 1, [50, 50], True, True),
        (11, 4, [9, 13], True, True),
        (1, 10, [1, 5], False, True),
        (0, 10, [1, 5], False, True),
        (100, 10, [95, 100], True, False),
        (101, 10, [96, 100], True, False),
        (5000, 10, [96, 100], True, False),
        (50, 100, [1, 99], False, True),
    ],
)
async def test_around_is_half_before_and_half_from_there_on(
    server: Server, ann: Person, seq: int, limit: int, found: list[int], earlier: bool, later: bool
) -> None:
    channel = await group(ann)
    await filled(ann, channel, server, 100)
    page = await ann.call(MessageAround(channel=channel, seq=seq, limit=limit))
    assert shape(page) == (found, earlier, later)
    assert len(page.messages) <= limit
    assert page.head == 100


@pytest.mark.parametrize("limit", [0, 101, -1])
async def test_pages_have_bounds(ann: Person, limit: int) -> None:
    channel = await group(ann)
    assert await refused(ann, MessageHistory(channel=channel, limit=limit)) == "invalid"
    assert await refused(ann, MessageAround(channel=channel, seq=1, limit=limit)) == "invalid"


async def test_walking_back_and_forth_meets_every_message_once(server: Server, ann: Person) -> None:
    channel = await group(ann)
    await filled(ann, channel, server, 100)
    everything = [seq for seq in range(1, 101) if seq != 11]
    back: list[int] = []
    page = await ann.call(MessageHistory(channel=channel, limit=7))
    while page.messages:
        back = seqs(page) + back
        assert page.earlier == (page.messages[0].seq > 1)
        page = await ann.call(MessageHistory(channel=channel, before=page.messages[0].seq, limit=7))
    forth: list[int] = []
    page = await ann.call(MessageHistory(channel=channel, after=0, limit=7))
    while page.messages:
        forth += seqs(page)
        assert page.later == (page.messages[-1].seq < 100)
        page = await ann.call(MessageHistory(channel=channel, after=page.messages[-1].seq, limit=7))
    assert back == forth == everything


# Memory


async def test_every_page_is_one_query_and_the_newest_none(start: Starter, connect: Connector) -> None:
    server = await start(**UNBOUND)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    channel = await group(ann, bob)
    for _ in range(60):
        await say(ann, channel)
    await history(ann, channel)  # how ann and bob stand there is known by now
    await history(bob, channel)

    async def queries(person: Person, **fields: int) -> int:
        """Of several tries the one in which nothing else was going on."""
        found = []
        for _ in range(5):
            before = server.pool.queries
            await history(person, channel, **fields)
            found.append(server.pool.queries - before)
        return min(found)

    assert [await queries(person) for person in (ann, bob, ann)] == [0, 0, 0]
    assert await queries(bob, limit=1) == 0
    assert await queries(bob, known=60) == 0
    assert await queries(bob, limit=100) == 1
    assert await queries(bob, before=30) == 1
    assert await queries(bob, after=30) == 1
    await say(bob, channel)
    assert await queries(ann) == 0, "a new message joins the page in memory"
    await ann.call(MessageEdit(channel=channel, seq=60, text="edited"))
    before = server.pool.queries
    assert (await history(ann, channel))[-2].text == "edited"
    assert server.pool.queries > before
    assert await queries(bob) == 0
    found = []
    for seq in range(30, 35):
        before = server.pool.queries
        await ann.call(MessageAround(channel=channel, seq=seq))
        found.append(server.pool.queries - before)
    assert min(found) == 1


async def test_the_page_in_memory_is_always_what_the_database_says(start: Starter, connect: Connector) -> None:
    server = await start(**UNBOUND)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    channel = await group(ann, bob)
    for number in range(70):
        if number % 10 == 9:
            await ann.call(MessageEdit(channel=channel, seq=1, text=str(number)))
        elif number % 13 == 7:
            await bob.call(ReactionAdd(channel=channel, seq=2, emoji="👍"))
            await bob.call(MessagePin(channel=channel, seq=3))
        elif number % 17 == 16:
            await ann.call(MessageDelete(channel=channel, seq=4 + number // 17))
        else:
            await say((ann, bob)[number % 2], channel, str(number))
        for limit in (1, 3, 50):
            page = await ann.call(MessageHistory(channel=channel, limit=limit))
            head = page.head
            assert page == await ann.call(MessageHistory(channel=channel, limit=limit, before=head + 1))


async def test_history_is_at_least_as_new_as_what_the_asker_knows(start: Starter, connect: Connector) -> None:
    one, other = [await start(redis_url="unix:///nowhere/redis.sock", **UNBOUND) for _ in range(2)]
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    channel = await group(ann, bob)
    phone = await Phone.open(other, bob.tokens_given.access)
    await say(ann, channel)
    await phone.heard(channel, 1)
    await history(bob, channel)
    for _ in range(20):
        seq = await say(ann, channel)
        assert (await history(bob, channel, known=seq))[-1].seq == seq
    phone.abort()


# How far


async def test_marks_never_go_back_nor_ahead(ann: Person, bob: Person) -> None:
    channel = await direct(ann, bob)
    for _ in range(5):
        await say(ann, channel)
    assert (await bob.call(MessageMarkDelivered(channel=channel, seq=4))).delivered == 4
    marks = await bob.call(MessageMarkRead(channel=channel, seq=3))
    assert (marks.read, marks.delivered, marks.unread) == (3, 4, 2)
    for frame in (MessageMarkRead(channel=channel, seq=1), MessageMarkDelivered(channel=channel, seq=0)):
        assert await bob.call(frame) == marks
    marks = await bob.call(MessageMarkRead(channel=channel, seq=2**53 - 1))
    assert (marks.read, marks.delivered, marks.unread) == (5, 5, 0)
    found = await standing(bob, channel)
    assert (found.read, found.delivered, found.unread) == (5, 5, 0)
    await say(ann, channel)
    assert (await standing(bob, channel)).unread == 1


async def test_reading_is_told_to_all_own_devices_once_and_only_when_it_moves(
    start: Starter, connect: Connector
) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=one)
    there = await device(connect, bob, to=other)
    channel = await direct(ann, bob)
    for _ in range(3):
        await say(ann, channel)
    for seq in (2, 2, 1, 3):
        await bob.call(MessageMarkRead(channel=channel, seq=seq))
    for person in (bob, there):
        told = [await person.wait_for(MessageRead) for _ in range(2)]
        assert [(fact.read, fact.unread) for fact in told] == [(2, 1), (3, 0)]
        with pytest.raises(TimeoutError):
            await person.wait_for(MessageRead, timeout=0.1)


async def test_what_one_device_got_is_told_to_all_own_devices_once_and_only_when_it_moves(
    start: Starter, connect: Connector
) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=one)
    there = await device(connect, bob, to=other)
    channel = await direct(ann, bob)
    for _ in range(3):
        await say(ann, channel)
    for seq in (2, 2, 1, 3):
        marks = await bob.call(MessageMarkDelivered(channel=channel, seq=seq))
        assert marks.head == 3
    for person in (bob, there):
        told = [await person.wait_for(MessageRead) for _ in range(2)]
        assert [(fact.head, fact.delivered, fact.read, fact.unread) for fact in told] == [(3, 2, 0, 3), (3, 3, 0, 3)]
        with pytest.raises(TimeoutError):
            await person.wait_for(MessageRead, timeout=0.1)


async def test_receipts_tell_the_others_how_far_one_is_and_never_go_back(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    channel = await direct(ann, bob)
    for _ in range(3):
        await say(ann, channel)
    await bob.call(MessageMarkDelivered(channel=channel, seq=2))
    await bob.call(MessageMarkRead(channel=channel, seq=1))
    await bob.call(MessageMarkDelivered(channel=channel, seq=1))
    await bob.call(MessageMarkRead(channel=channel, seq=3))
    told = [await ann.wait_for(MessageReceipt) for _ in range(3)]
    assert [(one.delivered, one.read) for one in told] == [(2, 0), (2, 1), (3, 3)]
    assert {(one.channel, one.user) for one in told} == {(channel, me(bob))}
    for person in (ann, bob):
        with pytest.raises(TimeoutError):
            await person.wait_for(MessageReceipt, timeout=0.1)


async def test_receipts_are_for_small_channels(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    async with sql(server) as db:
        await db.execute("UPDATE channel SET members = 49 WHERE id = $1", channel)
    await ann.call(ChannelAddMember(channel=channel, user=(await registered(server)).account))
    await say(ann, channel)
    await bob.wait_for(MessageCreated)
    await bob.call(MessageMarkRead(channel=channel, seq=2))
    await ann.wait_for(MessageReceipt)
    await ann.call(ChannelAddMember(channel=channel, user=(await registered(server)).account))
    await say(ann, channel)
    await bob.call(MessageMarkRead(channel=channel, seq=4))
    with pytest.raises(TimeoutError):
        await ann.wait_for(MessageReceipt, timeout=0.3)
    assert (await ann.call(MessageReaders(channel=channel, seq=4))).read == 1


async def test_readers_are_told_furthest_first_without_the_author(ann: Person, bob: Person, connect: Connector) -> None:
    people = [await connect(name) for name in ("cid", "dan")]
    channel = await group(ann, bob, *people)
    for _ in range(3):
        await say(ann, channel)
    await bob.call(MessageMarkDelivered(channel=channel, seq=3))
    await people[0].call(MessageMarkRead(channel=channel, seq=2))
    await people[1].call(MessageMarkDelivered(channel=channel, seq=1))
    await ann.call(MessageMarkRead(channel=channel, seq=3))
    found = await bob.call(MessageReaders(channel=channel, seq=2))
    assert [(one.user, one.delivered, one.read) for one in found.readers] == [(me(people[0]), 2, 2), (me(bob), 3, 0)]
    assert (found.delivered, found.read) == (2, 1)
    assert (await bob.call(MessageReaders(channel=channel, seq=3))).delivered == 1
    assert await refused(bob, MessageReaders(channel=channel, seq=4)) == "missing"


async def test_a_send_is_answered_with_the_place_that_history_tells(ann: Person) -> None:
    channel = await group(ann)
    sent = [await ann.call(MessageSend(channel=channel, text="x", nonce=UUID(int=n))) for n in range(1, 4)]
    assert [(one.seq, one.sent_at) for one in await history(ann, channel)] == [(one.seq, one.sent_at) for one in sent]
