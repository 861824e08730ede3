"""message: where somebody was mentioned."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from protocol.member import MemberKick
from protocol.message import MessageDelete, MessageEdit, MessageMentions, MessageSend
from protocol.role import RoleRevoke
from server import Server, listing, tail
from tests.chat import group, me, refused, say, settled
from tests.club import Club, club
from tests.conftest import Person


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes behind messages comes at once."""
    monkeypatch.setattr(tail, "_EVERY", 0.01)


@pytest.fixture
async def at(ann: Person, bob: Person) -> Club:
    """Ann's space, in which bob is."""
    return await club(ann, bob)


async def tell(person: Person, channel: UUID, text: str, **fields: Any) -> int:
    return (await person.call(MessageSend(channel=channel, text=text, nonce=uuid4(), **fields))).seq


async def found(server: Server, person: Person, **fields: Any) -> list[str]:
    await settled(server)
    return [one.message.text for one in (await person.call(MessageMentions(**fields))).messages]


async def test_mentions_by_account_role_and_everyone_are_listed_newest_first(
    ann: Person, bob: Person, at: Club, server: Server
) -> None:
    mine, other = await at.role(to=bob, name="mine"), await at.role(name="other")
    chat, room = await group(ann, bob), await at.channel()
    await tell(ann, chat, "1", mentions=[me(bob)])
    await tell(ann, at.general, "2", mention_everyone=True)
    await tell(ann, room, "3", mention_roles=[other, mine])
    await tell(ann, room, "not", mention_roles=[other])
    await tell(ann, room, "not", mentions=[me(ann)])
    await say(ann, room, "not")
    await tell(bob, chat, "own", mentions=[me(bob)])
    assert await found(server, bob) == ["3", "2", "1"]
    assert await found(server, bob, space=at.id) == ["3", "2"]
    assert await found(server, bob, channel=chat) == ["1"]
    assert await found(server, ann) == []
    assert await refused(bob, MessageMentions(space=at.id, channel=room)) == "invalid"


async def test_who_has_many_roles_finds_the_same(
    ann: Person, bob: Person, at: Club, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = await at.role(to=bob, name="mine"), await at.role(name="other")
    await tell(ann, at.general, "mine", mention_roles=[mine])
    await tell(ann, at.general, "other", mention_roles=[other])
    monkeypatch.setattr(listing, "_MOST_ROLES", 0)
    assert await found(server, bob) == ["mine"]


async def test_only_what_one_may_read_now_and_what_it_says_now(
    ann: Person, bob: Person, at: Club, server: Server
) -> None:
    secret = await at.channel("secret", private=True)
    role = await at.role("administrator", to=bob)
    await tell(ann, secret, "secret", mentions=[me(bob)])
    seqs = [await tell(ann, at.general, f"{number}", mentions=[me(bob)]) for number in range(3)]
    assert await found(server, bob) == ["2", "1", "0", "secret"]
    await ann.call(RoleRevoke(space=at.id, role=role, user=me(bob)))
    await ann.call(MessageEdit(channel=at.general, seq=seqs[0], text="nobody"))
    await ann.call(MessageDelete(channel=at.general, seq=seqs[1]))
    assert await found(server, bob) == ["2"]
    assert await refused(bob, MessageMentions(channel=secret)) == "missing"
    await ann.call(MemberKick(space=at.id, user=me(bob)))
    assert await found(server, bob) == []
    assert await refused(bob, MessageMentions(space=at.id)) == "missing"


async def test_pages_of_mentions_follow_each_other(ann: Person, bob: Person, at: Club, server: Server) -> None:
    for number in range(5):
        await tell(ann, at.general, f"{number}", mentions=[me(bob)])
    await settled(server)
    texts, after = list[str](), None
    for _ in range(3):
        page = await bob.call(MessageMentions(limit=2, after=after))
        texts += [one.message.text for one in page.messages]
        after = page.next
    assert (texts, after) == (list("43210"), None)
