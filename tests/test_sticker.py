"""sticker: pictures of spaces: who makes them, and how they are sent."""

from __future__ import annotations

from uuid import UUID, uuid4

from protocol.ballot import NewPoll
from protocol.message import MessageDelete, MessageEdit, MessageForward, MessageSend
from protocol.space import SpaceChanged
from protocol.sticker import SentSticker, Sticker, StickerCreate, StickerDelete, StickerList, StickerUpdate
from server import Server, emblem
from tests.chat import group, history, refused
from tests.club import Club, club
from tests.conftest import Person


async def sticker(person: Person, at: Club, name: str = "cat") -> Sticker:
    return await person.call(StickerCreate(space=at.id, name=name, file=uuid4(), nonce=uuid4(), about="a cat"))


def send(channel: UUID, one: UUID, **fields: object) -> MessageSend:
    return MessageSend(channel=channel, nonce=uuid4(), sticker=one, **fields)  # type: ignore[arg-type]


def as_sent(one: Sticker) -> SentSticker:
    return SentSticker(id=one.id, name=one.name, about=one.about, file=one.file)


async def test_who_manages_emoji_makes_changes_and_deletes_stickers(ann: Person, bob: Person) -> None:
    at = await club(ann, bob)
    frame = StickerCreate(space=at.id, name="cat", file=uuid4(), nonce=uuid4())
    assert await refused(bob, frame) == "forbidden"
    await at.role("manage_emoji", to=bob)
    made = await bob.call(frame)
    assert await bob.call(frame) == made
    assert await refused(bob, StickerCreate(space=at.id, name="cat", file=uuid4(), nonce=uuid4())) == "conflict"
    changed = await bob.call(StickerUpdate(space=at.id, sticker=made.id, about="a small cat"))
    assert (changed.name, changed.about, changed.file) == ("cat", "a small cat", made.file)
    assert (await ann.call(StickerList(space=at.id))).stickers == [changed]
    await bob.call(StickerDelete(space=at.id, sticker=made.id))
    assert (await ann.call(StickerList(space=at.id))).stickers == []


async def test_a_space_has_room_for_so_many_stickers(ann: Person, server: Server) -> None:
    at = await club(ann)
    await server.pool.execute(
        """
        INSERT INTO sticker (id, space, name, about, file, nonce)
        SELECT gen_random_uuid(), $1, 's' || n, '', gen_random_uuid(), gen_random_uuid()
          FROM generate_series(1, $2::int) n
        """,
        at.id,
        emblem.STICKER.most,
    )
    assert await refused(ann, StickerCreate(space=at.id, name="cat", file=uuid4(), nonce=uuid4())) == "conflict"


async def test_members_are_told_of_stickers_as_of_roles(ann: Person, bob: Person) -> None:
    at = await club(ann, bob)
    assert (await at.seen(bob)).stickers == []
    cat = await sticker(ann, at)
    assert (await bob.wait_for(SpaceChanged)).stickers == [cat]
    await ann.call(StickerDelete(space=at.id, sticker=cat.id))
    assert (await bob.wait_for(SpaceChanged)).gone == [cat.id]


async def test_a_sticker_is_sent_with_or_without_words(ann: Person, bob: Person) -> None:
    at = await club(ann, bob)
    cat = await sticker(ann, at)
    for text in ("", "look"):
        await bob.call(send(at.general, cat.id, **({"text": text} if text else {})))
    assert [(one.text, one.sticker) for one in await history(ann, at.general)] == [
        ("", as_sent(cat)),
        ("look", as_sent(cat)),
    ]


async def test_a_retry_of_a_sticker_is_the_same_message(ann: Person) -> None:
    at = await club(ann)
    cat = await sticker(ann, at)
    frame = send(at.general, cat.id)
    first = await ann.call(frame)
    await ann.call(StickerDelete(space=at.id, sticker=cat.id))
    assert await ann.call(frame) == first
    assert len(await history(ann, at.general)) == 1


async def test_stickers_of_other_spaces_deleted_ones_and_none_at_all_are_missing(ann: Person, bob: Person) -> None:
    at, other = await club(ann, bob), await club(ann, bob)
    cat, dog = await sticker(ann, at), await sticker(ann, at, "dog")
    await ann.call(StickerDelete(space=at.id, sticker=dog.id))
    for channel, one in ((other.general, cat.id), (await group(ann, bob), cat.id), (at.general, dog.id)):
        assert await refused(bob, send(channel, one, text="look")) == "missing"
    assert await refused(bob, send(at.general, uuid4())) == "missing"


async def test_a_message_says_something_or_is_a_sticker(ann: Person) -> None:
    at = await club(ann)
    cat = await sticker(ann, at)
    assert await refused(ann, MessageSend(channel=at.general, nonce=uuid4())) == "invalid"
    poll = NewPoll(options=["one", "two"])
    assert await refused(ann, send(at.general, cat.id, poll=poll)) == "invalid"
    await ann.call(send(at.general, cat.id, poll=poll, text="which?"))


async def test_a_message_keeps_its_sticker_when_that_is_renamed_or_deleted(ann: Person) -> None:
    at = await club(ann)
    cat = await sticker(ann, at)
    seq = (await ann.call(send(at.general, cat.id, text="look"))).seq
    await ann.call(StickerUpdate(space=at.id, sticker=cat.id, name="dog"))
    await ann.call(MessageEdit(channel=at.general, seq=seq, text="see"))
    await ann.call(StickerDelete(space=at.id, sticker=cat.id))
    [message] = await history(ann, at.general)
    assert (message.text, message.sticker) == ("see", as_sent(cat))
    await ann.call(MessageDelete(channel=at.general, seq=seq))
    assert (await history(ann, at.general))[0].sticker is None


async def test_a_sticker_goes_along_when_its_message_is_forwarded(ann: Person, bob: Person) -> None:
    at, chat = await club(ann), await group(ann, bob)
    cat = await sticker(ann, at)
    seq = (await ann.call(send(at.general, cat.id))).seq
    await ann.call(MessageForward(channel=chat, source=at.general, seq=seq, nonce=uuid4()))
    assert (await history(bob, chat))[0].sticker == as_sent(cat)
