"""notification: who is told of what besides their channels, once, and no longer than it is theirs to know."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from protocol.account import AccountDelete, AccountRegister
from protocol.channel import (
    ChannelAddMember,
    ChannelDelete,
    ChannelLeave,
    ChannelMute,
    ChannelRemoveMember,
)
from protocol.client import Client
from protocol.friend import FriendAccept, FriendDecline, FriendRemove, FriendRequest
from protocol.member import MemberKick
from protocol.message import MessageDelete, MessageDeleteMany, MessageEdit, MessagePin
from protocol.notification import (
    Notification,
    NotificationConfigure,
    NotificationCounts,
    NotificationList,
    NotificationMarkRead,
    NotificationPage,
    NotificationSettings,
    Setting,
    Unread,
)
from protocol.presence import PresenceSet
from protocol.space import SpaceDelete, SpaceLeave
from protocol.user import UserBlock
from server import Server
from server import tail as tails
from storage import notification as notifications
from storage import notification_level
from storage import stream as streams
from tests.chat import UNBOUND, Phone, device, direct, group, me, nodes, refused, say, settled, sql
from tests.community import community
from tests.conftest import Connector, Person, Starter
from tests.tail_node import DONE, a_node


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes behind messages comes at once."""
    monkeypatch.setattr(tails, "_EVERY", 0.01)


async def page(person: Client, **fields: Any) -> NotificationPage:
    return await person.call(NotificationList(**fields))


async def listed(server: Server, person: Client, **fields: Any) -> list[Notification]:
    """What somebody was notified of, when all is done."""
    await settled(server)
    return (await page(person, **fields)).notifications


async def kinds(server: Server, person: Client) -> list[str]:
    return [one.kind for one in await listed(server, person)]


async def unread(person: Client) -> Unread:
    return (await person.call(NotificationCounts())).counts


class Follower:
    """What a device knows by what it has read once, and by the facts that came since."""

    def __init__(self, phone: Phone, account: UUID) -> None:
        self.phone, self.account = phone, account
        self.known: dict[int, dict[str, Any]] = {}
        self.counts: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}
        self._head = 0

    @classmethod
    async def of(cls, server: Server, person: Person) -> "Follower":
        one = cls(await Phone.open(server, person.tokens_given.access), me(person))
        told = await one.phone.call(NotificationList(limit=100))
        one.known = {found["id"]: found for found in told["notifications"]}
        one.counts, one._head = told["counts"], told["head"]
        return one

    async def follow(self, server: Server) -> "Follower":
        """Everything that was told until now."""
        await settled(server)
        head = await server.pool.fetchval("SELECT head FROM stream WHERE id = $1", self.account)
        if head > self._head:
            await self.phone.heard(self.account, head)
        for fact in self.phone.facts(self.account):
            if self._head < fact["seq"] <= head:
                self._take(fact)
        self._head = head
        return self

    def _take(self, fact: dict[str, Any]) -> None:
        kind = fact["ev"]
        self.counts = fact.get("counts", self.counts)
        if kind == "notification.created":
            assert fact["notification"]["id"] == fact["seq"]
            self.known[fact["seq"]] = fact["notification"]
        elif kind == "notification.removed":
            for id in fact["notifications"]:
                del self.known[id]
        elif kind == "notification.read":
            for one in self.known.values():
                if one["id"] <= fact["until"] and fact["channel"] in (None, one["channel"]):
                    one["read"] = True

    async def agrees(self, server: Server) -> None:
        """Events and stale state are fresh state."""
        await self.follow(server)
        told = await self.phone.call(NotificationList(limit=100))
        await self.follow(server)
        assert sorted(self.known.values(), key=lambda one: -one["id"]) == told["notifications"]
        assert self.counts == told["counts"]
        assert self.counts["unread"] == sum(not one["read"] for one in self.known.values())


# What there is


async def test_who_is_mentioned_is_notified(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await say(ann, channel, "look, bob", mentions=[me(bob)])
    (one,) = await listed(server, bob)
    assert (one.kind, one.by, one.space, one.channel, one.message, one.read) == (
        "mention",
        me(ann),
        None,
        channel,
        seq,
        False,
    )
    assert await listed(server, ann) == []


async def test_who_is_answered_is_notified(server: Server, ann: Person, bob: Person) -> None:
    channel = await direct(ann, bob)
    said = await say(bob, channel, "?")
    answer = await say(ann, channel, "!", reply_to=said)
    (one,) = await listed(server, bob)
    assert (one.kind, one.message) == ("reply", answer)


async def test_who_is_mentioned_and_answered_is_notified_once_of_the_mention(
    server: Server, ann: Person, bob: Person
) -> None:
    channel = await group(ann, bob)
    said = await say(bob, channel)
    await say(ann, channel, reply_to=said, mentions=[me(bob)])
    assert await kinds(server, bob) == ["mention"]


async def test_nobody_is_notified_of_what_they_say_themselves(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    said = await say(ann, channel, mentions=[me(ann)])
    await say(ann, channel, reply_to=said)
    assert await kinds(server, ann) == await kinds(server, bob) == []


async def test_an_edit_that_adds_a_mention_notifies_once(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await say(ann, channel, "hello")
    assert await kinds(server, bob) == []
    for text, mentions in (("hello bob", [bob]), ("hello, bob", [bob, ann]), ("hello", []), ("hello bob!", [bob])):
        await ann.call(MessageEdit(channel=channel, seq=seq, text=text, mentions=[me(one) for one in mentions]))
        assert [one.message for one in await listed(server, bob)] == [seq]


async def test_a_mention_that_did_not_notify_does_not_when_the_message_is_edited(
    server: Server, ann: Person, bob: Person
) -> None:
    channel = await group(ann, bob)
    await bob.call(ChannelMute(channel=channel, until=datetime.now(UTC) + timedelta(hours=1)))
    seq = await say(ann, channel, "helo", mentions=[me(bob)])
    await settled(server)
    await bob.call(ChannelMute(channel=channel, until=None))
    await ann.call(MessageEdit(channel=channel, seq=seq, text="hello", mentions=[me(bob)]))
    await bob.call(MessagePin(channel=channel, seq=seq))
    assert await kinds(server, bob) == []


async def test_friends_notify_each_other(server: Server, ann: Person, bob: Person) -> None:
    await ann.call(FriendRequest(user=me(bob)))
    (asked,) = await listed(server, bob)
    assert (asked.kind, asked.by, asked.channel) == ("friend_request", me(ann), None)
    assert await kinds(server, ann) == []
    await bob.call(FriendAccept(user=me(ann)))
    assert (await kinds(server, ann), await kinds(server, bob)) == (["friend_accepted"], [])
    await bob.call(FriendRemove(user=me(ann)))
    assert await kinds(server, ann) == []


async def test_a_friend_request_that_is_declined_or_taken_back_is_no_notification_any_more(
    server: Server, ann: Person, bob: Person
) -> None:
    for end, by in ((FriendDecline(user=me(ann)), bob), (FriendRemove(user=me(bob)), ann)):
        await ann.call(FriendRequest(user=me(bob)))
        assert await kinds(server, bob) == ["friend_request"]
        await by.call(end)
        assert await kinds(server, bob) == []


# Who wants none


async def test_silent_messages_notify_nobody(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    said = await say(bob, channel)
    seq = await say(ann, channel, mentions=[me(bob)], reply_to=said, silent=True)
    await ann.call(MessageEdit(channel=channel, seq=seq, text="softly", mentions=[me(bob)]))
    assert await kinds(server, bob) == []


async def test_a_muted_channel_makes_none(server: Server, ann: Person, bob: Person) -> None:
    channel, space = await group(ann, bob), await community(ann, bob)
    for one in (channel, await space.room()):
        await bob.call(ChannelMute(channel=one, until=datetime.now(UTC) + timedelta(hours=1)))
        await bob.call(NotificationConfigure(channel=one, level="all"))
        await say(ann, one, mentions=[me(bob)])
        assert await kinds(server, bob) == []
        await bob.call(ChannelMute(channel=one, until=None))
    await say(ann, channel, mentions=[me(bob)])
    assert await kinds(server, bob) == ["mention"]


async def test_a_muted_space_makes_none_but_in_channels_that_were_chosen(
    server: Server, ann: Person, bob: Person
) -> None:
    space = await community(ann, bob)
    category = await space.room("category", kind="category")
    plain, chosen, within = await space.room("a"), await space.room("b"), await space.room("c", parent=category)
    await bob.call(NotificationConfigure(space=space.id, level="nothing"))
    await bob.call(NotificationConfigure(channel=chosen, level="mentions"))
    for channel in (plain, chosen, within):
        await say(ann, channel, mentions=[me(bob)])
    assert [one.channel for one in await listed(server, bob)] == [chosen]
    await bob.call(NotificationConfigure(channel=category, level="mentions"))
    await say(ann, within, mentions=[me(bob)])
    assert [one.channel for one in await listed(server, bob)] == [within, chosen]
    await bob.call(NotificationConfigure(space=space.id, level=None))
    await say(ann, plain, mentions=[me(bob)])
    assert [one.channel for one in await listed(server, bob)] == [plain, within, chosen]


async def test_a_level_counts_until_its_time(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    await bob.call(NotificationConfigure(channel=channel, level="nothing", until=soon))
    await say(ann, channel, mentions=[me(bob)])
    assert await kinds(server, bob) == []
    await asyncio.sleep((soon - datetime.now(UTC)).total_seconds() + 0.05)
    assert (await bob.call(NotificationSettings())).settings == []
    await say(ann, channel, mentions=[me(bob)])
    assert await kinds(server, bob) == ["mention"]


async def test_all_lists_no_more_than_mentions(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    await bob.call(NotificationConfigure(channel=channel, level="all"))
    await say(ann, channel)
    await say(ann, channel, mentions=[me(bob)])
    assert await kinds(server, bob) == ["mention"]


async def test_who_does_not_want_to_be_disturbed_finds_it_in_the_list(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    await bob.call(PresenceSet(status="dnd"))
    await say(ann, channel, mentions=[me(bob)])
    assert await kinds(server, bob) == ["mention"]


async def test_settings_are_told_and_listed(server: Server, ann: Person, bob: Person) -> None:
    channel, space = await group(ann, bob), await community(ann, bob)
    follower = await Follower.of(server, bob)
    until = datetime.now(UTC) + timedelta(hours=1)
    one = await bob.call(NotificationConfigure(channel=channel, level="all"))
    other = await bob.call(NotificationConfigure(space=space.id, level="nothing", until=until))
    assert one == Setting(space=None, channel=channel, level="all", until=None)
    assert sorted((await bob.call(NotificationSettings())).settings, key=str) == sorted([one, other], key=str)
    await bob.call(NotificationConfigure(channel=channel, level="all"))
    await bob.call(NotificationConfigure(channel=channel, level=None))
    await follower.follow(server)
    told = [fact["setting"] for fact in follower.phone.events if fact["ev"] == "notification.configured"]
    assert [(fact["level"], fact["channel"]) for fact in told] == [
        ("all", str(channel)),
        ("nothing", None),
        (None, str(channel)),
    ]
    assert (await bob.call(NotificationSettings())).settings == [other]
    assert await refused(bob, NotificationConfigure(level="all")) == "invalid"
    assert await refused(bob, NotificationConfigure(level="all", space=space.id, channel=channel)) == "invalid"


async def test_there_is_room_for_so_many_settings(server: Server, ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification_level, "MOST", 2)
    channels = [await group(ann, name=str(number)) for number in range(3)]
    codes = [await refused(ann, NotificationConfigure(channel=one, level="nothing")) for one in channels]
    assert codes == ["ok", "ok", "conflict"]
    assert await refused(ann, NotificationConfigure(channel=channels[0], level="all")) == "ok"


# Hidden means absent


async def test_nobody_is_notified_of_what_they_do_not_see(
    server: Server, ann: Person, bob: Person, connect: Connector
) -> None:
    kim, space = await connect("kim"), await community(ann, bob)
    room = await space.room()
    said = {one: await say(one, room) for one in (bob,)}
    await space.overwrite(room, deny=["view"])
    await say(ann, room, reply_to=said[bob])
    channel = await group(ann, kim)
    of_kim = await say(kim, channel)
    await ann.call(ChannelRemoveMember(channel=channel, user=me(kim)))
    await say(ann, channel, reply_to=of_kim)
    assert await kinds(server, bob) == await kinds(server, kim) == []
    assert await server.pool.fetchval("SELECT count(*) FROM notification") == 0


async def test_what_one_does_not_see_any_more_is_in_no_list_and_no_count(
    server: Server, ann: Person, bob: Person
) -> None:
    space = await community(ann, bob)
    room, other = await space.room(), await space.room("other")
    for channel in (room, other):
        await say(ann, channel, mentions=[me(bob)])
    await bob.call(NotificationConfigure(channel=room, level="all"))
    assert len(await listed(server, bob)) == 2
    follower = await Follower.of(server, bob)
    await space.overwrite(room, deny=["view"])
    assert (await unread(bob)).unread == 1
    assert [one.channel for one in await listed(server, bob)] == [other]
    assert (await bob.call(NotificationSettings())).settings == []
    assert await refused(bob, NotificationConfigure(channel=room, level="all")) == "missing"
    assert await refused(bob, NotificationMarkRead(channel=room)) == "missing"
    await follower.agrees(server)


async def test_the_list_finds_what_is_hidden_by_itself(server: Server, ann: Person, bob: Person) -> None:
    space = await community(ann, bob)
    rooms = [await space.room(str(number)) for number in range(4)]
    for channel in rooms:
        await say(ann, channel, mentions=[me(bob)])
    await settled(server)
    await space.overwrite(rooms[3], deny=["view"])
    await space.overwrite(rooms[1], deny=["view"])
    found = await page(bob, limit=1)
    assert ([one.channel for one in found.notifications], found.counts.unread) == ([rooms[2]], 2)
    assert found.next is not None
    rest = await page(bob, limit=1, after=found.next)
    assert ([one.channel for one in rest.notifications], rest.next) == ([rooms[0]], None)


Ending = Callable[[Person, Person, UUID], Awaitable[Any]]
_GROUPS: dict[str, Ending] = {
    "leaves": lambda ann, bob, channel: bob.call(ChannelLeave(channel=channel)),
    "is put out": lambda ann, bob, channel: ann.call(ChannelRemoveMember(channel=channel, user=me(bob))),
    "its end": lambda ann, bob, channel: ann.call(ChannelDelete(channel=channel)),
}
_SPACES: dict[str, Ending] = {
    "leaves": lambda ann, bob, space: bob.call(SpaceLeave(space=space)),
    "is put out": lambda ann, bob, space: ann.call(MemberKick(space=space, user=me(bob))),
    "its end": lambda ann, bob, space: ann.call(SpaceDelete(space=space, name="Club")),
}


@pytest.mark.parametrize("how", _GROUPS)
async def test_with_a_group_its_notifications_are_left(server: Server, ann: Person, bob: Person, how: str) -> None:
    channel, other = await group(ann, bob), await group(ann, bob)
    for one in (channel, other):
        await say(ann, one, mentions=[me(bob)])
    await bob.call(NotificationConfigure(channel=channel, level="all"))
    await settled(server)
    follower = await Follower.of(server, bob)
    await _GROUPS[how](ann, bob, channel)
    await gone(server, "channel", channel)
    assert [one.channel for one in await listed(server, bob)] == [other]
    assert (await bob.call(NotificationSettings())).settings == []
    await follower.agrees(server)


@pytest.mark.parametrize("how", _SPACES)
async def test_with_a_space_its_notifications_are_left(server: Server, ann: Person, bob: Person, how: str) -> None:
    space, other = await community(ann, bob), await community(ann, bob)
    for one in (space, other):
        await say(ann, await one.room(), mentions=[me(bob)])
    await bob.call(NotificationConfigure(space=space.id, level="mentions"))
    await settled(server)
    follower = await Follower.of(server, bob)
    await _SPACES[how](ann, bob, space.id)
    await gone(server, "space", space.id)
    assert [one.space for one in await listed(server, bob)] == [other.id]
    assert (await bob.call(NotificationSettings())).settings == []
    await follower.agrees(server)


async def test_with_a_channel_of_a_space_its_notifications_go(server: Server, ann: Person, bob: Person) -> None:
    space = await community(ann, bob)
    room = await space.room()
    await say(ann, room, mentions=[me(bob)])
    await settled(server)
    follower = await Follower.of(server, bob)
    await ann.call(ChannelDelete(channel=room))
    await gone(server, "channel", room)
    assert await follower.follow(server) and follower.known == {}
    await follower.agrees(server)


async def gone(server: Server, column: str, place: UUID) -> None:
    """Wait until nobody has notifications of a place, without anybody having asked."""
    async with asyncio.timeout(10):
        while await server.pool.fetchval(f"SELECT count(*) FROM notification WHERE {column} = $1", place):
            await asyncio.sleep(0.02)


# Gone with what they are about


async def test_a_message_that_is_taken_back_notifies_nobody_any_more(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    first, second = [await say(ann, channel, mentions=[me(bob)]) for _ in range(2)]
    await settled(server)
    follower = await Follower.of(server, bob)
    await ann.call(MessageDelete(channel=channel, seq=first))
    await follower.follow(server)
    assert [one["message"] for one in follower.known.values()] == [second]
    await follower.agrees(server)


async def test_a_message_that_was_hidden_is_no_notification_any_more(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await say(ann, channel, mentions=[me(bob)])
    assert await kinds(server, bob) == ["mention"]
    await bob.call(MessageDelete(channel=channel, seq=seq, for_all=False))
    assert await kinds(server, bob) == []


async def test_who_is_blocked_notifies_no_more_and_what_there_was_is_gone(
    server: Server, ann: Person, bob: Person
) -> None:
    channel = await group(ann, bob)
    await ann.call(FriendRequest(user=me(bob)))
    await say(ann, channel, mentions=[me(bob)])
    assert len(await listed(server, bob)) == 2
    follower = await Follower.of(server, bob)
    await bob.call(UserBlock(user=me(ann)))
    await say(ann, channel, mentions=[me(bob)])
    assert await kinds(server, bob) == []
    await follower.agrees(server)
    said = await say(ann, channel)
    await say(bob, channel, reply_to=said)
    assert await kinds(server, ann) == ["reply"], "who is blocked is not told so"


async def test_with_an_account_goes_what_it_was_notified_of_and_what_others_were_by_it(
    server: Server, ann: Person, bob: Person
) -> None:
    channel = await group(ann, bob)
    await ann.call(FriendRequest(user=me(bob)))
    await bob.call(FriendAccept(user=me(ann)))
    for one, other in ((ann, bob), (bob, ann)):
        await say(one, channel, mentions=[me(other)])
    await ann.call(NotificationConfigure(channel=channel, level="all"))
    assert (await kinds(server, ann), await kinds(server, bob)) == (["mention", "friend_accepted"], ["mention"])
    await ann.call(AccountDelete(password=Person.password))
    async with asyncio.timeout(10):
        while await server.pool.fetchval("SELECT count(*) FROM notification"):
            await asyncio.sleep(0.02)
    assert await server.pool.fetchval("SELECT count(*) FROM notification_level") == 0
    assert await kinds(server, bob) == []


# Reading


async def test_the_list_comes_newest_first_page_by_page(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seqs = [await say(ann, channel, mentions=[me(bob)]) for _ in range(5)]
    await ann.call(FriendRequest(user=me(bob)))
    await settled(server)
    found, after = list[Notification](), None
    while True:
        some = await page(bob, limit=2, after=after)
        assert len(some.notifications) <= 2
        found, after = found + some.notifications, some.next
        if after is None:
            break
    assert {one.message for one in found} == {*seqs, None}
    ids = [one.id for one in found]
    assert ids == sorted(ids, reverse=True) and len(set(ids)) == 6
    assert [one.kind for one in await listed(server, bob, kinds=["friend_request"])] == ["friend_request"]
    assert len(await listed(server, bob, kinds=["mention", "reply"])) == 5


async def test_what_was_read_is_read_up_to_an_id_or_in_a_channel(server: Server, ann: Person, bob: Person) -> None:
    one, other = await group(ann, bob), await group(ann, bob)
    for channel in (one, other, one, other):
        await say(ann, channel, mentions=[me(bob)])
        await settled(server)
    follower, ids = await Follower.of(server, bob), [found.id for found in await listed(server, bob)]
    assert (await bob.call(NotificationMarkRead(until=ids[-1]))).unread == 3
    assert [found.id for found in await listed(server, bob, unread=True)] == ids[:3]
    assert (await bob.call(NotificationMarkRead(channel=other))).unread == 1
    assert [found.id for found in await listed(server, bob, unread=True)] == [ids[1]]
    before = (await page(bob)).head
    assert (await bob.call(NotificationMarkRead(channel=other))).unread == 1
    assert (await page(bob)).head == before, "again is told to nobody"
    await follower.agrees(server)
    assert (await bob.call(NotificationMarkRead(until=2**53 - 1))).unread == 0
    assert len(await listed(server, bob)) == 4
    assert await refused(bob, NotificationMarkRead()) == "invalid"
    await follower.agrees(server)


async def test_counts_are_those_of_all_devices(server: Server, ann: Person, bob: Person, connect: Connector) -> None:
    space, channel = await community(ann, bob), await group(ann, bob)
    room = await space.room()
    said = await say(bob, room)
    await say(ann, room, mentions=[me(bob)])
    await say(ann, room, reply_to=said)
    await say(ann, channel, mentions=[me(bob)])
    await settled(server)
    other = await device(connect, bob)
    for person in (bob, other):
        counts = await unread(person)
        assert counts.unread == 3
        assert {one.kind: one.unread for one in counts.kinds} == {"mention": 2, "reply": 1}
        assert {one.space: one.unread for one in counts.spaces} == {space.id: 2}
    follower = await Follower.of(server, bob)
    await other.call(NotificationMarkRead(channel=room))
    await follower.follow(server)
    assert follower.counts == {"unread": 1, "kinds": [{"kind": "mention", "unread": 1}], "spaces": []}


async def test_the_newest_are_kept(server: Server, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "KEPT", 3)
    channel = await group(ann, bob)
    for _ in range(2):
        seqs = [await say(ann, channel, mentions=[me(bob)]) for _ in range(4)]
        assert [one.message for one in await listed(server, bob)] == seqs[:0:-1]
        assert (await unread(bob)).unread == 3


async def test_somebody_who_comes_back_is_told_what_they_missed(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    head = await server.pool.fetchval("SELECT head FROM stream WHERE id = $1", me(bob))
    await say(ann, channel, mentions=[me(bob)])
    await settled(server)
    phone, _ = await Phone.resume(server, bob.tokens_given.access, {me(bob): head})
    (fact,) = [one for one in phone.facts(me(bob)) if one["ev"] == "notification.created"]
    assert fact["counts"]["unread"] == 1
    assert "text" not in str(fact)


async def test_who_comes_in_later_is_not_notified_of_what_was_said_before(
    server: Server, ann: Person, bob: Person, connect: Connector
) -> None:
    channel = await group(ann, bob)
    said = await say(bob, channel)
    await bob.call(ChannelLeave(channel=channel))
    await say(ann, channel, reply_to=said)
    await settled(server)
    await ann.call(ChannelAddMember(channel=channel, user=me(bob)))
    assert await kinds(server, bob) == []


# Exactly once


async def test_many_are_notified_and_not_any_more_a_few_at_a_time(
    server: Server, ann: Person, bob: Person, connect: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [bob, await connect("cid"), await connect("dan")]
    channels = [await group(ann, *others) for _ in range(2)]
    await settled(server)
    followers = [await Follower.of(server, one) for one in others]
    held, lock = [], streams.lock

    async def counted(tx: Any, accounts: Any) -> Any:
        held.append(len(accounts))
        return await lock(tx, accounts)

    monkeypatch.setattr(tails, "_CONCERNED", 1)
    monkeypatch.setattr("server.notification._HELD", 2)
    monkeypatch.setattr(streams, "lock", counted)
    meant = [(channel, one) for one in (*others, *others) for channel in channels]
    numbers = await asyncio.gather(*(say(ann, channel, mentions=[me(one)]) for channel, one in meant))
    said = [(one, channel, seq) for (channel, one), seq in zip(meant, numbers, strict=True)]
    await settled(server)
    assert set(held) == {1}
    held.clear()
    for channel in channels:
        await ann.call(MessageDeleteMany(channel=channel, seqs=[seq for _, place, seq in said[:8] if place == channel]))
    for one, follower in zip(others, followers, strict=True):
        await follower.agrees(server)
        left = {(channel, seq) for whom, channel, seq in said[8:] if whom is one}
        assert {(UUID(told["channel"]), told["message"]) for told in follower.known.values()} == left
        told = [fact for fact in follower.phone.facts(me(one)) if fact["ev"] == "notification.created"]
        assert len(told) == 4, "each once"
    assert max(held) == 2


async def test_two_nodes_notify_once_between_them(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start, **UNBOUND)
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    channels = [await group(ann, bob, name=str(number)) for number in range(4)]
    phone = await Phone.open(one, bob.tokens_given.access)
    for _ in range(5):
        await asyncio.gather(*[say(ann, channel, mentions=[me(bob)]) for channel in channels for _ in range(3)])
    found = await listed(one, bob, limit=100)
    assert sorted((one.channel, one.message) for one in found) == sorted(
        (channel, seq) for channel in channels for seq in range(1, 16)
    )
    head = await one.pool.fetchval("SELECT head FROM stream WHERE id = $1", me(bob))
    await phone.heard(me(bob), head)
    told = [fact for fact in phone.facts(me(bob)) if fact["ev"] == "notification.created"]
    assert len(told) == 60 and told[-1]["counts"]["unread"] == 60


@pytest.mark.slow
async def test_what_a_killed_node_was_finding_is_found_once_by_another(
    server: Server, redis_url: str, folder: Path, bob: Person
) -> None:
    """The child's tail takes 50 ms over each transaction, behind which it notifies: it dies in the middle of one."""
    async with sql(server) as db:
        await db.execute(DONE)
    said = dict[UUID, int]()
    for number in range(2):
        async with (
            a_node(server.config.database_url, redis_url, folder, str(number)) as url,
            Client(url, reconnect=False) as ann,
        ):
            await ann.open(await ann.call(AccountRegister(username=f"ann{number}", password=Person.password)))
            channels = [await group(ann, bob) for _ in range(3)]
            async with asyncio.timeout(20):
                while await server.pool.fetchval("SELECT count(*) FROM notification") < 8 * (number + 1):
                    for channel in channels:
                        said[channel] = await say(ann, channel, mentions=[me(bob)])
    await settled(server)
    found = await server.pool.fetch("SELECT channel, seq FROM notification WHERE account = $1", me(bob))
    assert sorted((row["channel"], row["seq"]) for row in found) == sorted(
        (channel, seq) for channel, last in said.items() for seq in range(1, last + 1)
    )
    facts = await server.pool.fetchval("SELECT count(*) FROM fact WHERE kind = 'notification.created'")
    assert facts == len(found) == (await unread(bob)).unread
