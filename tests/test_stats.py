"""stats: how much happens in spaces, in channels and on the server, counted once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from protocol.account import AccountDelete
from protocol.channel import ChannelDelete
from protocol.error import Forbidden, Invalid, Missing
from protocol.member import MemberKick
from protocol.message import MessageDelete
from protocol.permission import PermissionSet
from protocol.space import SpaceLeave
from protocol.stats import StatsChannel, StatsServer, StatsSpace
from protocol.thread import ThreadOpen
from server import Server
from storage import stats
from tests.chat import group, me, nodes, say
from tests.club import Club, club
from tests.conftest import Connector, Person, Starter


async def settled(server: Server) -> None:
    """Wait until everything that was said is counted."""
    async with asyncio.timeout(20):
        while await server.pool.fetchval(
            "SELECT EXISTS (SELECT FROM channel c JOIN stream s USING (id) LEFT JOIN tail t ON t.channel = c.id "
            "WHERE s.head > coalesce(t.seq, 0))"
        ):
            await asyncio.sleep(0.02)


async def told(person: Person, channel: UUID) -> int:
    return (await person.call(StatsChannel(channel=channel, days=1))).days[0].messages


@pytest.fixture
async def at(ann: Person, bob: Person) -> Club:
    """A space of ann's, with bob in it."""
    return await club(ann, bob)


async def test_messages_members_and_channels_of_a_space_are_counted_by_day(
    at: Club, ann: Person, bob: Person, connect: Connector, server: Server
) -> None:
    cid = await connect("cid")
    other = await at.channel()
    for channel, count in ((at.general, 3), (other, 5)):
        for number in range(count):
            await say(bob, channel, str(number))
    await say(ann, at.general)
    thread = await bob.call(ThreadOpen(channel=at.general, name="thread", nonce=uuid4(), text="in it"))
    await say(bob, thread.id)
    await say(bob, await group(bob, ann), "elsewhere")
    left = await club(ann, cid, bob)
    await cid.call(SpaceLeave(space=left.id))
    await ann.call(MemberKick(space=left.id, user=me(bob)))
    await settled(server)
    found = await ann.call(StatsSpace(space=at.id, days=7))
    today = found.days[-1]
    assert (len(found.days), today.day) == (7, datetime.now(UTC).date().isoformat())
    assert (today.messages, today.active, today.joined, today.departed) == (11, 2, 2, 0)
    assert (found.members, found.active) == (2, 2)
    assert [(one.channel, one.messages) for one in found.channels] == [(at.general, 6), (other, 5)]
    assert sum(one.messages for one in found.days[:-1]) == 0
    [day] = (await ann.call(StatsSpace(space=left.id, days=1))).days
    assert (day.joined, day.departed) == (3, 2)
    of_channel = await ann.call(StatsChannel(channel=at.general, days=2))
    assert ([one.messages for one in of_channel.days], of_channel.active) == ([0, 6], 2)


async def test_each_message_counts_once_whatever_process_counts_it(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    at = await club(ann, bob)
    await asyncio.gather(*(say(who, at.general, str(number)) for number in range(60) for who in (ann, bob)))
    third = await start()
    await asyncio.gather(*(say(who, at.general, str(number)) for number in range(30) for who in (ann, bob)))
    await settled(third)
    assert await told(ann, at.general) == 180
    assert (await ann.call(StatsSpace(space=at.id, days=1))).days[0].messages == 180


async def test_what_is_taken_back_later_is_not_counted_back(at: Club, ann: Person, bob: Person, server: Server) -> None:
    seq = await say(bob, at.general)
    await settled(server)
    await bob.call(MessageDelete(channel=at.general, seq=seq))
    await say(bob, at.general)
    await settled(server)
    assert await told(ann, at.general) == 2


async def test_channels_that_one_does_not_see_count_nowhere(at: Club, ann: Person, bob: Person, server: Server) -> None:
    await at.role("manage_space", to=bob)
    secret = await at.channel("secret", private=True)
    for number in range(4):
        await say(ann, secret, str(number))
    await say(bob, at.general)
    await settled(server)
    mine, all_ = [await one.call(StatsSpace(space=at.id, days=1)) for one in (bob, ann)]
    assert (mine.days[0].messages, mine.active, [one.channel for one in mine.channels]) == (1, 1, [at.general])
    assert (all_.days[0].messages, all_.active, len(all_.channels)) == (5, 2, 2)
    with pytest.raises(Missing):
        await told(bob, secret)
    await ann.call(ChannelDelete(channel=secret))
    assert (await bob.call(StatsSpace(space=at.id, days=1))).days[0].messages == 1
    await ann.call(PermissionSet(channel=at.general, role=at.id, deny=["view"]))
    assert (await bob.call(StatsSpace(space=at.id, days=1))).days[0].messages == 0


async def test_only_who_manages_a_space_sees_how_much_happens_there(at: Club, ann: Person, bob: Person) -> None:
    for frame in (StatsSpace(space=at.id), StatsChannel(channel=at.general)):
        with pytest.raises(Forbidden, match="manage_space"):
            await bob.call(frame)
    with pytest.raises(Forbidden):
        await ann.call(StatsChannel(channel=await group(ann)))
    thread = await ann.call(ThreadOpen(channel=at.general, name="thread", nonce=uuid4()))
    with pytest.raises(Invalid):
        await ann.call(StatsChannel(channel=thread.id))


async def test_the_server_is_told_of_to_its_owner_alone(at: Club, ann: Person, bob: Person, server: Server) -> None:
    with pytest.raises(Forbidden):
        await bob.call(StatsServer())
    await server.pool.execute("UPDATE account SET role = 'owner' WHERE id = $1", me(ann))
    await say(bob, await group(bob, ann))
    await say(bob, at.general)
    await settled(server)
    found = await ann.call(StatsServer(days=3))
    assert [(one.messages, one.registered) for one in found.days] == [(0, 0), (0, 0), (2, 2)]
    assert (found.accounts, found.spaces) == (2, 1)


async def test_an_account_that_is_deleted_was_active_on_no_day(
    at: Club, ann: Person, bob: Person, server: Server
) -> None:
    await say(bob, at.general)
    await settled(server)
    await bob.call(AccountDelete(password=Person.password))
    async with asyncio.timeout(10):
        while await server.pool.fetchval("SELECT EXISTS (SELECT FROM erasure)"):
            await asyncio.sleep(0.02)
    found = await ann.call(StatsSpace(space=at.id, days=1))
    assert (found.days[0].messages, found.active) == (1, 0)


async def test_old_days_are_forgotten(at: Club, ann: Person, bob: Person, server: Server) -> None:
    await say(bob, at.general)
    await settled(server)
    for days, left in ((91, 1), (2, 0), (310, 0)):
        for table in ("stats", "stats_active", "stats_member", "stats_server"):
            await server.pool.execute(f"UPDATE {table} SET day = day - $1::int", days)
        await stats.prune(server.pool)
        assert await server.pool.fetchval("SELECT count(*) FROM stats_active") == left
    for table in ("stats", "stats_member", "stats_server"):
        assert await server.pool.fetchval(f"SELECT count(*) FROM {table}") == 0
