"""reaction: emoji under messages."""

import asyncio
from uuid import uuid4

import pytest

from protocol.frame import Request
from protocol.message import MessageChanged
from protocol.reaction import ReactionAdd, ReactionAdded, ReactionList, ReactionRemove, ReactionRemoved
from tests.chat import UNBOUND, group, history, me, nodes, refused, say
from tests.conftest import Connector, Person, Starter


async def test_reactions_are_told_counted_and_listed(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await say(ann, channel)
    for person, emoji, count in ((bob, "👍", 1), (ann, "👍", 2), (ann, "🎉", 1)):
        changed = await person.call(ReactionAdd(channel=channel, seq=seq, emoji=emoji))
        told = await bob.wait_for(ReactionAdded)
        assert (told.stream, told.seq, told.message) == (channel, changed.seq, seq)
        assert (told.user, told.emoji, told.count) == (me(person), emoji, count)
    [message] = await history(bob, channel)
    assert [(one.emoji, one.count, one.users) for one in message.reactions] == [
        ("👍", 2, [me(bob), me(ann)]),
        ("🎉", 1, [me(ann)]),
    ]
    listed = await bob.call(ReactionList(channel=channel, seq=seq))
    assert [(one.user, one.emoji) for one in listed.reactions] == [(me(bob), "👍"), (me(ann), "👍"), (me(ann), "🎉")]
    await bob.call(ReactionRemove(channel=channel, seq=seq, emoji="👍"))
    told = await ann.wait_for(ReactionRemoved)
    assert (told.user, told.emoji, told.count) == (me(bob), "👍", 1)
    await ann.call(ReactionRemove(channel=channel, seq=seq, emoji="👍"))
    assert (await ann.wait_for(ReactionRemoved)).count == 0
    [message] = await history(bob, channel)
    assert [one.emoji for one in message.reactions] == ["🎉"]


async def test_twice_is_no_error_and_is_not_told(ann: Person) -> None:
    channel = await group(ann)
    seq = await say(ann, channel)
    assert await ann.call(ReactionRemove(channel=channel, seq=seq, emoji="👍")) == MessageChanged(seq=0)
    assert await ann.call(ReactionAdd(channel=channel, seq=seq, emoji="👍")) == MessageChanged(seq=2)
    assert await ann.call(ReactionAdd(channel=channel, seq=seq, emoji="👍")) == MessageChanged(seq=0)
    assert [one.count for one in (await history(ann, channel))[0].reactions] == [1]


async def test_nobody_takes_away_what_another_has_put_there(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await say(ann, channel)
    await bob.call(ReactionAdd(channel=channel, seq=seq, emoji="👍"))
    assert await ann.call(ReactionRemove(channel=channel, seq=seq, emoji="👍")) == MessageChanged(seq=0)
    assert (await history(ann, channel))[0].reactions[0].users == [me(bob)]


@pytest.mark.parametrize("emoji", ["", "a b", "x" * 17, "\x00", "👍\n", "\u202e"])
async def test_an_emoji_is_short_and_has_no_spaces(ann: Person, emoji: str) -> None:
    channel = await group(ann)
    seq = await say(ann, channel)
    assert await refused(ann, ReactionAdd(channel=channel, seq=seq, emoji=emoji)) == "invalid"


async def test_a_message_takes_twenty_different_emoji(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await say(ann, channel)
    for number in range(20):
        await ann.call(ReactionAdd(channel=channel, seq=seq, emoji=chr(0x1F600 + number)))
    assert await refused(bob, ReactionAdd(channel=channel, seq=seq, emoji="👍")) == "conflict"
    await bob.call(ReactionAdd(channel=channel, seq=seq, emoji=chr(0x1F600)))
    await ann.call(ReactionRemove(channel=channel, seq=seq, emoji=chr(0x1F601)))
    await bob.call(ReactionAdd(channel=channel, seq=seq, emoji="👍"))


async def test_many_reacting_at_once_on_two_nodes_are_all_counted_once(start: Starter, connect: Connector) -> None:
    servers = await nodes(start, acquire_timeout=20, **UNBOUND)
    people = [await connect(f"user{number:02}", to=servers[number % 2]) for number in range(24)]
    channel = await group(people[0], *people[1:])
    seq = await say(people[0], channel)
    await asyncio.gather(*(one.call(ReactionAdd(channel=channel, seq=seq, emoji="👍")) for one in people for _ in "12"))
    counts = sorted([(await people[3].wait_for(ReactionAdded)).count for _ in people])
    assert counts == list(range(1, 25))
    [message] = await history(people[5], channel)
    [reaction] = message.reactions
    assert reaction.count == 24
    assert len(set(reaction.users)) == len(reaction.users) == 20
    found, after = [], 0
    while True:
        page = await people[7].call(ReactionList(channel=channel, seq=seq, after=after, limit=7))
        found += [one.user for one in page.reactions]
        if page.next is None:
            break
        after = page.next
    assert sorted(found) == sorted(map(me, people))


async def test_what_is_not_seen_takes_no_reactions(ann: Person, bob: Person) -> None:
    channel = await group(ann)
    seq = await say(ann, channel)
    frames: list[Request[object]] = [
        ReactionAdd(channel=channel, seq=seq, emoji="👍"),
        ReactionRemove(channel=channel, seq=seq, emoji="👍"),
        ReactionList(channel=channel, seq=seq),
        ReactionAdd(channel=uuid4(), seq=seq, emoji="👍"),
    ]
    assert {await refused(bob, frame) for frame in frames} == {"missing"}
    assert await refused(ann, ReactionAdd(channel=channel, seq=seq + 1, emoji="👍")) == "missing"
