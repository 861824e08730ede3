"""Members: listing, finding, naming, timing out, kicking and banning them."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from protocol.account import AccountUpdate
from protocol.error import Refusal
from protocol.member import (
    MemberBan,
    MemberBans,
    MemberChanged,
    MemberGet,
    MemberKick,
    MemberList,
    MemberSearch,
    MemberSuggest,
    MemberTimeout,
    MemberUnban,
    MemberUpdate,
)
from protocol.message import MessageDelete, MessageDeleted, MessageHistory, MessageSend
from protocol.space import SpaceDiscover, SpaceJoin, SpaceLeft
from protocol.user import UserBlock
from server import Server
from tests.chat import UNBOUND, group, history, me, nodes, refused, say
from tests.community import community, watch
from tests.conftest import Connector, Person, Starter


def soon(**length: float) -> datetime:
    return datetime.now(UTC) + timedelta(**length)


async def people(connect: Connector, *names: str) -> list[Person]:
    return [await connect(name) for name in names]


# Listing


async def test_members_are_listed_by_name_in_ranges_from_anywhere(ann: Person, connect: Connector) -> None:
    others = await people(connect, "dan", "bob", "cid", "eve")
    club = await community(ann, *others)
    everybody = await ann.call(MemberList(space=club.id))
    assert ([one.user.username for one in everybody.members], everybody.total) == (
        ["ann", "bob", "cid", "dan", "eve"],
        5,
    )
    middle = await ann.call(MemberList(space=club.id, offset=1, limit=2))
    assert ([one.user.username for one in middle.members], middle.total) == (["bob", "cid"], 5)
    assert (await ann.call(MemberList(space=club.id, offset=9))).members == []


async def test_members_are_listed_by_nick_or_name_and_both_change(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    await bob.call(MemberUpdate(space=club.id, user=me(bob), nick="aaa"))
    assert [one.nick for one in (await ann.call(MemberList(space=club.id))).members] == ["aaa", ""]
    await bob.call(MemberUpdate(space=club.id, user=me(bob), nick=""))
    await bob.call(AccountUpdate(display_name="AAA"))
    assert [one.user.username for one in (await ann.call(MemberList(space=club.id))).members] == ["bob", "ann"]


async def test_the_members_of_a_role_are_listed(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    role = await club.role("r", to=bob)
    found = await ann.call(MemberList(space=club.id, role=role))
    assert ([one.user.id for one in found.members], found.total) == ([me(bob)], 1)
    assert (await ann.call(MemberList(space=club.id, role=club.id))).total == 2


async def test_members_are_found_by_what_their_names_begin_with(ann: Person, connect: Connector) -> None:
    bob, cid = await people(connect, "bobby", "cidney")
    club = await community(ann, bob, cid)
    await cid.call(MemberUpdate(space=club.id, user=me(cid), nick="Bo the 50%_"))
    for text, names in (("bo", {"bobby", "cidney"}), ("CID", {"cidney"}), ("bo the 50%_", {"cidney"}), ("%", set())):
        found = await ann.call(MemberSearch(space=club.id, text=text))
        assert {one.user.username for one in found.members} == names


async def test_only_who_sees_a_channel_is_suggested_there(ann: Person, connect: Connector) -> None:
    bob, bill = await people(connect, "bob", "bill")
    club = await community(ann, bob, bill)
    secret = await club.room("secret", private=True)
    await club.overwrite(secret, user=bob, allow=["view"])
    found = await ann.call(MemberSuggest(channel=secret, text="b"))
    assert [one.user.username for one in found.members] == ["bob"]
    assert await refused(bill, MemberSuggest(channel=secret, text="b")) == "missing"
    assert await refused(ann, MemberSuggest(channel=await group(ann, bob))) == "invalid"


async def test_only_who_sees_a_channel_can_be_mentioned_there(ann: Person, connect: Connector) -> None:
    bob, bill = await people(connect, "bob", "bill")
    club = await community(ann, bob, bill)
    secret = await club.room("secret", private=True)
    await club.overwrite(secret, user=bob, allow=["view"])
    for _ in range(2):  # also when it is remembered how ann stands there
        assert (
            await refused(ann, MessageSend(channel=secret, text="x", nonce=uuid4(), mentions=[me(bill)])) == "missing"
        )
        assert await say(ann, secret, mentions=[me(bob)])


# Names


async def test_nicks_are_changed_by_oneself_or_from_above(ann: Person, bob: Person, connect: Connector) -> None:
    cid = await connect("cid")
    club = await community(ann, bob, cid)
    assert (await bob.call(MemberUpdate(space=club.id, user=me(bob), nick="B"))).nick == "B"
    assert await refused(bob, MemberUpdate(space=club.id, user=me(cid), nick="C")) == "forbidden"
    await club.role("namers", "manage_nicks", to=bob)
    assert (await bob.call(MemberUpdate(space=club.id, user=me(cid), nick="C"))).nick == "C"
    assert (await cid.wait_for(MemberChanged)).member.nick == "C"
    assert await refused(bob, MemberUpdate(space=club.id, user=me(ann), nick="A")) == "forbidden"


# Timeouts


async def test_who_is_timed_out_reads_but_does_nothing_else_until_it_ends(
    ann: Person, bob: Person, server: Server
) -> None:
    club = await community(ann, bob)
    room = await club.room()
    seq = await say(bob, room)
    await ann.call(MemberTimeout(space=club.id, user=me(bob), until=soon(seconds=1.5)))
    assert (await bob.wait_for(MemberChanged)).member.timeout_until is not None
    assert await refused(bob, MessageSend(channel=room, text="x", nonce=uuid4())) == "forbidden"
    assert len(await history(bob, room)) == 1
    await bob.call(MessageDelete(channel=room, seq=seq))
    await asyncio.sleep(1.6)
    assert await say(bob, room) > seq


async def test_a_timeout_is_bounded_and_taken_back(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    room = await club.room()
    for until in (soon(days=29), soon(seconds=-5)):
        assert await refused(ann, MemberTimeout(space=club.id, user=me(bob), until=until)) == "invalid"
    await ann.call(MemberTimeout(space=club.id, user=me(bob), until=soon(days=1)))
    await ann.call(MemberTimeout(space=club.id, user=me(bob), until=None))
    await say(bob, room)


async def test_nobody_is_timed_out_kicked_or_banned_by_who_does_not_stand_above(
    ann: Person, connect: Connector
) -> None:
    bob, cid, dan = await people(connect, "bob", "cid", "dan")
    club = await community(ann, bob, cid, dan)
    role = await club.role("mods", "kick", "ban", "timeout", to=bob)
    await club.grant(role, cid)
    for other in (ann, cid, bob):
        user = me(other)
        for frame in (
            MemberKick(space=club.id, user=user),
            MemberBan(space=club.id, user=user),
            MemberTimeout(space=club.id, user=user, until=soon(hours=1)),
        ):
            assert await refused(bob, frame) in ("forbidden", "invalid")
    await bob.call(MemberKick(space=club.id, user=me(dan)))


async def test_an_administrator_is_not_timed_out(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    await club.role("admins", "administrator", to=bob)
    assert await refused(ann, MemberTimeout(space=club.id, user=me(bob), until=soon(hours=1))) == "forbidden"


# Putting out


async def test_after_a_kick_nothing_of_theirs_comes_in_any_channel(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start, **UNBOUND)
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    club = await community(ann, bob)
    rooms = [await club.room(str(number)) for number in range(4)]
    for _ in range(10):
        for room in rooms:
            await say(bob, room)
        sends = [
            (room, asyncio.create_task(bob.call(MessageSend(channel=room, text="x", nonce=uuid4()))))
            for room in rooms * 5
        ]
        await ann.call(MemberKick(space=club.id, user=me(bob), reason="test"))
        heads = {room: await say(ann, room) for room in rooms}
        for room, task in sends:
            result = (await asyncio.gather(task, return_exceptions=True))[0]
            assert isinstance(result, Refusal) or result.seq < heads[room], "stored after the kick"
        assert await refused(bob, MessageHistory(channel=rooms[0])) == "missing"
        assert (await bob.wait_for(SpaceLeft)).reason == "kicked"
        await bob.call(SpaceJoin(space=club.id))


async def test_who_is_banned_is_out_and_comes_back_only_after_the_ban_is_lifted(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    await ann.call(MemberBan(space=club.id, user=me(bob), reason="spam"))
    assert (await bob.wait_for(SpaceLeft)).reason == "banned"
    assert await refused(bob, SpaceJoin(space=club.id)) == "missing"
    assert (await bob.call(SpaceDiscover())).spaces == []
    (ban,) = (await ann.call(MemberBans(space=club.id))).bans
    assert (ban.user.id, ban.by, ban.reason) == (me(bob), me(ann), "spam")
    await ann.call(MemberUnban(space=club.id, user=me(bob)))
    assert (await ann.call(MemberBans(space=club.id))).bans == []
    await bob.call(SpaceJoin(space=club.id))


async def test_who_is_not_in_a_space_can_be_banned_beforehand(ann: Person, bob: Person) -> None:
    club = await community(ann)
    await ann.call(MemberBan(space=club.id, user=me(bob)))
    assert await refused(bob, SpaceJoin(space=club.id)) == "missing"
    assert await refused(ann, MemberUnban(space=club.id, user=me(ann))) == "missing"


async def test_a_ban_can_take_back_what_was_said_lately(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    rooms = [await club.room(str(number)) for number in range(2)]
    await watch(ann, *rooms)
    for room in rooms:
        await say(bob, room, "spam")
        await say(ann, room, "stays")
    await ann.call(MemberBan(space=club.id, user=me(bob), purge=3600))
    for _ in rooms:
        await ann.wait_for(MessageDeleted, 10)
    for room in rooms:
        assert [one.text for one in await history(ann, room)] == ["", "stays"]


async def test_a_block_does_not_hide_a_member_from_a_moderator(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    await bob.call(UserBlock(user=me(ann)))
    assert (await ann.call(MemberGet(space=club.id, user=me(bob)))).user.id == me(bob)
    await ann.call(MemberBan(space=club.id, user=me(bob)))
    await ann.call(MemberUnban(space=club.id, user=me(bob)))


async def test_a_member_of_another_space_is_missing(ann: Person, bob: Person) -> None:
    club, other = await community(ann), await community(ann, bob)
    for frame in (
        MemberGet(space=club.id, user=me(bob)),
        MemberKick(space=club.id, user=me(bob)),
        MemberUpdate(space=club.id, user=me(bob), nick="x"),
    ):
        assert await refused(ann, frame) == "missing"
    await ann.call(MemberGet(space=other.id, user=me(bob)))
