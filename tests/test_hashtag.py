"""hashtag: messages by what they are tagged with, and what is used most."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.hashtag import HashtagCount, HashtagList, Hashtags, HashtagTop
from protocol.message import MessageDelete, MessageEdit
from protocol.role import RoleRevoke
from protocol.thread import ThreadOpen
from server import Server, listing, tail
from tests.chat import group, me, refused, say, settled
from tests.club import Club, club
from tests.conftest import Connector, Person


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes behind messages comes at once."""
    monkeypatch.setattr(tail, "_EVERY", 0.01)


@pytest.fixture
async def at(ann: Person, bob: Person) -> Club:
    """Ann's space, in which bob is."""
    return await club(ann, bob)


async def found(server: Server, person: Person, tag: str, **fields: Any) -> list[str]:
    await settled(server)
    return [one.message.text for one in (await person.call(HashtagList(hashtag=tag, **fields))).messages]


async def top(server: Server, person: Person, **fields: Any) -> list[tuple[str, int]]:
    await settled(server)
    return [(one.hashtag, one.count) for one in (await person.call(HashtagTop(**fields))).hashtags]


async def test_messages_are_listed_by_hashtag_in_a_channel_a_space_and_everywhere(
    ann: Person, bob: Person, at: Club, server: Server
) -> None:
    other, chat = await at.channel("other"), await group(ann, bob)
    for channel, text in ((at.general, "1 #tea"), (other, "2 #Tea"), (chat, "3 #tea"), (other, "4 #coffee, no tea")):
        await say(ann, channel, text)
    assert await found(server, bob, "tea", channel=other) == ["2 #Tea"]
    assert await found(server, bob, "TEA", space=at.id) == ["2 #Tea", "1 #tea"]
    assert await found(server, bob, "tea") == ["3 #tea", "2 #Tea", "1 #tea"]
    assert await refused(bob, HashtagList(hashtag="tea", space=at.id, channel=other)) == "invalid"


async def test_only_what_one_may_read_is_listed_and_counted(
    ann: Person, bob: Person, at: Club, server: Server, connect: Connector
) -> None:
    cid = await connect("cid")
    secret = await at.channel("secret", private=True)
    await say(ann, secret, "#tea")
    assert [await found(server, bob, "tea", space=at.id), await top(server, bob, space=at.id)] == [[], []]
    assert [await found(server, ann, "tea", space=at.id), await top(server, ann, space=at.id)] == [
        ["#tea"],
        [("tea", 1)],
    ]
    for frame in (HashtagList(hashtag="tea", channel=secret), HashtagTop(channel=secret)):
        assert await refused(bob, frame) == "missing"
    for frame in (HashtagList(hashtag="tea", space=at.id), HashtagTop(space=at.id)):
        assert await refused(cid, frame) == "missing"
    role = await at.role("administrator", to=bob)
    assert await found(server, bob, "tea", space=at.id) == ["#tea"]
    await ann.call(RoleRevoke(space=at.id, role=role, user=me(bob)))
    assert await found(server, bob, "tea", space=at.id) == []


async def test_what_was_edited_or_taken_back_is_listed_no_more(ann: Person, at: Club, server: Server) -> None:
    first, second = [await say(ann, at.general, f"{number} #tea") for number in range(2)]
    await ann.call(MessageEdit(channel=at.general, seq=first, text="0 #coffee"))
    await ann.call(MessageDelete(channel=at.general, seq=second))
    assert await found(server, ann, "tea", space=at.id) == []
    assert await found(server, ann, "coffee", space=at.id) == ["0 #coffee"]
    assert await top(server, ann, space=at.id) == [("coffee", 1)]


async def test_pages_of_a_hashtag_follow_each_other(ann: Person, at: Club, server: Server) -> None:
    for number in range(5):
        await say(ann, at.general, f"{number} #tea")
    await settled(server)
    texts, after = list[str](), None
    for _ in range(3):
        page = await ann.call(HashtagList(hashtag="tea", space=at.id, limit=2, after=after))
        texts += [one.message.text for one in page.messages]
        after = page.next
    assert (texts, after) == ([f"{number} #tea" for number in (4, 3, 2, 1, 0)], None)


async def test_the_most_used_hashtags_come_first_threads_counted_in(
    ann: Person, bob: Person, at: Club, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("#tea", "#tea #milk", "#coffee #tea", "no tag", "#coffee"):
        await say(ann, at.general, text)
    await ann.call(ThreadOpen(channel=at.general, name="a thread", nonce=me(bob), text="#milk #milk"))
    await say(bob, await at.channel("other"), "#milk")
    assert await top(server, bob, space=at.id) == [("milk", 3), ("tea", 3), ("coffee", 2)]
    assert await top(server, bob, channel=at.general, limit=1) == [("tea", 3)]
    assert await refused(bob, HashtagTop()) == "invalid"
    monkeypatch.setattr(listing, "_COUNTED", 1)
    told = await bob.call(HashtagTop(space=at.id))
    assert told == Hashtags(hashtags=[HashtagCount(hashtag="milk", count=1)], messages=1)
