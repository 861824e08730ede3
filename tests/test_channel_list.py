"""channel.list, channel.members and session.open: bounded pages, and counts that are right."""

import time
from uuid import UUID

import pytest

from protocol.channel import ChannelJoin, ChannelLeave, ChannelList, ChannelMembers, Memberships
from protocol.message import (
    MessageDelete,
    MessageEdit,
    MessageHidden,
    MessageMarkRead,
    MessageRead,
)
from protocol.session import SessionOpen
from server import Server
from tests.chat import Phone, device, direct, group, me, nodes, say, sql, standing
from tests.conftest import Connector, Person, Starter

_SEED = """
    WITH made AS (
        INSERT INTO stream (id, head, moved_at)
        SELECT gen_random_uuid(), 3, now() - n * interval '1 second' FROM generate_series(1, $2::int) n RETURNING id
    ), channels AS (
        INSERT INTO channel (id, kind, name, description, owner, creator, members)
        SELECT id, 'group', 'a group with a name', repeat('d', 300), $1, $1, 1 FROM made RETURNING id
    ), members AS (
        INSERT INTO member (channel, account) SELECT id, $1 FROM channels
    )
    INSERT INTO message (channel, seq, author, nonce, sent_at, text)
    SELECT id, seq, gen_random_uuid(), gen_random_uuid(), now(), repeat('x', 500)
      FROM made, generate_series(1, 3) seq
"""


async def test_an_account_with_ten_thousand_channels_opens_in_one_bounded_frame(server: Server, ann: Person) -> None:
    async with sql(server) as db:
        await db.execute(_SEED, me(ann), 10_000)
        await db.execute("ANALYZE")
    asked, took = [], []
    for _ in range(3):  # what the server asks by itself meanwhile is counted, too: the best of three
        queries, began = server.pool.queries, time.monotonic()
        phone = await Phone.connect(server.url)
        opened = await phone.call(SessionOpen(token=ann.tokens_given.access))
        took.append(time.monotonic() - began)
        asked.append(server.pool.queries - queries)
        phone.abort()
    assert max(map(len, phone.messages)) <= 256 * 1024
    assert len(opened["channels"]) >= 100
    assert opened["next"] is not None
    assert min(asked) <= 3 + 10  # heads of ten thousand streams are asked for in parts
    assert min(took) < 3
    found = {one["channel"]["id"] for one in opened["channels"]}
    assert opened["channels"][0]["unread"] == 3
    after, pages = opened["next"], 0
    while after is not None:
        queries = server.pool.queries
        page = await ann.call(ChannelList(after=after, limit=100))
        found |= {str(one.channel.id) for one in page.channels}
        after, pages = page.next, pages + 1
    assert len(found) == 10_000
    assert pages <= 100


async def test_pages_tell_every_channel_once_the_one_that_moved_last_first(
    server: Server, ann: Person, bob: Person
) -> None:
    channels = [await group(ann, bob, name=f"group {number}") for number in range(25)]
    moved = [channels[number] for number in (3, 17, 8)]
    for channel in moved:
        await say(bob, channel)
    found: list[object] = []
    after, sizes = None, []
    while True:
        page = await ann.call(ChannelList(after=after, limit=10))
        found += [one.channel.id for one in page.channels]
        sizes.append(len(page.channels))
        if page.next is None:
            break
        after = page.next
    assert sizes == [10, 10, 5]
    assert found[:3] == moved[::-1]
    assert found[3:] == [channel for channel in reversed(channels) if channel not in moved]


async def test_a_list_is_one_query_however_long_it_is(server: Server, ann: Person, bob: Person) -> None:
    for _ in range(12):
        await say(bob, await group(ann, bob))
    for limit in (1, 12):
        found = []
        for _ in range(30):  # of which one is alone
            before = server.pool.queries
            assert len((await ann.call(ChannelList(limit=limit))).channels) == limit
            found.append(server.pool.queries - before)
            if found[-1] == 1:
                break
        assert min(found) == 1


_NO_CURSORS = [
    "",
    "x",
    "2026-01-01",
    "2026-01-01T00:00:00+00:00 x",
    f"2026-01-01T00:00:00 {UUID(int=7)}",
    f"0001-01-01T00:00:00+14:00 {UUID(int=7)}",
    f"9999-12-31T23:59:59-14:00 {UUID(int=7)}",
]


@pytest.mark.parametrize("after", _NO_CURSORS)
async def test_a_cursor_that_is_none_begins_at_the_beginning(ann: Person, after: str) -> None:
    channel = await group(ann)
    page = await ann.call(ChannelList(after=after))
    assert [one.channel.id for one in page.channels] == [channel]


async def test_members_come_by_name_page_by_page(connect: Connector) -> None:
    people = [await connect(f"user{number:02}") for number in range(11)]
    channel = await group(people[5], *people[:5], *people[6:])
    first = await people[0].call(ChannelMembers(channel=channel, limit=8))
    second = await people[0].call(ChannelMembers(channel=channel, limit=8, after=first.next))
    assert [one.username for one in (*first.users, *second.users)] == [one.name for one in people]
    assert (len(first.users), second.next) == (8, None)


# Counts


async def counts(person: Person, channel: object) -> tuple[int, int]:
    """Unread messages and mentions, which the list tells as `get` does."""
    found = await standing(person, channel)  # type: ignore[arg-type]
    page: Memberships = await person.call(ChannelList())
    [listed] = [one for one in page.channels if one.channel.id == channel]
    assert listed == found
    return found.unread, found.mentions


async def test_unread_counts_what_others_said_since_one_has_read(ann: Person, bob: Person) -> None:
    channel = await direct(ann, bob)
    assert await counts(bob, channel) == (0, 0)
    for expected in (1, 2, 3):
        await say(ann, channel)
        assert await counts(bob, channel) == (expected, 0)
    assert await counts(ann, channel) == (0, 0), "one's own messages need no reading"
    await say(bob, channel)
    assert await counts(bob, channel) == (3, 0), "answering is not reading"
    marks = await bob.call(MessageMarkRead(channel=channel, seq=2))
    assert (marks.unread, marks.mentions) == (1, 0)
    assert await counts(bob, channel) == (1, 0)
    assert await counts(ann, channel) == (1, 0)


async def test_mentions_count_until_they_are_read_edited_away_or_taken_back(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    first, second, third = [await say(ann, channel, "hey", mentions=[me(bob)]) for _ in range(3)]
    assert await counts(bob, channel) == (3, 3)
    await ann.call(MessageEdit(channel=channel, seq=second, text="not you"))
    assert await counts(bob, channel) == (3, 2)
    await ann.call(MessageEdit(channel=channel, seq=second, text="you", mentions=[me(bob), me(ann)]))
    assert await counts(bob, channel) == (3, 3)
    await ann.call(MessageDelete(channel=channel, seq=third))
    assert await counts(bob, channel) == (2, 2)
    await bob.call(MessageMarkRead(channel=channel, seq=first))
    assert await counts(bob, channel) == (1, 1)
    await ann.call(MessageEdit(channel=channel, seq=first, text="you again", mentions=[me(bob)]))
    assert await counts(bob, channel) == (1, 1), "what one has read stays read"
    await bob.call(MessageDelete(channel=channel, seq=second, for_all=False))
    assert await counts(bob, channel) == (0, 0)
    await ann.call(MessageEdit(channel=channel, seq=second, text="still you", mentions=[me(bob)]))
    assert await counts(bob, channel) == (0, 0), "what one does not see cannot be read"
    assert await counts(ann, channel) == (0, 0), "one does not mention oneself"


async def test_a_mention_of_oneself_counts_for_nobody(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await say(ann, channel, "me", mentions=[me(ann)])
    await ann.call(MessageEdit(channel=channel, seq=seq, text="me again", mentions=[me(ann), me(bob)]))
    assert await counts(ann, channel) == (0, 0)
    assert await counts(bob, channel) == (1, 1)


async def test_counts_end_at_a_thousand(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    async with sql(server) as db:
        await db.execute(
            """
            WITH made AS (
                INSERT INTO message (channel, seq, author, nonce, sent_at, text)
                SELECT $1, n, $2, gen_random_uuid(), now(), 'x' FROM generate_series(1, 1500) n RETURNING seq
            )
            INSERT INTO mention (account, channel, seq) SELECT $3, $1, seq FROM made
            """,
            channel,
            me(ann),
            me(bob),
        )
        await db.execute("UPDATE stream SET head = 1500 WHERE id = $1", channel)
    assert await counts(bob, channel) == (1000, 1000)
    marks = await bob.call(MessageMarkRead(channel=channel, seq=1490))
    assert (marks.unread, marks.mentions) == (10, 10)


async def fill(server: Server, channel: UUID, whose: UUID, count: int, *, deleted: bool) -> None:
    """So many messages more."""
    async with sql(server) as db:
        await db.execute(
            """
            INSERT INTO message (channel, seq, author, nonce, sent_at, text, deleted_at)
            SELECT id, head + n, $2, gen_random_uuid(), now(), 'x', CASE WHEN $4 THEN now() END
              FROM stream, generate_series(1, $3::int) n WHERE id = $1
            """,
            channel,
            whose,
            count,
            deleted,
        )
        await db.execute("UPDATE stream SET head = head + $2 WHERE id = $1", channel, count)


@pytest.mark.parametrize("deleted", [False, True])
async def test_what_does_not_count_is_not_looked_through_without_end(
    server: Server, ann: Person, bob: Person, deleted: bool
) -> None:
    """Of what is behind one's mark only the newest 2,000 messages are looked at, for a preview the newest 500."""
    channel = await direct(ann, bob)
    for _ in range(3):
        await say(ann, channel, mentions=[me(bob)])
    await fill(server, channel, me(ann if deleted else bob), 497, deleted=deleted)
    found = await standing(bob, channel)
    assert (found.unread, found.mentions) == (3, 3)
    assert found.last is not None
    assert found.last.seq == (3 if deleted else 500)
    await fill(server, channel, me(ann if deleted else bob), 1500, deleted=deleted)
    assert await counts(bob, channel) == (3, 3)
    assert ((await standing(bob, channel)).last is None) == deleted
    await fill(server, channel, me(ann if deleted else bob), 2, deleted=deleted)
    assert await counts(bob, channel) == (1, 3)
    await say(ann, channel)
    assert await counts(bob, channel) == (1, 3), "what is new counts all the same"
    assert (await bob.call(MessageMarkRead(channel=channel, seq=2))).unread == 1


async def test_who_comes_back_begins_with_nothing_unread(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob, open=True)
    await say(ann, channel, mentions=[me(bob)])
    await bob.call(ChannelLeave(channel=channel))
    await say(ann, channel)
    await bob.call(ChannelJoin(channel=channel))
    assert await counts(bob, channel) == (0, 0)


async def test_every_device_is_told_absolute_counts(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=one)
    there = await device(connect, bob, to=other)
    channel = await group(ann, bob)
    for _ in range(4):
        await say(ann, channel, mentions=[me(bob)])
    await bob.call(MessageMarkRead(channel=channel, seq=3))
    for person in (bob, there):
        told = await person.wait_for(MessageRead)
        assert (told.stream, told.channel, told.read, told.delivered) == (me(bob), channel, 3, 3)
        assert (told.unread, told.mentions) == (1, 1)


# Previews


async def test_the_preview_is_the_newest_message_that_one_sees_cut_short(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    assert (await standing(bob, channel)).last is None
    await say(ann, channel, "first")
    await say(ann, channel, "x" * 4000)
    last = (await standing(bob, channel)).last
    assert last is not None
    assert (last.seq, last.text) == (2, "x" * 200)
    await bob.call(MessageDelete(channel=channel, seq=2, for_all=False))
    assert (await bob.wait_for(MessageHidden)).messages == [2]
    for person, text in ((bob, "first"), (ann, "x" * 200)):
        last = (await standing(person, channel)).last
        assert last is not None
        assert last.text == text
    await ann.call(MessageDelete(channel=channel, seq=1))
    assert (await standing(bob, channel)).last is None
    await ann.call(MessageDelete(channel=channel, seq=2))
    assert (await standing(ann, channel)).last is None
