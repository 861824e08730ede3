"""Retention: what is older than a channel keeps it is deleted, slice by slice, but for what is pinned."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

import server.due
from protocol.channel import ChannelUpdate, ChannelUpdated
from protocol.message import MessageDelete, MessageDeleted, MessagePin, MessageUnpin
from protocol.reaction import ReactionAdd
from protocol.space import SpaceUpdate
from server import Server
from storage import retention
from tests.chat import group, history, me, refused, say, standing
from tests.community import community
from tests.conftest import Person, Starter

SOON = 6.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process looks often."""
    monkeypatch.setattr(server.due, "_EVERY", 0.05)


async def keep(person: Person, channel: UUID, days: int | None) -> None:
    await person.call(ChannelUpdate(channel=channel, keeps_for=days))


async def old(server: Server, channel: UUID, author: Person, count: int, days: float = 10) -> None:
    """Messages from so many days ago, as the first of a new group."""
    await server.pool.execute(
        """
        WITH s AS (UPDATE stream SET head = head + $3 WHERE id = $1 RETURNING head)
        INSERT INTO message (channel, seq, author, nonce, sent_at, text)
        SELECT $1, s.head - $3 + n, $2, gen_random_uuid(), now() - make_interval(secs => $4 * 86400), 'a canary'
          FROM s, generate_series(1, $3::bigint) n
        """,
        channel,
        me(author),
        count,
        days,
    )


async def come(server: Server, channel: UUID) -> None:
    """It is time to look again, and somebody has."""
    await server.pool.execute("UPDATE due SET at = now() WHERE kind = 'retention' AND stream = $1", channel)
    await settled(server)


async def settled(server: Server) -> None:
    async with asyncio.timeout(SOON):
        while await server.pool.fetchval("SELECT EXISTS (SELECT FROM due WHERE at < now() + interval '20 s')"):
            await asyncio.sleep(0.02)


async def there(person: Person, channel: UUID) -> list[int]:
    return [one.seq for one in await history(person, channel, limit=100) if one.deleted_at is None]


async def test_what_is_too_old_is_deleted_and_what_is_not_stays(server: Server, ann: Person, bob: Person) -> None:
    channel, other = await group(ann, bob), await group(ann)
    for one in (channel, other):
        await old(server, one, ann, 3)
    await old(server, channel, bob, 2, days=4)
    young = await say(bob, channel)
    await keep(ann, channel, 5)
    assert (await bob.wait_for(ChannelUpdated, SOON)).channel.keeps_for == 5
    assert (await standing(bob, channel)).channel.keeps_for == 5
    assert (await bob.wait_for(MessageDeleted, SOON)).messages == [1, 2, 3]
    assert await there(bob, channel) == [4, 5, young]
    assert await there(ann, other) == [1, 2, 3]
    await keep(ann, channel, 3)
    assert (await bob.wait_for(MessageDeleted, SOON)).messages == [4, 5]
    assert await there(bob, channel) == [young]


async def test_nothing_is_left_of_it(server: Server, ann: Person) -> None:
    channel = await group(ann)
    await old(server, channel, ann, 1)
    await ann.call(ReactionAdd(channel=channel, seq=1, emoji="👍"))
    await keep(ann, channel, 5)
    await ann.wait_for(MessageDeleted, SOON)
    assert await server.pool.fetchval("SELECT count(*) FROM reaction") == 0
    assert await server.pool.fetchval("SELECT count(*) FROM message WHERE text = 'a canary'") == 0


async def test_it_is_the_owners_and_of_groups_only(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    assert await refused(bob, ChannelUpdate(channel=channel, keeps_for=5)) == "forbidden"
    for days in (0, 3661):
        assert await refused(ann, ChannelUpdate(channel=channel, keeps_for=days)) == "invalid"


async def test_very_many_go_in_parts_whichever_process_is_at_it(server: Server, start: Starter, ann: Person) -> None:
    await start()
    channel = await group(ann)
    await old(server, channel, ann, 1200)
    await keep(ann, channel, 5)
    told = [(await ann.wait_for(MessageDeleted, SOON)).messages for _ in range(3)]
    assert [len(one) for one in told] == [500, 500, 200]
    assert [seq for one in told for seq in one] == list(range(1, 1201))
    await settled(server)
    assert await server.pool.fetchval("SELECT count(*) FROM fact WHERE kind = 'message.deleted'") == 3


async def test_what_is_pinned_stays_until_it_is_unpinned(server: Server, ann: Person) -> None:
    channel = await group(ann)
    await old(server, channel, ann, 5)
    for seq in (2, 4):
        await ann.call(MessagePin(channel=channel, seq=seq))
    await keep(ann, channel, 5)
    assert (await ann.wait_for(MessageDeleted, SOON)).messages == [1, 3, 5]
    await ann.call(MessageUnpin(channel=channel, seq=2))
    assert (await ann.wait_for(MessageDeleted, SOON)).messages == [2]
    await settled(server)
    assert await there(ann, channel) == [4]


async def test_who_unpins_where_all_is_kept_starts_nothing(server: Server, ann: Person) -> None:
    channel = await group(ann)
    seq = await say(ann, channel)
    await ann.call(MessagePin(channel=channel, seq=seq))
    await ann.call(MessageUnpin(channel=channel, seq=seq))
    assert await server.pool.fetchval("SELECT count(*) FROM due") == 0


async def test_a_channel_is_looked_at_when_something_is_due(server: Server, ann: Person) -> None:
    channel = await group(ann)
    await old(server, channel, ann, 2, days=10)
    await old(server, channel, ann, 2, days=4)
    await keep(ann, channel, 5)
    await ann.wait_for(MessageDeleted, SOON)
    await settled(server)
    in_a_day = "SELECT at - now() BETWEEN interval '23 h' AND interval '24 h' FROM due"
    assert await server.pool.fetchval(in_a_day)
    await come(server, channel)
    assert await server.pool.fetchval(in_a_day), "nothing was due, and it is left alone until then"
    assert await server.pool.fetchval("SELECT cleared FROM channel WHERE id = $1", channel) == 2
    await server.pool.execute("UPDATE message SET sent_at = sent_at - interval '23 h 50 min' WHERE deleted_at IS NULL")
    await come(server, channel)
    in_an_hour = "SELECT at - now() BETWEEN interval '59 min' AND interval '60 min' FROM due"
    assert await server.pool.fetchval(in_an_hour), "at most once an hour"


async def test_what_was_taken_back_is_not_told_again(server: Server, ann: Person) -> None:
    channel = await group(ann)
    await old(server, channel, ann, 3)
    await ann.call(MessageDelete(channel=channel, seq=2))
    await keep(ann, channel, 5)
    assert [(await ann.wait_for(MessageDeleted, SOON)).messages for _ in range(2)] == [[2], [1, 3]]


async def test_who_keeps_all_again_loses_nothing_more(server: Server, ann: Person) -> None:
    channel = await group(ann)
    await say(ann, channel)
    await keep(ann, channel, 5)
    await settled(server)
    await keep(ann, channel, None)
    await settled(server)
    assert await server.pool.fetchval("SELECT count(*) FROM due") == 0
    await old(server, channel, ann, 1)
    assert await there(ann, channel) == [1, 4]


async def test_an_empty_channel_is_left_alone_for_as_long_as_it_keeps(server: Server, ann: Person) -> None:
    channel = await group(ann)
    await keep(ann, channel, 5)
    await settled(server)
    left = await server.pool.fetchval("SELECT at - now() FROM due")
    assert timedelta(days=4, hours=23) < left <= timedelta(days=5)


async def test_a_slice_begins_where_the_one_before_has_ended(server: Server, ann: Person) -> None:
    channel = await group(ann)
    await old(server, channel, ann, 3000)
    await server.pool.execute("UPDATE channel SET cleared = 2990 WHERE id = $1", channel)
    async with server.pool.transaction() as tx:
        found = await retention.oldest(tx, channel, 5, 500)
    assert (found.seqs, found.cleared) == (list(range(2991, 3001)), 3000)


async def test_a_space_keeps_what_its_channels_do_not_keep_for_another_time(server: Server, ann: Person) -> None:
    club = await community(ann)
    plain, longer, later = await club.room(), await club.room(), UUID(int=0)
    for room in (plain, longer):
        await old(server, room, ann, 2)
    await keep(ann, longer, 30)
    await ann.call(SpaceUpdate(space=club.id, keeps_for=5))
    await settled(server)
    assert (await there(ann, plain), await there(ann, longer)) == ([], [1, 2])
    later = await club.room("made later")
    await old(server, later, ann, 2)
    await come(server, later)
    assert await there(ann, later) == []
    await ann.call(SpaceUpdate(space=club.id, keeps_for=None))
    await old(server, plain, ann, 1)
    await come(server, plain)
    assert len(await there(ann, plain)) == 1
