"""friend: asking, accepting and ending it, on all devices of both; who may ask, and who may open a channel."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from protocol.account import AccountDelete, AccountExport
from protocol.channel import ChannelList, ChannelOpenDirect
from protocol.codec import encode
from protocol.frame import Request
from protocol.friend import (
    Directs,
    Friend,
    FriendAccept,
    FriendAdded,
    FriendDecline,
    FriendList,
    FriendPrivacy,
    FriendRemove,
    FriendRemoved,
    FriendRequest,
    FriendRequested,
    FriendSetPrivacy,
    PrivacyChoice,
    Requests,
    State,
)
from protocol.session import Cursor, SessionResume
from protocol.user import UserBlock, UserGet, UserUnblock
from server import Server
from tests.chat import Phone, device, direct, me, nodes, refused
from tests.conftest import Connector, Person, Starter

SOON = 4.0
Known = dict[str, dict[str, Any]]
ASKS = (FriendRequest, FriendRequest, FriendRequest)  # more often than all else
KINDS = (*ASKS, FriendAccept, FriendDecline, FriendRemove, UserBlock, UserUnblock)


async def friends(person: Person, state: State | None = None) -> list[Friend]:
    page = await person.call(FriendList(state=state, limit=100))
    assert page.next is None
    assert [one.user for one in page.friends] == [one.id for one in page.users]
    return page.friends


async def states(person: Person) -> dict[UUID, State]:
    return {one.user: one.state for one in await friends(person)}


async def befriend(one: Person, other: Person) -> None:
    await one.call(FriendRequest(user=me(other)))
    await other.call(FriendAccept(user=me(one)))


async def let(person: Person, requests: Requests | None = None, directs: Directs | None = None) -> PrivacyChoice:
    return await person.call(FriendSetPrivacy(requests=requests, directs=directs))


# Asking and answering


async def test_who_is_asked_and_accepts_is_a_friend_from_then_on(ann: Person, bob: Person) -> None:
    asked = await ann.call(FriendRequest(user=me(bob)))
    assert (asked.user, asked.state) == (me(bob), "waiting")
    assert await friends(ann) == [asked]
    assert await friends(bob) == [Friend(user=me(ann), state="asked", since=asked.since)]
    accepted = await bob.call(FriendAccept(user=me(ann)))
    assert (accepted.user, accepted.state) == (me(ann), "friend")
    assert accepted.since > asked.since
    assert await friends(bob) == [accepted]
    assert await friends(ann) == [Friend(user=me(bob), state="friend", since=accepted.since)]


async def test_all_devices_of_both_are_told(ann: Person, bob: Person, start: Starter, connect: Connector) -> None:
    far = await start()
    second, third = await device(connect, ann, far), await device(connect, bob, far)
    await ann.call(FriendRequest(user=me(bob)))
    for one, peer, state in (
        (ann, bob, "waiting"),
        (second, bob, "waiting"),
        (bob, ann, "asked"),
        (third, ann, "asked"),
    ):
        told = (await one.wait_for(FriendRequested, SOON)).friend
        assert (told.user, told.state) == (me(peer), state)
    await bob.call(FriendAccept(user=me(ann)))
    for one, peer in ((ann, bob), (second, bob), (bob, ann), (third, ann)):
        added = (await one.wait_for(FriendAdded, SOON)).friend
        assert [added] == await friends(one)
        assert (added.user, added.state) == (me(peer), "friend")
    await ann.call(FriendRemove(user=me(bob)))
    for one, peer in ((ann, bob), (second, bob), (bob, ann), (third, ann)):
        assert (await one.wait_for(FriendRemoved, SOON)).user == me(peer)
        assert await friends(one) == []


async def test_the_same_again_is_no_error_and_is_told_once(ann: Person, bob: Person, server: Server) -> None:
    asked = [await ann.call(FriendRequest(user=me(bob))) for _ in range(3)]
    assert asked[0] == asked[1] == asked[2]
    added = [await bob.call(FriendAccept(user=me(ann))) for _ in range(3)]
    assert added[0] == added[1] == added[2]
    for one, peer in ((ann, bob), (bob, ann)):
        assert (await one.call(FriendRequest(user=me(peer)))).state == "friend"
    for _ in range(3):
        await bob.call(FriendDecline(user=me(ann)))  # a friend stays one
    assert await states(ann) == {me(bob): "friend"}
    for _ in range(3):
        await bob.call(FriendRemove(user=me(ann)))
    rows = await server.pool.fetch("SELECT kind, count(*) FROM fact WHERE kind LIKE 'friend.%' GROUP BY kind")
    assert {row["kind"]: row["count"] for row in rows} == dict.fromkeys(
        ("friend.requested", "friend.added", "friend.removed"), 2
    )


async def test_who_asks_back_accepts(ann: Person, bob: Person) -> None:
    await ann.call(FriendRequest(user=me(bob)))
    assert (await bob.call(FriendRequest(user=me(ann)))).state == "friend"
    assert (await states(ann), await states(bob)) == ({me(bob): "friend"}, {me(ann): "friend"})


async def test_a_request_is_declined_by_who_was_asked_and_taken_back_by_who_asked(ann: Person, bob: Person) -> None:
    await ann.call(FriendRequest(user=me(bob)))
    await ann.call(FriendDecline(user=me(bob)))
    await bob.call(FriendRemove(user=me(ann)))
    assert await states(ann) == {me(bob): "waiting"}, "neither can do what is the other's to do"
    await bob.call(FriendDecline(user=me(ann)))
    assert (await states(ann), await states(bob)) == ({}, {})
    await ann.call(FriendRequest(user=me(bob)))
    await ann.call(FriendRemove(user=me(bob)))
    assert (await states(ann), await states(bob)) == ({}, {})


async def test_nobody_accepts_what_was_not_asked(ann: Person, bob: Person) -> None:
    assert await refused(ann, FriendAccept(user=me(bob))) == "conflict"
    await ann.call(FriendRequest(user=me(bob)))
    assert await refused(ann, FriendAccept(user=me(bob))) == "conflict"
    await ann.call(FriendRemove(user=me(bob)))
    assert await refused(bob, FriendAccept(user=me(ann))) == "conflict"
    assert await states(bob) == {}


async def test_nobody_is_their_own_friend(ann: Person) -> None:
    assert await refused(ann, FriendRequest(user=me(ann))) == "invalid"
    assert await refused(ann, FriendAccept(user=me(ann))) == "conflict"
    for frame in (FriendDecline(user=me(ann)), FriendRemove(user=me(ann))):
        await ann.call(frame)
    assert await friends(ann) == []


ENDINGS: dict[str, Callable[[UUID], Request[Any]]] = {
    "declined": lambda asker: FriendDecline(user=asker),
    "blocked": lambda asker: UserBlock(user=asker),
    "accepted and removed": lambda asker: FriendRemove(user=asker),
    "deleted": lambda asker: AccountDelete(password=Person.password),
}


async def test_who_asked_is_not_told_why_it_ended(server: Server, ann: Person, connect: Connector) -> None:
    phone = await Phone.open(server, ann.tokens_given.access)
    for number, (name, ending) in enumerate(ENDINGS.items()):
        bob = await connect(f"bob{number}")
        theirs = me(bob)
        await ann.call(FriendRequest(user=theirs))
        if name == "accepted and removed":
            await bob.call(FriendAccept(user=me(ann)))
        accepted = name == "accepted and removed"  # of which ann was notified
        seq = await head_of(server, ann) + 1 + accepted
        await bob.call(ending(me(ann)))
        await phone.heard(me(ann), seq)
        assert phone.messages[-1] == encode(FriendRemoved(stream=me(ann), seq=seq, user=theirs)), name
    assert await friends(ann) == []
    phone.abort()


async def head_of(server: Server, person: Person) -> int:
    found: int = await server.pool.fetchval("SELECT head FROM stream WHERE id = $1", me(person))
    return found


async def test_who_was_away_is_told_when_they_resume(ann: Person, bob: Person, connect: Connector) -> None:
    assert bob.session is not None
    cursor = Cursor(stream=me(bob), seq=bob.session.head)
    await ann.call(FriendRequest(user=me(bob)))
    back = await connect()
    await back.call(SessionResume(token=bob.tokens_given.access, cursors=[cursor]))
    assert [(await back.wait_for(FriendRequested, SOON)).friend] == await friends(bob)


# Who may be asked


@pytest.mark.parametrize("blocker", [0, 1])
async def test_a_block_ends_it_and_hides_both(ann: Person, bob: Person, connect: Connector, blocker: int) -> None:
    cid = await connect("cid")
    await befriend(ann, bob)
    await cid.call(FriendRequest(user=me(ann)))
    both = (ann, bob)
    await both[blocker].call(UserBlock(user=me(both[1 - blocker])))
    for one, peer in ((ann, bob), (bob, ann)):
        assert (await one.wait_for(FriendRemoved, SOON)).user == me(peer)
        for frame in (FriendRequest, FriendAccept, FriendDecline, FriendRemove):
            assert await refused(one, frame(user=me(peer))) == "missing"
    assert (await states(ann), await states(bob)) == ({me(cid): "asked"}, {})
    await both[blocker].call(UserUnblock(user=me(both[1 - blocker])))
    assert await states(ann) == {me(cid): "asked"}, "what has ended does not come back"
    await befriend(ann, bob)


async def test_who_takes_no_requests_is_not_asked_but_asks(ann: Person, bob: Person) -> None:
    await let(bob, "nobody")
    assert await refused(ann, FriendRequest(user=me(bob))) == "forbidden"
    assert (await friends(ann), await friends(bob)) == ([], [])
    await bob.call(FriendRequest(user=me(ann)))
    assert (await ann.call(FriendRequest(user=me(bob)))).state == "friend", "that is an answer"


async def test_friends_of_friends_may_ask_and_others_may_not(ann: Person, bob: Person, connect: Connector) -> None:
    cid, dan = await connect("cid"), await connect("dan")
    await let(bob, "friends_of_friends")
    assert await refused(ann, FriendRequest(user=me(bob))) == "forbidden"
    await ann.call(FriendRequest(user=me(cid)))
    await cid.call(FriendRequest(user=me(dan)))
    await bob.call(FriendRequest(user=me(cid)))
    assert await refused(ann, FriendRequest(user=me(bob))) == "forbidden", "who was only asked is no friend"
    await cid.call(FriendAccept(user=me(ann)))
    assert await refused(ann, FriendRequest(user=me(bob))) == "forbidden"
    await cid.call(FriendAccept(user=me(bob)))
    assert await refused(dan, FriendRequest(user=me(bob))) == "forbidden"
    assert (await ann.call(FriendRequest(user=me(bob)))).state == "waiting"
    await ann.call(FriendRemove(user=me(bob)))
    await cid.call(FriendRemove(user=me(bob)))
    assert await refused(ann, FriendRequest(user=me(bob))) == "forbidden"


async def test_a_refusal_tells_nothing_but_whom_one_sees(server: Server, ann: Person, connect: Connector) -> None:
    """Whom user.get finds is refused in the same bytes whatever they have chosen, all others like who never was."""
    phone, told = await Phone.open(server, ann.tokens_given.access), {}
    for name in ("nobody", "friends_of_friends", "blocks", "gone"):
        bob = await connect(name)
        await let(bob, name if name.startswith("friends") else "nobody", "friends")  # type: ignore[arg-type]
        theirs = me(bob)
        if name == "blocks":
            await bob.call(UserBlock(user=me(ann)))
        elif name == "gone":
            await bob.call(AccountDelete(password=Person.password))
        told[name] = await refusals(phone, theirs)
    told["never was"] = await refusals(phone, uuid4())
    assert told["nobody"] == told["friends_of_friends"]
    assert [one["code"] for one in told["nobody"]] == [None, "forbidden", "forbidden"]
    assert told["blocks"] == told["gone"] == told["never was"]
    assert [one["code"] for one in told["never was"]] == ["missing"] * 3
    phone.abort()


async def refusals(phone: Phone, user: UUID) -> list[dict[str, Any]]:
    numbers = phone.ask(UserGet(user=user), FriendRequest(user=user), ChannelOpenDirect(user=user))
    return [said.get("error", {"code": None}) for said in await phone.answers(numbers)]


async def test_a_choice_stays_until_another_is_made(ann: Person, server: Server) -> None:
    assert await ann.call(FriendPrivacy()) == PrivacyChoice(requests="everyone", directs="everyone")
    assert await let(ann, requests="nobody") == PrivacyChoice(requests="nobody", directs="everyone")
    assert await let(ann, directs="friends") == PrivacyChoice(requests="nobody", directs="friends")
    assert await let(ann) == await ann.call(FriendPrivacy()) == PrivacyChoice(requests="nobody", directs="friends")
    assert await let(ann, "everyone", "everyone") == PrivacyChoice(requests="everyone", directs="everyone")


async def test_only_friends_open_a_channel_with_who_wants_that(ann: Person, bob: Person) -> None:
    await let(bob, directs="friends")
    frame = ChannelOpenDirect(user=me(bob))
    assert await refused(ann, frame) == "forbidden"
    await ann.call(FriendRequest(user=me(bob)))
    assert await refused(ann, frame) == "forbidden"
    assert (await ann.call(ChannelList())).channels == (await bob.call(ChannelList())).channels == []
    await bob.call(FriendAccept(user=me(ann)))
    channel = await direct(ann, bob)
    await bob.call(FriendRemove(user=me(ann)))
    assert await direct(ann, bob) == channel, "what there is already stays"


async def test_who_talks_with_friends_only_opens_channels_with_anybody(ann: Person, bob: Person) -> None:
    await let(bob, directs="friends")
    saved, channel = await direct(bob, bob), await direct(bob, ann)
    assert saved != channel == await direct(ann, bob)


# At once


async def test_two_who_ask_each_other_at_once_are_friends_once(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    phones = {person: await Phone.open(node, person.tokens_given.access) for person, node in ((ann, one), (bob, other))}
    for _ in range(50):
        before = {person: len(phone.facts(me(person))) for person, phone in phones.items()}
        replies = await asyncio.gather(ann.call(FriendRequest(user=me(bob))), bob.call(FriendRequest(user=me(ann))))
        assert sorted(reply.state for reply in replies) == ["friend", "waiting"]
        await asyncio.gather(ann.call(FriendRemove(user=me(bob))), bob.call(FriendRemove(user=me(ann))))
        for person, phone in phones.items():
            await phone.heard(me(person), await head_of(one, person))
            told = [one["ev"] for one in phone.facts(me(person))[before[person] :] if one["ev"].startswith("friend.")]
            assert told == ["friend.requested", "friend.added", "friend.removed"]
    assert (await friends(ann), await friends(bob)) == ([], [])
    for phone in phones.values():
        phone.abort()


async def test_many_at_once_end_in_one_state_that_both_know(start: Starter, connect: Connector) -> None:
    """Whatever two do to each other on two nodes: what they were told is what is, and they agree about it."""
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    phones = {person: await Phone.open(node, person.tokens_given.access) for person, node in ((ann, one), (bob, other))}
    chance = random.Random(4)
    for _ in range(40):
        frames = [
            (person, chance.choice(KINDS)(user=me(peer))) for person, peer in ((ann, bob), (bob, ann)) for _ in range(3)
        ]
        codes = await asyncio.gather(*(refused(person, frame) for person, frame in frames))
        assert set(codes) <= {"ok", "conflict", "missing"}
        await agree(phones)
    for phone in phones.values():
        phone.abort()


async def agree(phones: dict[Person, Phone]) -> None:
    """What each was told so far is their list, and what one is to the other is what the other is to the one."""
    found = []
    for person, phone in phones.items():
        listed = await listing(phone)
        seqs = phone.seqs(me(person))
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True
        assert applied({}, phone.facts(me(person))) == listed
        found.append([one["state"] for one in listed.values()])
    assert found in ([[], []], [["friend"], ["friend"]], [["asked"], ["waiting"]], [["waiting"], ["asked"]])


# What was known, and what was told since, is what is


def applied(known: Known, facts: Sequence[dict[str, Any]]) -> Known:
    """As a client keeps it."""
    known = dict(known)
    for fact in facts:
        if fact["ev"] in ("friend.requested", "friend.added"):
            known[fact["friend"]["user"]] = fact["friend"]
        elif fact["ev"] == "friend.removed":
            del known[fact["user"]]
    return known


async def listing(phone: Phone) -> Known:
    """All of it, asked afresh on this socket: what was told before has come before."""
    found: Known = {}
    frame = FriendList(limit=2)
    while True:
        page = await phone.call(frame)
        found |= {one["user"]: one for one in page["friends"]}
        if page["next"] is None:
            return found
        frame = FriendList(limit=2, after=page["next"])


async def test_an_old_list_and_all_facts_since_are_a_fresh_list(server: Server, connect: Connector) -> None:
    people = [await connect(f"person{number}") for number in range(5)]
    phones = [await Phone.open(server, one.tokens_given.access) for one in people]
    chance = random.Random(7)
    known = [await listing(phone) for phone in phones]
    taken = [len(phone.facts(me(one))) for one, phone in zip(people, phones, strict=True)]
    for number in range(200):
        one, other = chance.sample(people, 2)
        await refused(one, chance.choice(KINDS)(user=me(other)))
        if number % 20 == 19:
            for at, (person, phone) in enumerate(zip(people, phones, strict=True)):
                fresh = await listing(phone)
                facts = phone.facts(me(person))
                known[at] = applied(known[at], facts[taken[at] :])
                taken[at] = len(facts)
                assert known[at] == fresh
    assert any(known)
    for phone in phones:
        phone.abort()


# Lists and limits


async def test_a_list_comes_page_by_page_the_newest_first(ann: Person, connect: Connector) -> None:
    others = [await connect(f"other{number}") for number in range(7)]
    for number, one in enumerate(others):
        if number < 3:
            await befriend(one, ann)
        elif number < 5:
            await one.call(FriendRequest(user=me(ann)))
        else:
            await ann.call(FriendRequest(user=me(one)))
    expected = [me(others[number]) for number in (6, 5, 2, 1, 0, 4, 3)]
    assert [one.user for one in await friends(ann)] == expected
    found: list[UUID] = []
    page = await ann.call(FriendList(limit=2))
    while page.next is not None:
        found += [one.user for one in page.friends]
        page = await ann.call(FriendList(limit=2, after=page.next))
    assert found + [one.user for one in page.friends] == expected
    for state, some in (("waiting", expected[:2]), ("friend", expected[2:5]), ("asked", expected[5:])):
        assert [one.user for one in await friends(ann, state)] == some
        page = await ann.call(FriendList(state=state, limit=1))
        assert [one.user for one in page.friends] == some[:1]
        page = await ann.call(FriendList(state=state, limit=100, after=page.next))
        assert ([one.user for one in page.friends], page.next) == (some[1:], None)


@pytest.mark.parametrize("after", ["", "x", "friend  ", "friend 2026-01-01 x", "a 0001-01-01T00:00:00+14:00 b"])
async def test_a_cursor_that_is_none_begins_at_the_beginning(ann: Person, bob: Person, after: str) -> None:
    asked = await ann.call(FriendRequest(user=me(bob)))
    assert (await ann.call(FriendList(after=after))).friends == [asked]


FILL = """
    WITH a AS (INSERT INTO account (id, username)
               SELECT gen_random_uuid(), 'one of many' FROM generate_series(1, $3::int) RETURNING id),
         s AS (INSERT INTO stream (id) SELECT id FROM a)
    INSERT INTO friend (account, other, state) SELECT $1, id, $2::text FROM a
"""


async def test_two_hundred_requests_may_be_open(ann: Person, bob: Person, server: Server) -> None:
    await server.pool.execute(FILL, me(ann), "waiting", 200)
    assert await refused(ann, FriendRequest(user=me(bob))) == "conflict"
    await server.pool.execute("DELETE FROM friend WHERE other = (SELECT other FROM friend LIMIT 1)")
    await ann.call(FriendRequest(user=me(bob)))
    await ann.call(FriendRequest(user=me(bob)))  # not another one
    assert (await bob.call(FriendAccept(user=me(ann)))).state == "friend"


async def test_a_thousand_friends_are_all_one_can_have(ann: Person, bob: Person, server: Server) -> None:
    await ann.call(FriendRequest(user=me(bob)))
    await server.pool.execute(FILL, me(ann), "friend", 1000)
    assert await refused(bob, FriendAccept(user=me(ann))) == "conflict"
    await ann.call(FriendRemove(user=me(bob)))
    assert await refused(ann, FriendRequest(user=me(bob))) == "conflict"
    await bob.call(FriendRequest(user=me(ann)))
    assert await refused(ann, FriendAccept(user=me(bob))) == "conflict"
    await server.pool.execute(
        "DELETE FROM friend WHERE other = (SELECT other FROM friend WHERE state = 'friend' LIMIT 1)"
    )
    assert (await ann.call(FriendAccept(user=me(bob)))).state == "friend"


# Leaving


async def test_who_deletes_their_account_is_nobodys_friend(
    ann: Person, bob: Person, connect: Connector, server: Server
) -> None:
    cid, dan = await connect("cid"), await connect("dan")
    await befriend(ann, bob)
    await cid.call(FriendRequest(user=me(ann)))
    await ann.call(FriendRequest(user=me(dan)))
    await let(ann, "nobody")
    gone = me(ann)
    receipt = await ann.call(AccountDelete(password=Person.password))
    assert (receipt.following["friend"], receipt.erased["friend_privacy"]) == (3, 1)
    for one in (bob, cid, dan):
        assert await friends(one) == [], "at once"
        assert (await one.wait_for(FriendRemoved, SOON)).user == gone
        assert await refused(one, FriendRequest(user=gone)) == "missing"
    for table in ("friend", "friend_privacy"):
        assert await server.pool.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_an_export_has_friends_and_what_was_chosen(ann: Person, bob: Person, connect: Connector) -> None:
    cid = await connect("cid")
    await befriend(ann, bob)
    await cid.call(FriendRequest(user=me(ann)))
    await let(ann, directs="friends")
    exported = await ann.call(AccountExport())
    assert exported.friends == sorted(await friends(ann), key=lambda one: one.user)
    assert exported.privacy == PrivacyChoice(requests="everyone", directs="friends")
