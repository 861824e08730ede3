"""Mentions of roles and of everyone: who may make them, and who is notified."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from protocol.automod import AutomodCreate
from protocol.channel import ChannelGet, ChannelMute
from protocol.message import MessageDelete, MessageEdit, MessageMarkRead, MessageSend
from protocol.notification import NotificationConfigure, NotificationCounts, NotificationCreated, NotificationList
from protocol.role import RoleUpdate
from protocol.search import SearchMessages
from protocol.space import SpaceGet, SpaceJoin
from protocol.thread import ThreadList, ThreadOpen
from protocol.user import UserBlock
from server import Server, summons, tail
from tests.chat import device, group, history, me, nodes, refused, say, settled
from tests.club import Club, club
from tests.conftest import Connector, Person, Starter


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes behind messages comes at once; who is here looks when they are asked to."""
    monkeypatch.setattr(tail, "_EVERY", 0.01)
    monkeypatch.setattr(summons, "_EVERY", 0.05)


@pytest.fixture
async def at(ann: Person, bob: Person) -> Club:
    """Ann's space, in which bob is."""
    return await club(ann, bob)


async def listed(server: Server, person: Person) -> list[tuple[str, int | None]]:
    """Of what somebody was notified, the newest first."""
    await settled(server)
    return [(one.kind, one.message) for one in (await person.call(NotificationList())).notifications]


async def mentionable(at: Club, role: UUID, yes: bool = True) -> None:
    await at.owner.call(RoleUpdate(space=at.id, role=role, mentionable=yes))


def shout(at: Club, **fields: object) -> MessageSend:
    return MessageSend(channel=at.general, text="hear, hear", nonce=uuid4(), **fields)  # type: ignore[arg-type]


# Who may


async def test_everyone_is_mentioned_by_who_may(ann: Person, bob: Person, at: Club) -> None:
    assert await refused(bob, shout(at, mention_everyone=True)) == "forbidden"
    await at.role("mention_everyone", to=bob)
    await bob.call(shout(at, mention_everyone=True))
    [message] = await history(ann, at.general)
    assert (message.mention_everyone, message.mention_roles) == (True, [])


async def test_a_role_is_mentioned_by_everybody_if_it_is_mentionable(ann: Person, bob: Person, at: Club) -> None:
    cooks, guards = await at.role(name="cooks"), await at.role(name="guards")
    await mentionable(at, cooks)
    assert await refused(bob, shout(at, mention_roles=[cooks, guards])) == "forbidden"
    await bob.call(shout(at, mention_roles=[cooks, cooks]))
    assert [one.mention_roles for one in await history(ann, at.general)] == [[cooks]]
    await mentionable(at, cooks, False)
    assert await refused(bob, shout(at, mention_roles=[cooks])) == "forbidden"
    await at.role("mention_everyone", to=bob)
    await bob.call(shout(at, mention_roles=[cooks, guards]))


async def test_what_is_no_role_of_the_space_is_missing(ann: Person, bob: Person, at: Club) -> None:
    other = await club(ann, bob)
    elsewhere = await other.role(name="there")
    for role in (elsewhere, at.id, uuid4(), me(bob)):
        assert await refused(ann, shout(at, mention_roles=[role])) == "missing"


async def test_in_groups_there_are_no_roles(ann: Person, bob: Person, at: Club) -> None:
    chat, role = await group(ann, bob), await at.role()
    for fields in ({"mention_everyone": True}, {"mention_roles": [role]}):
        frame = MessageSend(channel=chat, text="hear", nonce=uuid4(), **fields)  # type: ignore[arg-type]
        assert await refused(ann, frame) == "invalid"


async def test_of_an_edit_what_it_adds_must_be_allowed(ann: Person, bob: Person, at: Club) -> None:
    cooks, guards = await at.role(name="cooks"), await at.role(name="guards")
    await mentionable(at, cooks)
    seq = (await bob.call(shout(at, mention_roles=[cooks]))).seq
    await mentionable(at, cooks, False)
    edit = MessageEdit(channel=at.general, seq=seq, text="other", mention_roles=[cooks])
    await bob.call(edit)
    for fields in ({"mention_roles": [cooks, guards]}, {"mention_roles": [cooks], "mention_everyone": True}):
        frame = MessageEdit(channel=at.general, seq=seq, text="again", **fields)  # type: ignore[arg-type]
        assert await refused(bob, frame) == "forbidden"
    await bob.call(MessageEdit(channel=at.general, seq=seq, text="nobody"))
    assert await refused(bob, edit) == "forbidden"
    [message] = await history(ann, at.general)
    assert (message.text, message.mention_roles) == ("nobody", [])


async def test_rules_against_many_mentions_count_roles_and_everyone(ann: Person, bob: Person, at: Club) -> None:
    roles = [await at.role("mention_everyone", name=str(number), to=bob) for number in range(2)]
    await ann.call(AutomodCreate(space=at.id, name="few", nonce=uuid4(), kind="mentions", most=3))
    await bob.call(shout(at, mentions=[me(ann)], mention_roles=roles))
    everything = {"mentions": [me(ann)], "mention_roles": roles, "mention_everyone": True}
    assert await refused(bob, shout(at, **everything)) == "forbidden"
    seq = await say(bob, at.general)
    assert await refused(bob, MessageEdit(channel=at.general, seq=seq, text="x", **everything)) == "forbidden"


# Who is notified


async def test_who_has_the_role_and_sees_the_channel_is_notified(
    ann: Person, bob: Person, at: Club, connect: Connector, server: Server
) -> None:
    cid, dan = await connect("cid"), await connect("dan")
    for one in (cid, dan):
        await one.call(SpaceJoin(space=at.id))
    role = await at.role(to=bob)
    secret = await at.channel("secret", private=True)
    seq = (await ann.call(shout(at, mention_roles=[role]))).seq
    await ann.call(MessageSend(channel=secret, text="x", nonce=uuid4(), mention_roles=[role]))
    assert [await listed(server, one) for one in (bob, cid, ann)] == [[("mention_role", seq)], [], []]


async def test_everyone_is_everybody_who_sees_the_channel_but_the_author(
    ann: Person, bob: Person, at: Club, server: Server
) -> None:
    seq = (await ann.call(shout(at, mention_everyone=True))).seq
    secret = await at.channel("secret", private=True)
    await ann.call(MessageSend(channel=secret, text="x", nonce=uuid4(), mention_everyone=True))
    assert [await listed(server, one) for one in (bob, ann)] == [[("mention_everyone", seq)], []]
    counts = (await bob.call(NotificationCounts())).counts
    assert [(one.kind, one.unread) for one in counts.kinds] == [("mention_everyone", 1)]


async def test_nothing_is_written_for_members_who_do_not_come_by(
    ann: Person, bob: Person, at: Club, server: Server, connect: Connector
) -> None:
    await bob.close()
    for _ in range(3):
        await ann.call(shout(at, mention_everyone=True))
    await settled(server)
    assert await server.pool.fetchval("SELECT count(*) FROM summons") == 3
    assert await server.pool.fetchval("SELECT count(*) FROM notification") == 0
    again = await device(connect, bob)
    assert [kind for kind, _ in await listed(server, again)] == ["mention_everyone"] * 3


async def test_who_is_here_is_told_at_once_on_all_nodes_and_who_comes_when_they_come(
    start: Starter, connect: Connector
) -> None:
    here, there = await nodes(start)
    ann, bob, cid = await connect("ann", to=here), await connect("bob", to=there), await connect("cid", to=there)
    at = await club(ann, bob, cid)
    await cid.close()
    seq = (await ann.call(shout(at, mention_everyone=True))).seq
    told = await bob.wait_for(NotificationCreated)
    assert (told.notification.kind, told.notification.message, told.counts.unread) == ("mention_everyone", seq, 1)
    again = await device(connect, cid, to=there)
    assert (await again.wait_for(NotificationCreated)).notification.message == seq


async def test_levels_and_mutes_keep_them_away(
    ann: Person, bob: Person, at: Club, server: Server, connect: Connector
) -> None:
    role = await at.role(to=bob)
    await bob.call(NotificationConfigure(space=at.id, level="personal"))
    await ann.call(shout(at, mention_everyone=True))
    await ann.call(shout(at, mention_roles=[role]))
    own = (await ann.call(shout(at, mentions=[me(bob)]))).seq
    assert await listed(server, bob) == [("mention", own)]
    await bob.call(NotificationConfigure(space=at.id, level="nothing"))
    await ann.call(shout(at, mention_everyone=True))
    assert await listed(server, bob) == [("mention", own)]
    await bob.call(NotificationConfigure(space=at.id, level=None))
    await bob.call(ChannelMute(channel=at.general, until=datetime.now(UTC) + timedelta(hours=1)))
    await ann.call(shout(at, mention_everyone=True))
    assert await listed(server, bob) == [("mention", own)]


async def test_nobody_is_notified_by_whom_they_block_nor_silently(
    ann: Person, bob: Person, at: Club, server: Server
) -> None:
    await ann.call(shout(at, mention_everyone=True, silent=True))
    await bob.call(UserBlock(user=me(ann)))
    await ann.call(shout(at, mention_everyone=True))
    assert await listed(server, bob) == []


async def test_who_is_mentioned_twice_in_a_message_is_notified_once(
    ann: Person, bob: Person, at: Club, server: Server
) -> None:
    role = await at.role(to=bob)
    seq = (await ann.call(shout(at, mention_everyone=True, mention_roles=[role], mentions=[me(bob)]))).seq
    assert await listed(server, bob) == [("mention", seq)]


async def test_an_edit_notifies_who_was_not_meant_before_and_nobody_again(
    ann: Person, bob: Person, at: Club, server: Server, connect: Connector
) -> None:
    cid = await connect("cid")
    await cid.call(SpaceJoin(space=at.id))
    cooks, guards = await at.role(to=bob, name="cooks"), await at.role(to=cid, name="guards")
    seq = (await ann.call(shout(at, mention_roles=[cooks]))).seq
    assert await listed(server, bob) == [("mention_role", seq)]
    assert await listed(server, cid) == []
    for roles in ([cooks, guards], [], [cooks, guards]):
        await ann.call(MessageEdit(channel=at.general, seq=seq, text=f"{len(roles)}", mention_roles=roles))
        assert [await listed(server, one) for one in (bob, cid)] == [[("mention_role", seq)]] * 2


async def test_what_is_taken_back_before_somebody_looks_is_not_there(
    ann: Person, bob: Person, at: Club, server: Server, connect: Connector
) -> None:
    await bob.close()
    seqs = [(await ann.call(shout(at, mention_everyone=True))).seq for _ in range(2)]
    await settled(server)
    await ann.call(MessageDelete(channel=at.general, seq=seqs[0]))
    again = await device(connect, bob)
    assert await listed(server, again) == [("mention_everyone", seqs[1])]
    await ann.call(MessageDelete(channel=at.general, seq=seqs[1]))
    assert await listed(server, again) == []
    assert await server.pool.fetchval("SELECT count(*) FROM summons") == 0


async def test_who_comes_later_is_not_notified_of_what_was_before(
    ann: Person, bob: Person, at: Club, server: Server, connect: Connector
) -> None:
    await ann.call(shout(at, mention_everyone=True))
    await settled(server)
    cid = await connect("cid")
    await cid.call(SpaceJoin(space=at.id))
    assert await listed(server, cid) == []
    seq = (await ann.call(shout(at, mention_everyone=True))).seq
    assert await listed(server, cid) == [("mention_everyone", seq)]


async def test_who_was_away_for_long_gets_the_newest(
    ann: Person, bob: Person, at: Club, server: Server, connect: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bob.close()
    seqs = [(await ann.call(shout(at, mention_everyone=True))).seq for _ in range(4)]
    await settled(server)
    monkeypatch.setattr("storage.summons._AT_ONCE", 2)
    again = await device(connect, bob)
    assert [seq for _, seq in await listed(server, again)] == [seqs[3], seqs[2]]


# Counting and finding


async def test_marks_count_them_among_ones_mentions(ann: Person, bob: Person, at: Club) -> None:
    role = await at.role(to=bob)
    for fields in ({"mention_everyone": True}, {"mention_roles": [role]}, {"mentions": [me(bob)]}):
        await ann.call(shout(at, **fields))
    last = (await ann.call(shout(at, mentions=[me(bob)], mention_everyone=True))).seq

    async def counted(person: Person) -> tuple[int, int]:
        marks = (await person.call(SpaceGet(space=at.id))).marks
        channel = await person.call(ChannelGet(channel=at.general))
        return marks[0].mentions, channel.mentions

    assert [await counted(one) for one in (bob, ann)] == [(4, 4), (0, 0)]
    assert (await bob.call(MessageMarkRead(channel=at.general, seq=last - 2))).mentions == 2
    assert await counted(bob) == (2, 2)


async def test_a_thread_counts_them_too(ann: Person, bob: Person, at: Club) -> None:
    thread = (await ann.call(ThreadOpen(channel=at.general, name="thread", nonce=uuid4(), text="hello"))).id
    await ann.call(MessageSend(channel=thread, text="hear", nonce=uuid4(), mention_everyone=True))
    [view] = (await bob.call(ThreadList(channel=at.general))).threads
    assert view.mentions == 1


async def test_they_are_searched_for(ann: Person, bob: Person, at: Club, server: Server) -> None:
    role = await at.role()
    first = (await ann.call(shout(at, mention_everyone=True))).seq
    second = (await ann.call(shout(at, mention_roles=[role]))).seq
    await settled(server)

    async def found(**fields: object) -> list[int]:
        return [one.message.seq for one in (await bob.call(SearchMessages(**fields))).hits]  # type: ignore[arg-type]

    assert await found(has=["everyone"]) == [first]
    assert await found(mentions=role) == [second]
    assert await found(has=["mention"]) == [second, first]
