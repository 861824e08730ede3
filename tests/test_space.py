"""Spaces: making, finding, entering, changing, handing over, leaving and deleting them."""

import asyncio
from uuid import uuid4

import pytest

from protocol.account import AccountDelete, AccountExport
from protocol.channel import ChannelGet, ChannelWatch
from protocol.message import MessageHistory, MessageMarkRead, MessageSend
from protocol.session import SessionOpen
from protocol.space import (
    SpaceChanged,
    SpaceCreate,
    SpaceDelete,
    SpaceDiscover,
    SpaceGet,
    SpaceJoin,
    SpaceJoined,
    SpaceLeave,
    SpaceLeft,
    SpaceList,
    SpaceMoved,
    SpaceTransfer,
    SpaceUpdate,
)
from server import Server
from tests.chat import device, me, nodes, refused, say
from tests.community import community, watch
from tests.conftest import Connector, Person, Starter
from tests.raw import until


async def test_a_new_space_has_its_owner_everyones_role_and_a_channel(ann: Person) -> None:
    space = await ann.call(SpaceCreate(name="Club", nonce=uuid4(), description="Ours"))
    view = await ann.call(SpaceGet(space=space.id))
    assert (view.space, view.space.owner, view.space.members) == (space, me(ann), 1)
    assert [(role.id, role.position) for role in view.roles] == [(space.id, 0)]
    assert [(one.channel.kind, one.channel.name, one.channel.space) for one in view.channels] == [
        ("text", "general", space.id)
    ]
    assert (view.me.user.id, "administrator" in view.permissions) == (me(ann), True)


async def test_the_same_nonce_is_the_same_space_also_at_once_on_two_nodes(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start)
    ann = await connect("ann", to=here)
    other = await device(connect, ann, there)
    frame = SpaceCreate(name="Club", nonce=uuid4())
    made = await asyncio.gather(*(person.call(frame) for person in (ann, other) * 5))
    assert len({one.id for one in made}) == 1
    assert len((await ann.call(SpaceList())).spaces) == 1


async def test_open_spaces_are_found_and_entered_by_everybody_others_are_missing(ann: Person, bob: Person) -> None:
    shut = await ann.call(SpaceCreate(name="Cellar", nonce=uuid4()))
    club = await community(ann, name="The Club")
    found = await bob.call(SpaceDiscover(text="club"))
    assert [space.id for space in found.spaces] == [club.id]
    assert await refused(bob, SpaceJoin(space=shut.id)) == "missing"
    assert await refused(bob, SpaceGet(space=club.id)) == "missing", "only members see what is in it"
    assert (await bob.call(SpaceJoin(space=club.id))).members == 2
    assert (await bob.call(SpaceJoin(space=club.id))).members == 2, "again is no error"
    assert (await bob.wait_for(SpaceJoined)).space.id == club.id


async def test_discovered_spaces_come_page_by_page_the_largest_first(ann: Person, bob: Person) -> None:
    spaces = [await community(ann, name=f"s{number}") for number in range(5)]
    await bob.call(SpaceJoin(space=spaces[3].id))
    first = await bob.call(SpaceDiscover(limit=2))
    second = await bob.call(SpaceDiscover(limit=2, after=first.next))
    last = await bob.call(SpaceDiscover(limit=2, after=second.next))
    found = [space.id for page in (first, second, last) for space in page.spaces]
    assert (found[0], sorted(found), last.next) == (spaces[3].id, sorted(one.id for one in spaces), None)


async def test_a_session_opens_with_its_spaces_and_the_versions_of_what_it_sees(
    ann: Person, connect: Connector
) -> None:
    club = await community(ann)
    seen = await club.seen(ann)
    other = await device(connect, ann)
    assert other.session is not None
    assert [(one.space, one.outline) for one in other.session.spaces] == [(seen.space, seen.outline)]


async def test_spaces_are_listed_page_by_page(ann: Person) -> None:
    made = [(await community(ann, name=f"s{number}")).id for number in range(5)]
    first = await ann.call(SpaceList(limit=3))
    rest = await ann.call(SpaceList(limit=3, after=first.next))
    assert [one.space.id for one in (*first.spaces, *rest.spaces)] == made
    assert rest.next is None
    assert (await ann.call(SpaceList(after="nonsense"))).spaces[0].space.id == made[0]


async def test_what_changes_of_a_space_is_told_to_its_members_on_all_nodes(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    club = await community(ann, bob)
    before = await club.seen(bob)
    await ann.call(SpaceUpdate(space=club.id, name="Society"))
    told = await bob.wait_for(SpaceChanged)
    after = await club.seen(bob)
    assert (told.was, told.outline) == (before.outline, after.outline)
    assert told.about == after.space
    assert (told.roles, told.channels, told.gone, told.permissions) == ([], [], [], None)


async def test_a_space_is_changed_by_who_may_manage_it_and_nobody_else(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    assert await refused(bob, SpaceUpdate(space=club.id, name="Mine")) == "forbidden"
    await club.role("manager", "manage_space", to=bob)
    assert (await bob.call(SpaceUpdate(space=club.id, name="Ours", open=False))).name == "Ours"
    assert await refused(bob, SpaceDelete(space=club.id, name="Ours")) == "forbidden"
    assert await refused(bob, SpaceTransfer(space=club.id, user=me(bob))) == "forbidden"


async def test_who_leaves_hears_nothing_more_and_the_owner_cannot_leave(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    room = await club.room()
    await watch(bob, room)
    assert await refused(ann, SpaceLeave(space=club.id)) == "conflict"
    await bob.call(SpaceLeave(space=club.id))
    assert (await bob.wait_for(SpaceLeft)).reason == "left"
    await say(ann, room)
    for frame in (SpaceGet(space=club.id), MessageHistory(channel=room), ChannelGet(channel=room)):
        assert await refused(bob, frame) == "missing"
    assert (await bob.call(SpaceList())).spaces == []
    assert (await club.seen(ann)).space.members == 1


async def test_a_space_is_handed_over(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    await ann.call(SpaceTransfer(space=club.id, user=me(bob)))
    assert (await club.seen(bob)).space.owner == me(bob)
    assert "administrator" in (await club.seen(bob)).permissions
    await ann.call(SpaceLeave(space=club.id))


async def test_a_deleted_space_is_gone_at_once_and_everybody_is_told(server: Server, ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    room = await club.room()
    await say(bob, room)
    assert await refused(ann, SpaceDelete(space=club.id, name="club")) == "invalid", "its name has to be spelt"
    await ann.call(SpaceDelete(space=club.id, name="Club"))
    assert await refused(bob, MessageSend(channel=room, text="late", nonce=uuid4())) == "missing"
    assert await refused(ann, SpaceGet(space=club.id)) == "missing"
    assert {(await one.wait_for(SpaceLeft)).reason for one in (ann, bob)} == {"deleted"}
    left = "SELECT (SELECT count(*) FROM space) + (SELECT count(*) FROM message) + (SELECT count(*) FROM channel)"
    async with asyncio.timeout(20):
        while await server.pool.fetchval(left):
            await asyncio.sleep(0.05)


async def test_what_is_left_of_a_deleted_space_is_worked_off_by_another_process(
    start: Starter, connect: Connector
) -> None:
    here = await start()
    ann = await connect("ann", to=here)
    club = await community(ann)
    await here.pool.execute("UPDATE space SET deleted_at = now()")
    await here.pool.execute("INSERT INTO ruin (space) VALUES ($1)", club.id)  # as if it had died right then
    there = await start()
    async with asyncio.timeout(20):
        while await there.pool.fetchval("SELECT count(*) FROM space"):
            await asyncio.sleep(0.05)


# What is heard


async def test_channels_are_heard_by_who_watches_them_and_told_of_once_a_second_to_others(
    ann: Person, bob: Person
) -> None:
    club = await community(ann, bob)
    room = await club.room()
    await club.seen(bob)
    for _ in range(3):
        last = await say(ann, room)
    async with asyncio.timeout(10):
        while (told := await bob.wait_for(SpaceMoved)).lasts == []:
            pass
    assert [(one.channel, one.seq) for one in told.lasts] == [(room, last)]
    view = await club.seen(bob)
    assert [(mark.channel, mark.last, mark.read) for mark in view.marks] == [(room, last, 0)]
    await bob.call(MessageMarkRead(channel=room, seq=last))
    assert [(mark.last, mark.read) for mark in (await club.seen(bob)).marks] == [(last, last)]


async def test_news_of_a_channel_reach_members_on_another_node(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    club = await community(ann, bob)
    room = await club.room()
    await club.seen(bob)
    seq = await say(ann, room)
    async with asyncio.timeout(10):
        while not (told := await bob.wait_for(SpaceMoved)).lasts:
            pass
    assert [(one.channel, one.seq) for one in told.lasts] == [(room, seq)]


async def test_what_was_said_before_one_came_counts_as_read(ann: Person, bob: Person) -> None:
    club = await community(ann)
    room = await club.room()
    old = await say(ann, room)
    await bob.call(SpaceJoin(space=club.id))
    assert [(mark.last, mark.read) for mark in (await club.seen(bob)).marks] == [(old, old)]
    await say(ann, room)
    found = await bob.call(ChannelGet(channel=room))
    assert (found.read, found.unread) == (old, 1)


async def test_a_watched_channel_goes_on_after_a_lost_connection(ann: Person, server: Server) -> None:
    club = await community(ann)
    room = await club.room()
    async with Person(server.url) as bob:
        bob.name = "bob"
        await _register(bob)
        await bob.call(SpaceJoin(space=club.id))
        await watch(bob, room)
        first = await say(ann, room, "one")
        await _hear(bob, first)
        bob._connection.abort()  # type: ignore[union-attr]
        for number in range(5):
            last = await say(ann, room, str(number))
        assert await _hear(bob, last) == list(range(first + 1, last + 1))


async def _register(bob: Person) -> None:
    from protocol.account import AccountRegister

    tokens = await bob.call(AccountRegister(username="bob", password=Person.password))
    bob.tokens_given = tokens
    await bob.open(tokens)


async def _hear(bob: Person, last: int) -> list[int]:
    from protocol.message import MessageCreated

    seqs: list[int] = []
    while not seqs or seqs[-1] < last:
        seqs.append((await bob.wait_for(MessageCreated)).seq)
    return seqs


async def test_no_more_than_so_many_channels_are_watched_at_once(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    from server.handlers import channel

    monkeypatch.setattr(channel, "_WATCHED", 2)
    club = await community(ann)
    rooms = [await club.room(str(number)) for number in range(3)]
    await watch(ann, *rooms[:2])
    assert await refused(ann, ChannelWatch(channels=rooms[2:])) == "conflict"


async def test_who_wants_no_messages_cannot_watch(ann: Person) -> None:
    club = await community(ann)
    room = await club.room()
    await ann.call(SessionOpen(token=ann.tokens_given.access, wants=["typing"]))
    assert await refused(ann, ChannelWatch(channels=[room])) == "forbidden"


# Accounts that go


async def test_a_deleted_account_leaves_its_spaces_and_hands_over_its_own(
    server: Server, ann: Person, bob: Person
) -> None:
    club, alone = await community(ann, bob), await community(ann)
    await ann.call(AccountDelete(password=Person.password))
    async with asyncio.timeout(20):
        while await server.pool.fetchval("SELECT count(*) FROM erasure"):
            await asyncio.sleep(0.05)
    view = await club.seen(bob)
    assert (view.space.owner, view.space.members) == (me(bob), 1)
    assert await server.pool.fetchval("SELECT deleted_at FROM space WHERE id = $1", alone.id) is not None or (
        await server.pool.fetchval("SELECT count(*) FROM space WHERE id = $1", alone.id) == 0
    )


async def test_an_export_lists_the_spaces_of_an_account(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    await club.role("reader", to=bob)
    (found,) = (await bob.call(AccountExport())).spaces
    assert (found.id, found.roles, found.owned) == (club.id, ["reader"], False)


async def test_a_kicked_member_is_let_go_on_all_nodes_within_a_second(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    club = await community(ann, bob)
    room = await club.room()
    await watch(bob, room)
    await bob.call(SpaceLeave(space=club.id))
    stream = there.streams.get(room)
    await until(lambda: stream is None or not stream.sockets, 1)
