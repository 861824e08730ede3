"""emoji: those that spaces have made: who makes them, who sees them, and what they do under messages."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

from protocol.account import AccountDelete, AccountExport
from protocol.emoji import Emoji, EmojiCreate, EmojiDelete, EmojiList, EmojiUpdate
from protocol.message import MessageChanged
from protocol.reaction import ReactionAdd, ReactionAdded, ReactionList, ReactionRemove, ReactionRemoved
from protocol.space import SpaceChanged
from server import Server, emblem
from tests.chat import group, history, me, nodes, refused, say
from tests.club import Club, club
from tests.community import watch
from tests.conftest import Connector, Person, Starter


async def emoji(person: Person, at: Club, name: str = "wave") -> Emoji:
    return await person.call(EmojiCreate(space=at.id, name=name, file=uuid4(), nonce=uuid4()))


async def listed(person: Person, at: Club) -> list[str]:
    return [one.name for one in (await person.call(EmojiList(space=at.id))).emoji]


async def test_who_manages_emoji_makes_renames_and_deletes_them(ann: Person, bob: Person) -> None:
    at = await club(ann, bob)
    assert await refused(bob, EmojiCreate(space=at.id, name="wave", file=uuid4(), nonce=uuid4())) == "forbidden"
    await at.role("manage_emoji", to=bob)
    wave = await emoji(bob, at)
    assert (await bob.call(EmojiUpdate(space=at.id, emoji=wave.id, name="hello"))).name == "hello"
    assert await listed(ann, at) == ["hello"]
    await bob.call(EmojiDelete(space=at.id, emoji=wave.id))
    assert await listed(ann, at) == []
    assert await refused(bob, EmojiDelete(space=at.id, emoji=wave.id)) == "missing"


async def test_the_same_nonce_is_the_same_emoji(ann: Person) -> None:
    at = await club(ann)
    frame = EmojiCreate(space=at.id, name="wave", file=uuid4(), nonce=uuid4())
    made = await asyncio.gather(*(ann.call(frame) for _ in range(3)))
    assert len({one.id for one in made}) == 1
    assert await listed(ann, at) == ["wave"]


async def test_a_name_is_short_plain_and_taken_once_in_a_space(ann: Person) -> None:
    at, other = await club(ann), await club(ann)
    wave, hat = await emoji(ann, at), await emoji(ann, at, "hat")
    await emoji(ann, other)
    for name in ("x", "Wave", "a b", "é", "x" * 33, ":wave:"):
        assert await refused(ann, EmojiCreate(space=at.id, name=name, file=uuid4(), nonce=uuid4())) == "invalid"
    assert await refused(ann, EmojiCreate(space=at.id, name="wave", file=uuid4(), nonce=uuid4())) == "conflict"
    assert await refused(ann, EmojiUpdate(space=at.id, emoji=hat.id, name="wave")) == "conflict"
    assert (await ann.call(EmojiUpdate(space=at.id, emoji=wave.id, name="wave"))) == wave


async def test_a_space_has_room_for_so_many(ann: Person, server: Server) -> None:
    at = await club(ann)
    await server.pool.execute(
        """
        INSERT INTO emoji (id, space, name, file, nonce)
        SELECT gen_random_uuid(), $1, 'e' || n, gen_random_uuid(), gen_random_uuid() FROM generate_series(1, $2::int) n
        """,
        at.id,
        emblem.EMOJIS.most,
    )
    assert await refused(ann, EmojiCreate(space=at.id, name="wave", file=uuid4(), nonce=uuid4())) == "conflict"


async def test_members_are_told_of_emoji_as_of_roles(ann: Person, bob: Person) -> None:
    at = await club(ann, bob)
    before = await at.seen(bob)
    wave = await emoji(ann, at)
    told = await bob.wait_for(SpaceChanged)
    assert (told.was, told.emoji, told.roles, told.channels) == (before.outline, [wave], [], [])
    after = await at.seen(bob)
    assert (after.outline, after.emoji) == (told.outline, [wave])
    renamed = await ann.call(EmojiUpdate(space=at.id, emoji=wave.id, name="hello"))
    assert (await bob.wait_for(SpaceChanged)).emoji == [renamed]
    await ann.call(EmojiDelete(space=at.id, emoji=wave.id))
    assert (await bob.wait_for(SpaceChanged)).gone == [wave.id]


async def test_an_emoji_of_the_space_is_put_under_messages_there_and_nowhere_else(ann: Person, bob: Person) -> None:
    at, other = await club(ann, bob), await club(ann, bob)
    wave = await emoji(ann, at)
    seq = await say(ann, at.general)
    await watch(ann, at.general)
    await bob.call(ReactionAdd(channel=at.general, seq=seq, custom=wave.id))
    told = await ann.wait_for(ReactionAdded)
    assert (told.emoji, told.custom, told.count) == (":wave:", wave.id, 1)
    assert await bob.call(ReactionAdd(channel=at.general, seq=seq, custom=wave.id)) == MessageChanged(seq=0)
    elsewhere = await say(ann, other.general)
    chat = await group(ann, bob)
    for channel, message in ((other.general, elsewhere), (chat, await say(ann, chat))):
        assert await refused(bob, ReactionAdd(channel=channel, seq=message, custom=wave.id)) == "missing"
    assert await refused(bob, ReactionAdd(channel=at.general, seq=seq, custom=uuid4())) == "missing"


async def test_a_reaction_is_one_emoji(ann: Person) -> None:
    at = await club(ann)
    wave, seq = await emoji(ann, at), await say(ann, at.general)
    for fields in ({}, {"emoji": "👍", "custom": wave.id}):
        for frame in (ReactionAdd, ReactionRemove):
            assert await refused(ann, frame(channel=at.general, seq=seq, **fields)) == "invalid"  # type: ignore[arg-type]


async def test_what_only_looks_like_one_is_another_reaction(ann: Person) -> None:
    at = await club(ann)
    wave, seq = await emoji(ann, at), await say(ann, at.general)
    for fields in ({"emoji": ":wave:"}, {"custom": wave.id}):
        await ann.call(ReactionAdd(channel=at.general, seq=seq, **fields))
    assert await counted(ann, at.general) == [(":wave:", None, 1), (":wave:", wave.id, 1)]
    await ann.call(ReactionRemove(channel=at.general, seq=seq, emoji=":wave:"))
    assert await counted(ann, at.general) == [(":wave:", wave.id, 1)]


async def counted(person: Person, channel: UUID) -> list[tuple[str, UUID | None, int]]:
    [message] = await history(person, channel)
    return [(one.emoji, one.custom, one.count) for one in message.reactions]


async def test_a_deleted_emoji_stays_where_it_was_put_by_its_name(ann: Person, bob: Person) -> None:
    at = await club(ann, bob)
    wave, seq = await emoji(ann, at), await say(ann, at.general)
    await watch(bob, at.general)
    await ann.call(ReactionAdd(channel=at.general, seq=seq, custom=wave.id))
    await ann.call(EmojiDelete(space=at.id, emoji=wave.id))
    another = await emoji(ann, at)
    await bob.call(ReactionAdd(channel=at.general, seq=seq, custom=another.id))
    assert await counted(bob, at.general) == [(":wave:", wave.id, 1), (":wave:", another.id, 1)]
    assert await refused(bob, ReactionAdd(channel=at.general, seq=seq, custom=wave.id)) == "missing"
    one, other = (await bob.call(ReactionList(channel=at.general, seq=seq))).reactions
    assert [(one.custom, one.user), (other.custom, other.user)] == [(wave.id, me(ann)), (another.id, me(bob))]
    await ann.call(ReactionRemove(channel=at.general, seq=seq, custom=wave.id))
    told = await bob.wait_for(ReactionRemoved)
    assert (told.emoji, told.custom, told.count) == (":wave:", wave.id, 0)
    assert await counted(bob, at.general) == [(":wave:", another.id, 1)]


async def test_under_a_message_an_emoji_keeps_the_name_that_it_had_there_first(ann: Person, bob: Person) -> None:
    at = await club(ann, bob)
    wave, seq = await emoji(ann, at), await say(ann, at.general)
    await ann.call(ReactionAdd(channel=at.general, seq=seq, custom=wave.id))
    await ann.call(EmojiUpdate(space=at.id, emoji=wave.id, name="hello"))
    await bob.call(ReactionAdd(channel=at.general, seq=seq, custom=wave.id))
    assert await counted(ann, at.general) == [(":wave:", wave.id, 2)]
    later = await say(ann, at.general)
    await bob.call(ReactionAdd(channel=at.general, seq=later, custom=wave.id))
    assert [one.emoji for one in (await history(ann, at.general))[1].reactions] == [":hello:"]


async def test_emoji_made_on_one_node_are_known_on_all(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    at = await club(ann, bob)
    await at.seen(bob)
    wave = await emoji(ann, at)
    assert (await bob.wait_for(SpaceChanged)).emoji == [wave]
    assert await listed(bob, at) == ["wave"]


async def test_what_a_deleted_account_has_put_there_is_told_to_it_first_and_goes_with_it(
    ann: Person, bob: Person
) -> None:
    at = await club(ann, bob)
    wave, seq = await emoji(ann, at), await say(ann, at.general)
    await watch(ann, at.general)
    for person, fields in ((bob, {"emoji": ":wave:"}), (bob, {"custom": wave.id}), (ann, {"custom": wave.id})):
        await person.call(ReactionAdd(channel=at.general, seq=seq, **fields))  # type: ignore[arg-type]
    exported = (await bob.call(AccountExport())).reactions
    assert [(one.emoji, one.custom) for one in exported] == [(":wave:", None), (":wave:", wave.id)]
    await bob.call(AccountDelete(password=Person.password))
    told = [await ann.wait_for(ReactionRemoved) for _ in range(2)]
    assert {(one.custom, one.count) for one in told} == {(None, 0), (wave.id, 1)}
    assert await counted(ann, at.general) == [(":wave:", wave.id, 1)]


async def test_making_and_deleting_one_leaves_the_others_as_they_are(ann: Person) -> None:
    at = await club(ann)
    made = [await emoji(ann, at, name) for name in ("a1", "b2", "c3")]
    await ann.call(EmojiUpdate(space=at.id, emoji=made[0].id, name="d4"))
    await ann.call(EmojiDelete(space=at.id, emoji=made[1].id))
    assert await listed(ann, at) == ["c3", "d4"]
