"""channel: making, entering, leaving, changing and ending channels."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from protocol.channel import (
    ChannelAddMember,
    ChannelCreate,
    ChannelDelete,
    ChannelGet,
    ChannelJoin,
    ChannelJoined,
    ChannelLeave,
    ChannelLeft,
    ChannelList,
    ChannelMemberJoined,
    ChannelMemberLeft,
    ChannelMembers,
    ChannelMute,
    ChannelMuted,
    ChannelOpenDirect,
    ChannelRemoveMember,
    ChannelUpdate,
    ChannelUpdated,
)
from protocol.frame import Request
from protocol.message import MessageCreated, MessageHistory, MessageSend
from protocol.user import UserBlock
from server import Server
from tests.chat import Phone, device, direct, group, history, me, nodes, refused, say, sql, standing
from tests.conftest import Connector, Person, Starter


@pytest.fixture
async def cid(connect: Connector) -> Person:
    return await connect("cid")


# Making


async def test_a_new_group_is_there_for_its_owner_and_all_its_members(ann: Person, bob: Person, cid: Person) -> None:
    frame = ChannelCreate(
        name="Gardeners", nonce=uuid4(), topic="roses", description="and more", open=True, members=[me(bob), me(cid)]
    )
    made = await ann.call(frame)
    channel = made.channel
    assert (channel.kind, channel.name, channel.topic, channel.description) == (
        "group",
        "Gardeners",
        "roses",
        "and more",
    )
    assert (channel.owner, channel.members, channel.open) == (me(ann), 3, True)
    assert (made.joined, made.peer, made.read, made.unread, made.mentions, made.last) == (True, None, 0, 0, 0, None)
    for person in (ann, bob, cid):
        told = await person.wait_for(ChannelJoined)
        assert (told.by, told.membership) == (me(ann), made)
        assert await standing(person, channel.id) == made
    await say(ann, channel.id)
    assert (await cid.wait_for(MessageCreated)).seq == made.head + 1


async def test_the_same_nonce_is_the_same_group_also_at_once_on_two_nodes(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start)
    ann = await connect("ann", to=one)
    there = await device(connect, ann, to=other)
    for _ in range(5):
        frame = ChannelCreate(name="group", nonce=uuid4())
        made = await asyncio.gather(*(person.call(frame) for person in (ann, there) for _ in range(3)))
        assert len({one.channel.id for one in made}) == 1
    assert len((await ann.call(ChannelList())).channels) == 5


async def test_a_member_named_twice_or_the_owner_themselves_is_in_it_once(ann: Person, bob: Person) -> None:
    made = await ann.call(ChannelCreate(name="group", nonce=uuid4(), members=[me(bob), me(bob), me(ann)]))
    assert made.channel.members == 2


@pytest.mark.parametrize("blocker", ["ann", "bob"])
async def test_who_cannot_be_seen_cannot_be_put_into_a_group(ann: Person, bob: Person, blocker: str) -> None:
    channel = await group(ann)
    who, whom = (ann, bob) if blocker == "ann" else (bob, ann)
    await who.call(UserBlock(user=me(whom)))
    assert await refused(ann, ChannelCreate(name="x", nonce=uuid4(), members=[me(bob)])) == "missing"
    assert await refused(ann, ChannelCreate(name="x", nonce=uuid4(), members=[uuid4()])) == "missing"
    assert await refused(ann, ChannelAddMember(channel=channel, user=me(bob))) == "missing"
    assert (await bob.call(ChannelList())).channels == []


async def test_a_group_takes_built_in_avatars_only(ann: Person) -> None:
    assert await refused(ann, ChannelCreate(name="x", nonce=uuid4(), avatar="nonsense")) == "invalid"
    assert await refused(ann, ChannelUpdate(channel=await group(ann), avatar="nonsense")) == "invalid"


async def test_two_have_one_direct_channel_however_often_and_from_where_it_is_opened(
    start: Starter, connect: Connector
) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    opening = [ann.call(ChannelOpenDirect(user=me(bob))) for _ in range(4)]
    opening += [bob.call(ChannelOpenDirect(user=me(ann))) for _ in range(4)]
    made = await asyncio.gather(*opening)
    assert len({one.channel.id for one in made}) == 1
    assert [one.peer for one in made] == [me(bob)] * 4 + [me(ann)] * 4
    assert (made[0].channel.kind, made[0].channel.owner, made[0].channel.members) == ("direct", None, 2)
    for person in (ann, bob):
        assert (await person.wait_for(ChannelJoined)).membership.channel.id == made[0].channel.id
        assert len((await person.call(ChannelList())).channels) == 1
    await say(ann, made[0].channel.id)
    await bob.wait_for(MessageCreated)


async def test_with_oneself_one_has_saved_messages(ann: Person) -> None:
    made = await asyncio.gather(*(ann.call(ChannelOpenDirect(user=me(ann))) for _ in range(3)))
    assert {one.channel.id for one in made} == {made[0].channel.id}
    assert (made[0].channel.kind, made[0].peer, made[0].channel.members) == ("saved", None, 1)
    await say(ann, made[0].channel.id, "remember")
    assert [one.text for one in await history(ann, made[0].channel.id)] == ["remember"]


async def test_with_nobody_there_is_no_channel(ann: Person) -> None:
    assert await refused(ann, ChannelOpenDirect(user=uuid4())) == "missing"


# Entering and leaving


async def test_whoever_knows_an_open_group_may_look_at_it_and_join(ann: Person, bob: Person) -> None:
    channel = await group(ann, open=True)
    await say(ann, channel, "before")
    looked = await standing(bob, channel)
    assert (looked.joined, looked.channel.id, looked.last, looked.head) == (False, channel, None, 0)
    assert await refused(bob, MessageHistory(channel=channel)) == "missing"
    joined = await bob.call(ChannelJoin(channel=channel))
    assert (joined.joined, joined.channel.members, joined.unread, joined.read) == (True, 2, 0, joined.head)
    assert await bob.call(ChannelJoin(channel=channel)) == joined
    told = await ann.wait_for(ChannelMemberJoined)
    assert (told.stream, told.user, told.by, told.members) == (channel, me(bob), me(bob), 2)
    assert [one.text for one in await history(bob, channel)] == ["before"]
    await say(ann, channel, "after")
    assert (await bob.wait_for(MessageCreated)).seq == joined.head + 1
    assert (await standing(bob, channel)).unread == 1


async def test_a_closed_group_does_not_exist_for_others(ann: Person, bob: Person) -> None:
    channel = await group(ann)
    frames: list[Request[object]] = [
        ChannelGet(channel=channel),
        ChannelJoin(channel=channel),
        ChannelMembers(channel=channel),
        ChannelLeave(channel=channel),
        ChannelUpdate(channel=channel, topic="x"),
        ChannelDelete(channel=channel),
        ChannelMute(channel=channel, until=None),
        ChannelAddMember(channel=channel, user=me(bob)),
        ChannelRemoveMember(channel=channel, user=me(ann)),
        MessageSend(channel=channel, text="x", nonce=uuid4()),
    ]
    assert {await refused(bob, frame) for frame in frames} == {"missing"}


async def test_every_member_may_bring_others_in_and_the_owner_may_put_them_out(
    ann: Person, bob: Person, cid: Person
) -> None:
    channel = await group(ann, bob)
    await bob.call(ChannelAddMember(channel=channel, user=me(cid)))
    await bob.call(ChannelAddMember(channel=channel, user=me(cid)))
    assert (await ann.wait_for(ChannelMemberJoined)).by == me(bob)
    assert (await cid.wait_for(ChannelJoined)).by == me(bob)
    assert [one.username for one in (await cid.call(ChannelMembers(channel=channel))).users] == ["ann", "bob", "cid"]
    assert await refused(bob, ChannelRemoveMember(channel=channel, user=me(cid))) == "forbidden"
    assert await refused(ann, ChannelRemoveMember(channel=channel, user=me(ann))) == "invalid"
    await ann.call(ChannelRemoveMember(channel=channel, user=me(cid)))
    left = await cid.wait_for(ChannelLeft)
    assert (left.channel, left.reason, left.by) == (channel, "removed", me(ann))
    told = await bob.wait_for(ChannelMemberLeft)
    assert (told.user, told.by, told.members, told.owner) == (me(cid), me(ann), 2, me(ann))
    assert await refused(ann, ChannelRemoveMember(channel=channel, user=me(cid))) == "missing"
    assert await refused(cid, ChannelGet(channel=channel)) == "missing"
    assert await refused(cid, MessageSend(channel=channel, text="x", nonce=uuid4())) == "missing"


async def test_who_leaves_hears_no_more_and_keeps_nothing_of_the_group(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    await bob.call(ChannelLeave(channel=channel))
    assert (await bob.wait_for(ChannelLeft)).reason == "left"
    await say(ann, channel, "secret")
    with pytest.raises(TimeoutError):
        await bob.wait_for(MessageCreated, timeout=0.2)
    assert (await bob.call(ChannelList())).channels == []
    assert await refused(bob, MessageHistory(channel=channel)) == "missing"
    assert await refused(bob, ChannelLeave(channel=channel)) == "missing"


async def test_a_leaving_owner_hands_over_to_who_is_in_it_longest(ann: Person, bob: Person, cid: Person) -> None:
    channel = await group(ann)
    await ann.call(ChannelAddMember(channel=channel, user=me(cid)))
    await ann.call(ChannelAddMember(channel=channel, user=me(bob)))
    await ann.call(ChannelLeave(channel=channel))
    told = await bob.wait_for(ChannelMemberLeft)
    assert (told.user, told.owner, told.members) == (me(ann), me(cid), 2)
    assert (await standing(bob, channel)).channel.owner == me(cid)
    assert await refused(bob, ChannelUpdate(channel=channel, topic="x")) == "forbidden"
    await cid.call(ChannelUpdate(channel=channel, topic="mine"))


async def test_the_last_one_out_ends_the_group(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob, open=True)
    await say(ann, channel)
    for person in (ann, bob):
        await person.call(ChannelLeave(channel=channel))
    assert await refused(ann, ChannelGet(channel=channel)) == "missing"
    await nothing_is_left(server, channel)


async def test_members_leaving_at_once_leave_a_consistent_group(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start)
    people = [await connect(f"user{number}", to=(one, other)[number % 2]) for number in range(8)]
    channel = await group(people[0], *people[1:])
    await asyncio.gather(*(person.call(ChannelLeave(channel=channel)) for person in people[:6]))
    found = await standing(people[6], channel)
    assert found.channel.members == 2
    assert found.channel.owner in (me(people[6]), me(people[7]))
    assert found.head == 6


async def test_a_direct_channel_has_no_other_members_and_no_end(ann: Person, bob: Person, cid: Person) -> None:
    for channel in (await direct(ann, bob), await direct(ann, ann)):
        frames: list[Request[object]] = [
            ChannelLeave(channel=channel),
            ChannelDelete(channel=channel),
            ChannelUpdate(channel=channel, topic="x"),
            ChannelAddMember(channel=channel, user=me(cid)),
        ]
        assert {await refused(ann, frame) for frame in frames} == {"forbidden"}


# Changing


async def test_an_update_changes_what_it_names_and_nothing_else(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob, topic="old", description="kept")
    await ann.call(ChannelUpdate(channel=channel, topic="", name="renamed"))
    told = (await bob.wait_for(ChannelUpdated)).channel
    assert (told.name, told.topic, told.description, told.open) == ("renamed", "", "kept", False)
    assert (await standing(bob, channel)).channel == told
    await ann.call(ChannelUpdate(channel=channel, open=True))
    assert (await bob.wait_for(ChannelUpdated)).channel.open is True
    await ann.call(ChannelUpdate(channel=channel, name="renamed"))
    await ann.call(ChannelUpdate(channel=channel))
    assert (await standing(bob, channel)).head == 2, "nothing changed, so nothing is told"
    assert await refused(bob, ChannelUpdate(channel=channel, topic="x")) == "forbidden"


async def test_deleting_a_group_takes_everything_with_it_for_everybody(
    server: Server, start: Starter, connect: Connector, ann: Person, bob: Person
) -> None:
    other = await start()
    cid = await connect("cid", to=other)
    channel = await group(ann, bob, cid)
    await say(ann, channel, "x", mentions=[me(bob)])
    assert await refused(bob, ChannelDelete(channel=channel)) == "forbidden"
    await ann.call(ChannelDelete(channel=channel))
    for person in (ann, bob, cid):
        told = await person.wait_for(ChannelLeft)
        assert (told.channel, told.reason, told.by) == (channel, "deleted", me(ann))
        assert await refused(person, MessageHistory(channel=channel)) == "missing"
        assert await refused(person, MessageSend(channel=channel, text="x", nonce=uuid4())) == "missing"
        assert (await person.call(ChannelList())).channels == []
    await nothing_is_left(server, channel)


async def nothing_is_left(server: Server, channel: object) -> None:
    """Of a channel, in any table, soon after its end."""
    async with sql(server) as db:
        async with asyncio.timeout(5):
            while await db.fetchval("SELECT EXISTS (SELECT FROM grave WHERE channel = $1)", channel):
                await asyncio.sleep(0.01)
        tables = {"stream": "id", "fact": "stream", "channel": "id", "member": "channel", "message": "channel"}
        tables |= dict.fromkeys(("mention", "hidden", "revision", "reaction", "draft", "direct", "departed"), "channel")
        for table, column in tables.items():
            assert await db.fetchval(f"SELECT count(*) FROM {table} WHERE {column} = $1", channel) == 0, table


async def test_muting_is_known_to_all_devices_of_that_account_and_to_nobody_else(
    start: Starter, connect: Connector
) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=one)
    channel = await group(ann, bob)
    anns = await device(connect, ann, to=other)
    until = datetime.now(UTC) + timedelta(days=1)
    await ann.call(ChannelMute(channel=channel, until=until))
    for person in (ann, anns):
        told = await person.wait_for(ChannelMuted)
        assert (told.stream, told.channel, told.until) == (me(ann), channel, until)
        assert (await standing(person, channel)).muted_until == until
    assert (await standing(bob, channel)).muted_until is None
    await anns.call(ChannelMute(channel=channel, until=None))
    assert (await ann.wait_for(ChannelMuted)).until is None
    assert (await standing(ann, channel)).muted_until is None
    with pytest.raises(TimeoutError):
        await bob.wait_for(ChannelMuted, timeout=0.1)


@pytest.mark.parametrize(
    "until",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"],
)
async def test_a_time_beyond_the_calendar_is_invalid(server: Server, ann: Person, until: str) -> None:
    channel = await group(ann)
    phone = await Phone.open(server, ann.tokens_given.access)
    phone.send(b'{"op":"channel.mute","id":9,"channel":"%b","until":"%b"}' % (str(channel).encode(), until.encode()))
    error = (await phone.answer(9))["error"]
    assert (error["code"], error["field"]) == ("invalid", "until")
    phone.abort()


@pytest.mark.parametrize(
    "until", ["0001-01-01T00:00:00.000001Z", "0001-01-02T00:00:00+14:00", "9999-12-31T23:59:59.999998Z"]
)
async def test_the_first_and_the_last_time_are_times(ann: Person, until: str) -> None:
    channel, time = await group(ann), datetime.fromisoformat(until)
    await ann.call(ChannelMute(channel=channel, until=time))
    assert (await standing(ann, channel)).muted_until == time
