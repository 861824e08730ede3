"""voice: who is in voice channels, on which device and process, and who is told of it."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from protocol.channel import ChannelDelete, ChannelUpdate
from protocol.error import Conflict, Forbidden, Invalid, Missing
from protocol.member import MemberKick, MemberTimeout
from protocol.permission import PermissionClear
from protocol.session import SessionClose, SessionOpen
from protocol.space import SpaceJoin
from protocol.voice import (
    Media,
    Participant,
    Seated,
    VoiceChanged,
    VoiceEnded,
    VoiceJoin,
    VoiceLeave,
    VoiceList,
    VoiceMove,
    VoiceMute,
    VoiceSignal,
    VoiceSignalled,
    VoiceUpdate,
)
from server import Server
from storage.room import Seat
from tests.chat import device, me, nodes, until
from tests.community import Community, community, watch
from tests.conftest import Connector, Person, Starter

SOON = 5.0


async def join(person: Person, channel: UUID, **fields: Any) -> Seated:
    return await person.call(VoiceJoin(channel=channel, **fields))


async def people(person: Person, condition: Callable[[list[Participant]], bool]) -> list[Participant]:
    """Who is there, as soon as somebody is told of what is waited for."""
    async with asyncio.timeout(SOON):
        while not condition(found := (await person.wait_for(VoiceChanged, SOON)).people):
            pass
    return found


def users(found: list[Participant]) -> list[UUID]:
    return [one.user for one in found]


async def told(person: Person, *who: Person) -> list[Participant]:
    wanted = [me(one) for one in who]
    return await people(person, lambda found: users(found) == wanted)


async def ended(person: Person) -> VoiceEnded:
    return await person.wait_for(VoiceEnded, SOON)


async def there(person: Person, space: UUID) -> dict[UUID, list[UUID]]:
    rooms = (await person.call(VoiceList(space=space))).rooms
    return {room.channel: users(room.people) for room in rooms}


class Hall:
    """A space of ann's with a voice channel, in which bob is a member, too."""

    def __init__(self, space: Community, voice: UUID) -> None:
        self.space, self.id, self.voice = space, space.id, voice


@pytest.fixture
async def hall(ann: Person, bob: Person) -> Hall:
    space = await community(ann, bob)
    return Hall(space, await space.room("voice", kind="voice"))


async def test_who_joins_is_told_who_is_there_and_the_others_are_told_of_them(
    ann: Person, bob: Person, hall: Hall
) -> None:
    first = await join(ann, hall.voice)
    assert (users(first.people), first.back, first.media.plane) == ([me(ann)], False, "mesh")
    second = await join(bob, hall.voice, muted=True)
    assert users(second.people) == [me(ann), me(bob)]
    found = await told(ann, ann, bob)
    assert (found[1].seat, found[1].muted, found[1].speaker) == (second.seat, True, True)
    await bob.call(VoiceLeave(channel=hall.voice))
    await told(ann, ann)


async def test_who_watches_the_channel_is_told_but_not_of_who_is_speaking(ann: Person, bob: Person, hall: Hall) -> None:
    await watch(bob, hall.voice)
    await join(ann, hall.voice)
    await told(bob, ann)
    await ann.call(VoiceUpdate(channel=hall.voice, speaking=True))
    await people(ann, lambda found: found[0].speaking)
    await ann.call(VoiceUpdate(channel=hall.voice, muted=True, camera=True))
    found = await told(bob, ann)
    assert (found[0].muted, found[0].camera, found[0].speaking) == (True, True, False)


async def test_a_list_has_the_channels_that_one_sees_and_in_which_somebody_is(
    ann: Person, bob: Person, hall: Hall
) -> None:
    hidden = await hall.space.room("hidden", kind="voice", private=True)
    await join(ann, hidden)
    assert await there(ann, hall.id) == {hidden: [me(ann)]}
    assert await there(bob, hall.id) == {}
    await join(bob, hall.voice)
    assert await there(ann, hall.id) == {hidden: [me(ann)], hall.voice: [me(bob)]}


async def test_signals_go_to_one_participant_and_from_participants_only(
    ann: Person, bob: Person, hall: Hall, connect: Connector
) -> None:
    mine, theirs = await join(ann, hall.voice), await join(bob, hall.voice)
    await ann.call(VoiceSignal(channel=hall.voice, to=theirs.seat, data="offer"))
    heard = await bob.wait_for(VoiceSignalled, SOON)
    assert (heard.data, heard.seat, heard.user) == ("offer", mine.seat, me(ann))
    kim = await connect("kim")
    await kim.call(SpaceJoin(space=hall.id))
    with pytest.raises(Missing):
        await kim.call(VoiceSignal(channel=hall.voice, to=theirs.seat, data="x"))
    with pytest.raises(Missing):
        await ann.call(VoiceSignal(channel=hall.voice, to=uuid4(), data="x"))


async def test_a_device_takes_the_place_of_another_which_is_told(
    ann: Person, bob: Person, hall: Hall, connect: Connector
) -> None:
    before = await join(ann, hall.voice)
    await join(bob, hall.voice)
    after = await join(await device(connect, ann), hall.voice)
    assert after.seat != before.seat
    assert (await ended(ann)).why == "elsewhere"
    await told(bob, bob, ann)


async def test_who_joins_another_channel_leaves_the_one_before(ann: Person, bob: Person, hall: Hall) -> None:
    other = await hall.space.room("other", kind="voice")
    await join(ann, hall.voice)
    await join(bob, hall.voice)
    await join(ann, other)
    await told(bob, bob)
    assert await there(bob, hall.id) == {hall.voice: [me(bob)], other: [me(ann)]}


async def test_a_full_channel_takes_nobody_more(ann: Person, bob: Person, hall: Hall) -> None:
    await ann.call(ChannelUpdate(channel=hall.voice, seats=1))
    await join(ann, hall.voice)
    with pytest.raises(Conflict):
        await join(bob, hall.voice)
    await join(ann, hall.voice)
    await ann.call(VoiceLeave(channel=hall.voice))
    await join(bob, hall.voice)


async def test_a_mesh_has_its_limit(start: Starter, connect: Connector) -> None:
    server = await start(mesh=2)
    some = [await connect(name, to=server) for name in ("ann", "bob", "kim")]
    space = await community(some[0], *some[1:])
    voice = await space.room("voice", kind="voice")
    for one in some[:2]:
        await join(one, voice)
    with pytest.raises(Conflict):
        await join(some[2], voice)


async def test_a_socket_that_comes_back_in_time_never_left(start: Starter, connect: Connector) -> None:
    here, there_ = await nodes(start, grace=2.0)
    ann, bob = await connect("ann", to=here), await connect("bob", to=there_)
    space = await community(ann, bob)
    voice = await space.room("voice", kind="voice")
    await join(ann, voice)
    seat = (await join(bob, voice)).seat
    await told(ann, ann, bob)
    await bob.close()
    back = await connect(to=here)  # the other node
    await back.call(SessionOpen(token=bob.tokens_given.access))
    again = await join(back, voice)
    assert (again.seat, again.back) == (seat, True)
    with pytest.raises(TimeoutError):
        await ann.wait_for(VoiceChanged, 3.0)
    await ann.call(VoiceSignal(channel=voice, to=seat, data="still there"))
    assert (await back.wait_for(VoiceSignalled, SOON)).data == "still there"


async def test_a_socket_that_does_not_come_back_is_seen_to_leave(start: Starter, connect: Connector) -> None:
    here, other = await nodes(start, grace=1.0)
    ann, bob = await connect("ann", to=here), await connect("bob", to=other)
    space = await community(ann, bob)
    voice = await space.room("voice", kind="voice")
    await watch(ann, voice)
    await join(bob, voice)
    await told(ann, bob)
    await bob.close()
    await told(ann)


async def test_who_logs_out_leaves_at_once(ann: Person, bob: Person, hall: Hall) -> None:
    await join(ann, hall.voice)
    await join(bob, hall.voice)
    await told(ann, ann, bob)
    await bob.call(SessionClose())
    await told(ann, ann)


async def test_nodes_tell_each_other(start: Starter, connect: Connector) -> None:
    here, other = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=other)
    space = await community(ann, bob)
    voice = await space.room("voice", kind="voice")
    mine, theirs = await join(ann, voice), await join(bob, voice)
    await told(ann, ann, bob)
    await ann.call(VoiceSignal(channel=voice, to=theirs.seat, data="offer"))
    await bob.wait_for(VoiceSignalled, SOON)
    await bob.call(VoiceSignal(channel=voice, to=mine.seat, data="answer"))
    assert (await ann.wait_for(VoiceSignalled, SOON)).data == "answer"
    await bob.call(VoiceUpdate(channel=voice, deafened=True))
    await people(ann, lambda found: len(found) == 2 and found[1].deafened)


async def test_what_redis_forgets_is_told_anew(start: Starter, connect: Connector) -> None:
    server = await start(grace=1.0)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    space = await community(ann, bob)
    voice = await space.room("voice", kind="voice")
    seat = (await join(ann, voice)).seat
    await server.bus.script("return redis.call('FLUSHALL')", [], [])
    async with asyncio.timeout(SOON):
        while not await there(bob, space.id):
            await asyncio.sleep(0.05)
    assert (await join(bob, voice)).people[0].seat == seat


class Unit:
    """A forwarding unit that remembers what it was told."""

    most = 3

    def __init__(self) -> None:
        self.told: list[tuple[str, UUID, bool]] = []

    async def admit(self, room: UUID, seat: Seat) -> Media:
        self.told.append(("admit", seat.user, seat.speaker))
        return Media(plane="sfu", url="wss://sfu.example", token=str(seat.seat))

    async def changed(self, room: UUID, seat: Seat) -> None:
        self.told.append(("changed", seat.user, seat.speaker))

    async def left(self, room: UUID, seat: UUID) -> None:
        self.told.append(("left", seat, False))


async def test_another_media_plane_is_told_who_may_be_heard(
    server: Server, ann: Person, bob: Person, hall: Hall
) -> None:
    unit = server.rooms.plane = Unit()
    mine, theirs = await join(ann, hall.voice), await join(bob, hall.voice)
    assert (mine.media.plane, theirs.media.token) == ("sfu", str(theirs.seat))
    await ann.call(VoiceMute(channel=hall.voice, user=me(bob), muted=True))
    await people(ann, lambda found: len(found) == 2 and found[1].silenced)
    await ann.call(VoiceMove(channel=hall.voice, user=me(bob)))
    await ended(bob)
    await ann.call(VoiceLeave(channel=hall.voice))
    told = [
        ("admit", me(ann), True),
        ("admit", me(bob), True),
        ("changed", me(bob), False),
        ("left", theirs.seat, False),
    ]
    await until(lambda: unit.told == [*told, ("left", mine.seat, False)])


# Who may


LOSSES = ["kick", "timeout", "denied", "deleted", "role"]


@pytest.mark.parametrize("how", LOSSES)
async def test_who_loses_the_right_to_connect_is_put_out_at_once(
    how: str, ann: Person, bob: Person, hall: Hall
) -> None:
    if how == "role":
        await hall.space.overwrite(hall.voice, deny=["connect"])
        await hall.space.overwrite(hall.voice, user=bob, allow=["connect"])
    await join(bob, hall.voice)
    await join(ann, hall.voice)
    await told(ann, bob, ann)
    await lose(how, ann, bob, hall)
    assert (await ended(bob)).why == "forbidden"
    if how != "deleted":
        await told(ann, ann)
    with pytest.raises((Missing, Forbidden)):
        await join(bob, hall.voice)


async def lose(how: str, ann: Person, bob: Person, hall: Hall) -> None:
    if how == "kick":
        await ann.call(MemberKick(space=hall.id, user=me(bob)))
    elif how == "timeout":
        await ann.call(MemberTimeout(space=hall.id, user=me(bob), until=in_an_hour()))
    elif how == "denied":
        await hall.space.overwrite(hall.voice, deny=["connect"])
    elif how == "role":
        await ann.call(PermissionClear(channel=hall.voice, user=me(bob)))
    else:
        await ann.call(ChannelDelete(channel=hall.voice))


def in_an_hour() -> Any:
    from datetime import UTC, datetime, timedelta

    return datetime.now(UTC) + timedelta(hours=1)


async def test_who_loses_the_right_to_speak_is_no_speaker_any_more(ann: Person, bob: Person, hall: Hall) -> None:
    await join(ann, hall.voice)
    await join(bob, hall.voice)
    await hall.space.overwrite(hall.voice, deny=["speak", "video"])
    await people(ann, lambda found: len(found) == 2 and not found[1].speaker)
    with pytest.raises(Conflict):
        await bob.call(VoiceUpdate(channel=hall.voice, speaking=True))
    with pytest.raises(Forbidden):
        await bob.call(VoiceUpdate(channel=hall.voice, camera=True))


async def test_a_moderator_silences_somebody_also_when_they_come_back(ann: Person, bob: Person, hall: Hall) -> None:
    await join(ann, hall.voice)
    await join(bob, hall.voice)
    await ann.call(VoiceMute(channel=hall.voice, user=me(bob), muted=True, deafened=True))
    found = await people(ann, lambda found: len(found) == 2 and found[1].silenced)
    assert (found[1].speaker, found[1].deaf) == (False, True)
    await bob.call(VoiceLeave(channel=hall.voice))
    assert (await join(bob, hall.voice)).people[1].silenced
    await ann.call(VoiceMute(channel=hall.voice, user=me(bob), muted=False))
    found = await people(ann, lambda found: len(found) == 2 and not found[1].silenced)
    assert (found[1].speaker, found[1].deaf) == (True, True)
    with pytest.raises(Forbidden):
        await bob.call(VoiceMute(channel=hall.voice, user=me(ann), muted=True))


async def test_a_moderator_asks_somebody_into_another_channel_or_out(ann: Person, bob: Person, hall: Hall) -> None:
    other = await hall.space.room("other", kind="voice")
    await join(bob, hall.voice)
    with pytest.raises(Forbidden):
        await bob.call(VoiceMove(channel=hall.voice, user=me(bob), to=other))
    with pytest.raises(Invalid):
        await ann.call(VoiceMove(channel=hall.voice, user=me(bob), to=await hall.space.room("text")))
    await ann.call(VoiceMove(channel=hall.voice, user=me(bob), to=other))
    moved = await ended(bob)
    assert (moved.why, moved.to) == ("moved", other)
    await join(bob, other)
    await ann.call(VoiceMove(channel=other, user=me(bob)))
    assert (await ended(bob)).why == "put_out"
    with pytest.raises(Missing):
        await ann.call(VoiceMove(channel=other, user=me(bob)))


async def test_only_voice_and_stage_channels_are_joined(ann: Person, hall: Hall) -> None:
    with pytest.raises(Invalid):
        await join(ann, await hall.space.room("text"))
    with pytest.raises(Conflict):
        await ann.call(VoiceUpdate(channel=hall.voice, muted=True))


async def test_nothing_is_kept_of_what_is_over(ann: Person, hall: Hall, server: Server) -> None:
    await join(ann, hall.voice)
    await ann.call(VoiceLeave(channel=hall.voice))
    await until(lambda: not server.rooms._rooms)
    assert server.rooms.held == 0
    assert await server.bus.script("return redis.call('KEYS', '*seat:*')", [], []) == []
