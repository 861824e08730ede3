"""Channels of spaces: kinds, categories, order, who sees them, slow mode, and that what is hidden is absent."""

import asyncio
from uuid import UUID, uuid4

import pytest

from protocol.channel import (
    ChannelAddMember,
    ChannelCreate,
    ChannelDelete,
    ChannelGet,
    ChannelJoin,
    ChannelLeave,
    ChannelList,
    ChannelMembers,
    ChannelMute,
    ChannelMuted,
    ChannelReorder,
    ChannelUnwatch,
    ChannelUpdate,
    ChannelWatch,
)
from protocol.client import Client
from protocol.error import RateLimited
from protocol.message import (
    MessageCreated,
    MessageDelete,
    MessageEdit,
    MessageForward,
    MessageHistory,
    MessageMarkRead,
    MessagePin,
    MessageReaders,
    MessageSend,
)
from protocol.permission import PermissionClear, PermissionExplain, PermissionList, PermissionSet
from protocol.reaction import ReactionAdd
from protocol.role import RoleUpdate
from protocol.session import Cursor, SessionOpen, SessionPing
from protocol.space import SpaceChanged, SpaceMoved
from server import Server
from tests.chat import Phone, device, group, history, me, nodes, refused, say, standing
from tests.community import community, watch
from tests.conftest import Connector, Person, Starter


def message(channel: UUID, text: str = "x", **fields: object) -> MessageSend:
    return MessageSend(channel=channel, text=text, nonce=uuid4(), **fields)  # type: ignore[arg-type]


# Making and ordering


@pytest.mark.parametrize("kind", ["text", "broadcast", "voice", "stage", "forum", "category"])
async def test_a_channel_of_each_kind_is_made_and_told(ann: Person, bob: Person, kind: str) -> None:
    club = await community(ann, bob)
    await club.seen(bob)
    room = await club.room("new", kind=kind)
    (told,) = (await bob.wait_for(SpaceChanged)).channels
    assert (told.channel.id, told.channel.kind, told.channel.space) == (room, kind, club.id)
    assert told in (await club.seen(bob)).channels


@pytest.mark.parametrize(
    ("kind", "code"), [("broadcast", "forbidden"), ("category", "forbidden"), ("forum", "forbidden")]
)
async def test_not_everybody_writes_into_every_kind(ann: Person, bob: Person, kind: str, code: str) -> None:
    club = await community(ann, bob)
    room = await club.room("new", kind=kind)
    assert await refused(bob, message(room)) == code
    assert await refused(ann, message(room)) == ("ok" if kind == "broadcast" else "forbidden")


async def test_a_channel_is_made_once_for_a_nonce(ann: Person) -> None:
    club = await community(ann)
    frame = ChannelCreate(name="once", nonce=uuid4(), space=club.id)
    made = await asyncio.gather(*(ann.call(frame) for _ in range(5)))
    assert len({one.channel.id for one in made}) == 1
    assert sorted(await club.names(ann)) == ["general", "once"]


async def test_channels_are_made_changed_and_deleted_with_the_right_only(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    room = await club.room()
    frames = [
        ChannelCreate(name="mine", nonce=uuid4(), space=club.id),
        ChannelUpdate(channel=room, name="mine"),
        ChannelReorder(space=club.id, channels=[room]),
        ChannelDelete(channel=room),
    ]
    assert [await refused(bob, frame) for frame in frames] == ["forbidden"] * 4
    await club.role("builders", "manage_channels", to=bob)
    assert [await refused(bob, frame) for frame in frames] == ["ok"] * 4
    assert sorted(await club.names(ann)) == ["general", "mine"]


async def test_a_space_has_room_for_so_many_channels(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    from server import space

    monkeypatch.setattr(space, "MOST_CHANNELS", 3)
    club = await community(ann)
    await club.room()
    await club.room()
    assert await refused(ann, ChannelCreate(name="x", nonce=uuid4(), space=club.id)) == "conflict"


async def test_what_fits_only_a_group_or_only_a_space_is_refused(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    category = await club.room("c", kind="category")
    room = await club.room()
    wrong = [
        ChannelCreate(name="x", nonce=uuid4(), kind="text"),
        ChannelCreate(name="x", nonce=uuid4(), slow=5),
        ChannelCreate(name="x", nonce=uuid4(), space=club.id, members=[me(bob)]),
        ChannelCreate(name="x", nonce=uuid4(), space=club.id, open=True),
        ChannelCreate(name="x", nonce=uuid4(), space=club.id, kind="category", parent=category),
        ChannelUpdate(channel=room, open=True),
        ChannelUpdate(channel=await group(ann), slow=5),
        ChannelReorder(space=club.id, channels=[category], parent=category),
    ]
    assert [await refused(ann, frame) for frame in wrong] == ["invalid"] * len(wrong)
    assert await refused(ann, ChannelCreate(name="x", nonce=uuid4(), space=club.id, parent=room)) == "missing"
    assert await refused(ann, ChannelCreate(name="x", nonce=uuid4(), parent=category)) == "missing"
    for frame in (ChannelLeave(channel=room), ChannelAddMember(channel=room, user=me(bob))):
        assert await refused(ann, frame) == "forbidden"
    assert await refused(ann, ChannelJoin(channel=room)) == "missing"


async def test_channels_are_put_in_order_and_into_categories(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    category = await club.room("c", kind="category")
    rooms = [await club.room(str(number)) for number in range(3)]
    await ann.call(ChannelReorder(space=club.id, channels=[rooms[2], rooms[0]], parent=category))
    shown = {one.channel.id: one.channel for one in (await club.seen(bob)).channels}
    assert [shown[room].parent for room in rooms] == [category, None, category]
    assert shown[rooms[2]].position < shown[rooms[0]].position
    await ann.call(ChannelDelete(channel=category))
    shown = {one.channel.id: one.channel for one in (await club.seen(bob)).channels}
    assert [shown[room].parent for room in rooms] == [None] * 3


async def test_a_deleted_channel_is_gone_for_everybody_at_once(server: Server, ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    room = await club.room()
    await club.seen(bob)
    await watch(bob, room)
    await say(bob, room)
    await ann.call(ChannelDelete(channel=room))
    assert (await bob.wait_for(SpaceChanged)).gone == [room]
    for frame in (message(room), MessageHistory(channel=room), ChannelGet(channel=room)):
        assert await refused(bob, frame) == "missing"
    async with asyncio.timeout(20):
        while await server.pool.fetchval("SELECT count(*) FROM stream WHERE id = $1", room):
            await asyncio.sleep(0.05)


# Hidden means absent


async def test_a_private_channel_is_absent_for_who_does_not_see_it(
    ann: Person, bob: Person, connect: Connector, server: Server
) -> None:
    club = await community(ann, bob)
    room = await club.room("watched by all")
    secret = await club.room("secret", private=True)
    phone = await Phone.open(server, bob.tokens_given.access)
    before = await club.seen(bob)
    await say(ann, secret, "hush")
    await say(ann, room, "loud")
    await ann.call(ChannelUpdate(channel=secret, topic="hush"))
    async with asyncio.timeout(10):
        while not (told := await bob.wait_for(SpaceMoved)).lasts:
            pass
    assert [one.channel for one in told.lasts] == [room]
    assert (await club.seen(bob)).outline == before.outline, "a change that one cannot see changes nothing"
    frames = [
        ChannelGet(channel=secret),
        ChannelWatch(channels=[secret]),
        ChannelMembers(channel=secret),
        MessageHistory(channel=secret),
        message(secret),
        ReactionAdd(channel=secret, seq=1, emoji="👍"),
        MessageMarkRead(channel=secret, seq=1),
        ChannelMute(channel=secret, until=None),
        PermissionList(channel=secret),
        PermissionExplain(channel=secret, permission="view"),
        ChannelReorder(space=club.id, channels=[secret]),
        MessageForward(channel=room, source=secret, seq=1, nonce=uuid4()),
    ]
    codes = [await refused(bob, frame) for frame in frames]
    assert codes == ["missing"] * 10 + ["forbidden", "missing"]
    assert not any(str(secret).encode() in one or b"hush" in one for one in phone.messages)
    await phone.call(SessionPing(heads=[Cursor(stream=secret, seq=0)]))
    assert not any(str(secret).encode() in one or b"hush" in one for one in phone.messages)


async def test_a_channel_appears_and_vanishes_with_the_right_to_see_it(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    club = await community(ann, bob)
    secret = await club.room("secret", private=True)
    await club.seen(bob)
    await club.overwrite(secret, user=bob, allow=["view"])
    assert [one.channel.name for one in (await bob.wait_for(SpaceChanged)).channels] == ["secret"]
    await watch(bob, secret)
    await say(ann, secret, "heard")
    assert (await bob.wait_for(MessageCreated)).message.text == "heard"
    await ann.call(PermissionClear(channel=secret, user=me(bob)))
    assert (await bob.wait_for(SpaceChanged)).gone == [secret]
    await say(ann, secret, "not heard")
    assert await refused(bob, MessageHistory(channel=secret)) == "missing"
    with pytest.raises(TimeoutError):
        await bob.wait_for(MessageCreated, 0.3)


async def test_what_was_told_and_what_is_there_are_the_same(ann: Person, bob: Person, connect: Connector) -> None:
    """Events applied to what was seen before give what is seen afresh."""
    club = await community(ann, bob)
    before = await club.seen(bob)
    role = await club.role("mods", "manage_messages", to=bob)
    category = await club.room("c", kind="category")
    rooms = [await club.room(str(number), parent=category) for number in range(3)]
    await club.overwrite(category, role=role, allow=["mention_everyone"])
    await club.overwrite(rooms[0], deny=["view"])
    await ann.call(ChannelUpdate(channel=rooms[1], name="new", slow=3))
    await ann.call(ChannelDelete(channel=rooms[2]))
    after = await club.seen(await device(connect, bob))  # who reads is told of no difference to that
    roles = {one.id: one for one in before.roles}
    channels = {one.channel.id: one for one in before.channels}
    outline, permissions = before.outline, before.permissions
    while outline != after.outline:
        told = await bob.wait_for(SpaceChanged)
        assert told.was == outline
        outline, permissions = told.outline, told.permissions or permissions
        roles |= {one.id: one for one in told.roles}
        channels |= {one.channel.id: one for one in told.channels}
        for gone in told.gone:
            roles.pop(gone, None)
            channels.pop(gone, None)
    assert sorted(permissions) == sorted(after.permissions)
    assert roles == {one.id: one for one in after.roles}
    assert channels == {one.channel.id: one for one in after.channels}


async def test_members_of_a_channel_are_those_who_see_it(ann: Person, connect: Connector) -> None:
    bob, cid = await connect("bob"), await connect("cid")
    club = await community(ann, bob, cid)
    secret = await club.room("secret", private=True)
    await club.overwrite(secret, user=cid, allow=["view"])
    found = await ann.call(ChannelMembers(channel=secret))
    assert ([user.username for user in found.users], found.next) == (["ann", "cid"], None)
    assert [user.username for user in (await ann.call(ChannelMembers(channel=secret, limit=1))).users] == ["ann"]


# Permissions in channels


async def test_each_permission_of_channels_is_needed_for_what_it_names(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    room = await club.room()
    await club.role("mods", "manage_messages", "pin", to=bob)
    seq = await say(ann, room)
    needed = {
        "send": message(room),
        "history": MessageHistory(channel=room),
        "react": ReactionAdd(channel=room, seq=seq, emoji="👍"),
        "pin": MessagePin(channel=room, seq=seq),
        "manage_messages": MessageDelete(channel=room, seq=seq),
    }
    for name in needed:
        await ann.call(PermissionSet(channel=room, user=me(bob), deny=[name]))  # type: ignore[list-item]
        got = {other: await refused(bob, frame) for other, frame in needed.items() if other == name}
        assert got == {name: "forbidden"}
    await ann.call(PermissionClear(channel=room, user=me(bob)))
    assert {await refused(bob, frame) for frame in needed.values()} == {"ok"}


async def test_a_category_decides_for_its_channels_until_they_differ(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    category = await club.room("c", kind="category")
    room = await club.room("in it", parent=category)
    await club.overwrite(category, deny=["send"])
    assert await refused(bob, message(room)) == "forbidden"
    await club.overwrite(room, allow=["send"])
    await say(bob, room)


async def test_why_somebody_may_or_may_not_is_explained(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    category = await club.room("quiet", kind="category")
    room = await club.room("in it", parent=category)
    writers = await club.role("writers", to=bob)

    async def why(permission: str = "send") -> tuple[bool, str, UUID | None, UUID | None]:
        frame = PermissionExplain(channel=room, permission=permission, user=me(bob))  # type: ignore[arg-type]
        found = await ann.call(frame)
        assert found.words
        return found.allowed, found.rule, found.cause, found.place

    assert await why() == (True, "role", club.id, None)
    assert await why("ban") == (False, "nobody", None, None)
    await club.overwrite(category, deny=["send"])
    assert await why() == (False, "denied_by_everyone", club.id, category)
    assert await why("attach") == (False, "implied", None, None)
    await club.overwrite(room, role=writers, allow=["send"])
    assert await why() == (True, "allowed_by_roles", writers, room)
    await club.overwrite(room, user=bob, deny=["send"])
    assert await why() == (False, "denied_by_member", me(bob), room)
    own = await bob.call(PermissionExplain(channel=room, permission="send"))
    assert (own.allowed, own.rule) == (False, "denied_by_member")
    assert await refused(bob, PermissionExplain(channel=room, permission="send", user=me(ann))) == "forbidden"
    await club.role("admins", "administrator", to=bob)
    assert await why() == (True, "administrator", None, None)


async def test_overwrites_are_listed_for_who_can_change_them(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    room = await club.room()
    await club.overwrite(room, user=bob, allow=["pin"], deny=["react"])
    await club.overwrite(room, deny=["attach"])
    found = (await ann.call(PermissionList(channel=room))).overwrites
    assert {(one.target, one.member, *one.allow, *one.deny) for one in found} == {
        (me(bob), True, "pin", "react"),
        (club.id, False, "attach"),
    }
    assert await refused(bob, PermissionList(channel=room)) == "forbidden"


async def test_nobody_overwrites_beyond_their_own_permissions_or_above_themselves(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    room = await club.room()
    high = await club.role("high")
    await club.role("keepers", "manage_roles", to=bob)
    low = await club.role("low")
    assert await refused(bob, PermissionSet(channel=room, role=low, allow=["pin"])) == "forbidden", "bob has no pin"
    assert await refused(bob, PermissionSet(channel=room, role=high, deny=["send"])) == "forbidden", "it stands higher"
    assert await refused(bob, PermissionSet(channel=room, user=me(ann), deny=["send"])) == "forbidden"
    assert await refused(bob, PermissionSet(channel=room, role=low, deny=["send"])) == "ok"
    wrong = [
        PermissionSet(channel=room, role=low, allow=["kick"]),
        PermissionSet(channel=room, role=low, allow=["send"], deny=["send"]),
        PermissionSet(channel=room, allow=["send"]),
        PermissionSet(channel=room, role=low, user=me(bob), allow=["send"]),
        PermissionSet(channel=await group(bob, ann), user=me(ann), allow=["send"]),
    ]
    codes = [await refused(bob, frame) for frame in wrong]
    assert codes == ["invalid"] * 4 + ["missing"]


async def test_a_category_that_hides_channels_does_not_go_before_them(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    category = await club.room("private", kind="category", private=True)
    room = await club.room("in it", parent=category)
    assert await club.names(bob) == ["general"]
    assert await refused(ann, ChannelDelete(channel=category)) == "conflict"
    await ann.call(ChannelDelete(channel=room))
    await ann.call(ChannelDelete(channel=category))


async def test_a_channel_is_moved_between_categories_only_by_who_may_change_what_that_changes(
    ann: Person, bob: Person
) -> None:
    club = await community(ann, bob)
    quiet, plain = await club.room("quiet", kind="category"), await club.room("plain", kind="category")
    room = await club.room("in it", parent=quiet)
    await club.overwrite(quiet, deny=["send"])
    builders = await club.role("builders", "manage_channels", to=bob)
    for parent in (None, plain):
        assert await refused(bob, ChannelReorder(space=club.id, channels=[room], parent=parent)) == "forbidden"
    assert await refused(bob, ChannelReorder(space=club.id, channels=[room], parent=quiet)) == "ok", "it stays there"
    assert await refused(bob, message(room)) == "forbidden"
    await ann.call(RoleUpdate(space=club.id, role=builders, permissions=["manage_channels", "manage_roles"]))
    assert await refused(bob, ChannelReorder(space=club.id, channels=[room])) == "forbidden", "bob cannot send there"
    await ann.call(ChannelReorder(space=club.id, channels=[room]))
    await say(bob, room)


# Slow mode


async def test_in_a_slow_channel_one_waits_between_two_messages(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    room = await club.room(slow=2)
    await say(bob, room)
    with pytest.raises(RateLimited) as refusal:
        await say(bob, room)
    assert refusal.value.retry_after is not None
    assert 0 < refusal.value.retry_after <= 2
    await say(ann, room)  # her right to bypass it
    await say(ann, room)
    await asyncio.sleep(refusal.value.retry_after)
    await say(bob, room)


async def test_slow_mode_holds_for_all_devices_and_nodes_together(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=here)
    club = await community(ann, bob)
    room = await club.room(slow=600)
    phones = [await Phone.open(node, bob.tokens_given.access) for node in (here, there) for _ in range(3)]
    asked = [phone.ask(*(message(room) for _ in range(3))) for phone in phones]
    answers = [one for phone, numbers in zip(phones, asked, strict=True) for one in await phone.answers(numbers)]
    assert sum("ok" in one for one in answers) == 1
    assert {one["error"]["code"] for one in answers if "error" in one} == {"rate_limited"}
    assert len(await history(ann, room)) == 1


async def test_a_retry_in_a_slow_channel_is_the_first_message(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    room = await club.room(slow=600)
    frame = message(room)
    assert await bob.call(frame) == await bob.call(frame)


async def test_a_channel_becomes_slow_and_fast_again_at_once(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    room = await club.room()
    await say(bob, room)
    await say(bob, room)
    await ann.call(ChannelUpdate(channel=room, slow=600))
    await say(bob, room)
    assert await refused(bob, message(room)) == "rate_limited"
    await ann.call(ChannelUpdate(channel=room, slow=0))
    await say(bob, room)


# Reading


async def test_history_is_read_with_the_permission_only_also_what_was_missed(
    ann: Person, bob: Person, server: Server
) -> None:
    club = await community(ann, bob)
    room = await club.room()
    await say(ann, room, "erstwhile")
    await club.overwrite(room, deny=["history"])
    await watch(bob, room)
    assert await refused(bob, MessageHistory(channel=room)) == "forbidden"
    assert (await standing(bob, room)).last is None
    last = await say(ann, room, "now")
    assert (await bob.wait_for(MessageCreated)).message.text == "now"
    phone, reply = await Phone.resume(server, bob.tokens_given.access, {room: 0})
    assert reply["reset"] == [str(room)]
    assert not any(b"erstwhile" in one for one in phone.messages)
    assert last


async def test_marks_and_mutes_are_kept_for_channels_of_spaces(ann: Person, bob: Person, connect: Connector) -> None:
    from datetime import UTC, datetime, timedelta

    club = await community(ann, bob)
    room = await club.room()
    seq = await say(ann, room, mentions=[me(bob)])
    found = await standing(bob, room)
    assert (found.unread, found.mentions, found.read) == (1, 1, 0)
    marks = await bob.call(MessageMarkRead(channel=room, seq=seq))
    assert (marks.read, marks.unread, marks.mentions) == (seq, 0, 0)
    until = datetime.now(UTC) + timedelta(hours=1)
    await bob.call(ChannelMute(channel=room, until=until))
    assert (await bob.wait_for(ChannelMuted)).until == until
    (mark,) = (await club.seen(bob)).marks
    assert (mark.read, mark.muted_until) == (seq, until)
    readers = await ann.call(MessageReaders(channel=room, seq=seq))
    assert [one.user for one in readers.readers] == [me(bob)]


async def test_edits_in_spaces_mention_only_who_sees_the_channel(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    secret = await club.room("secret", private=True)
    seq = await say(ann, secret)
    assert await refused(ann, MessageEdit(channel=secret, seq=seq, text="y", mentions=[me(bob)])) == "missing"
    await club.overwrite(secret, user=bob, allow=["view"])
    await ann.call(MessageEdit(channel=secret, seq=seq, text="y", mentions=[me(bob)]))


async def test_unwatched_channels_are_heard_no_more(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    room = await club.room()
    await watch(bob, room)
    await say(ann, room, "one")
    assert (await bob.wait_for(MessageCreated)).message.text == "one"
    await bob.call(ChannelUnwatch(channels=[room, uuid4()]))
    await say(ann, room, "two")
    with pytest.raises(TimeoutError):
        await bob.wait_for(MessageCreated, 0.3)


async def test_channels_of_spaces_are_not_among_ones_own(ann: Person) -> None:
    club = await community(ann)
    await say(ann, await club.room())
    assert (await ann.call(ChannelList())).channels == []


async def test_an_api_key_without_messages_watches_nothing(ann: Person, server: Server) -> None:
    from protocol.api_key import ApiKeyCreate

    club = await community(ann)
    room = await club.room()
    made = await ann.call(ApiKeyCreate(name="k", scopes=["channel", "space.list"], password=Person.password))
    async with Client(server.url, reconnect=False) as bot:
        opened = await bot.call(SessionOpen(token=made.secret))
        assert [one.space.id for one in opened.spaces] == [club.id]
        assert await refused(bot, ChannelWatch(channels=[room])) == "forbidden"


async def test_a_channel_that_is_named_twice_is_watched_once(ann: Person) -> None:
    club = await community(ann)
    room = await club.room()
    assert [one.channel for one in (await ann.call(ChannelWatch(channels=[room, room]))).channels] == [room]
