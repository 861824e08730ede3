"""draft: what one has begun to write, on all of one's devices and on nobody else's."""

from uuid import UUID, uuid4

import msgspec
import pytest

from protocol.account import AccountLogin, Tokens
from protocol.channel import ChannelCreate, ChannelDelete, ChannelLeave, ChannelLeft
from protocol.codec import encode
from protocol.draft import Draft, DraftClear, DraftCleared, DraftList, DraftSave, DraftSaved
from protocol.error import Conflict, Invalid, Missing
from protocol.message import MessageCreated, MessageSend
from protocol.session import Cursor, SessionResume
from server import Server
from tests.chat import Phone
from tests.conftest import Connector, Person, Starter

SOON = 4.0


def id_of(person: Person) -> UUID:
    return person.tokens_given.account


async def group(owner: Person, *members: Person) -> UUID:
    frame = ChannelCreate(name="group", nonce=uuid4(), members=[id_of(one) for one in members])
    return (await owner.call(frame)).channel.id


async def drafts(person: Person) -> list[Draft]:
    return (await person.call(DraftList())).drafts


async def another_device(connect: Connector, person: Person, to: Server | None = None) -> Person:
    other = await connect(to=to)
    tokens = await other.call(AccountLogin(login=person.name, password=Person.password))
    assert isinstance(tokens, Tokens)
    await other.open(tokens)
    return other


async def test_a_draft_is_there_until_it_is_cleared(ann: Person) -> None:
    channel = await group(ann)
    seq = (await ann.call(MessageSend(channel=channel, text="first", nonce=uuid4()))).seq
    await ann.call(DraftSave(channel=channel, text="I thi", reply_to=seq))
    await ann.call(DraftSave(channel=channel, text="I think"))
    [draft] = await drafts(ann)
    assert (draft.channel, draft.text, draft.reply_to) == (channel, "I think", None)
    await ann.call(DraftClear(channel=channel))
    assert await drafts(ann) == []
    await ann.call(DraftClear(channel=channel))  # again is no error


async def test_the_newest_draft_is_the_first(ann: Person) -> None:
    channels = [await group(ann) for _ in range(3)]
    for channel in (*channels, channels[0]):
        await ann.call(DraftSave(channel=channel, text="words"))
    assert [one.channel for one in await drafts(ann)] == [channels[0], channels[2], channels[1]]


async def test_ones_other_devices_hear_of_it(ann: Person, connect: Connector) -> None:
    second, channel = await another_device(connect, ann), await group(ann)
    await ann.call(DraftSave(channel=channel, text="from the phone"))
    told = await second.wait_for(DraftSaved, SOON)
    assert [told.draft] == await drafts(second)
    await second.call(DraftClear(channel=channel))
    cleared = await ann.wait_for(DraftCleared, SOON)
    assert (cleared.channel, cleared.seq) == (channel, told.seq + 1)


async def test_a_device_on_another_node_hears_of_it(ann: Person, start: Starter, connect: Connector) -> None:
    second, channel = await another_device(connect, ann, to=await start()), await group(ann)
    await ann.call(DraftSave(channel=channel, text="from the phone"))
    assert (await second.wait_for(DraftSaved, SOON)).draft.text == "from the phone"


async def test_a_device_that_was_away_gets_it_when_it_resumes(ann: Person, connect: Connector) -> None:
    channel = await group(ann)
    assert ann.session is not None
    cursor = Cursor(stream=id_of(ann), seq=ann.session.head)
    await ann.call(DraftSave(channel=channel, text="meanwhile"))
    back = await connect()
    await back.call(SessionResume(token=ann.tokens_given.access, cursors=[cursor]))
    assert (await back.wait_for(DraftSaved, SOON)).draft.text == "meanwhile"


async def resumed(server: Server, person: Person) -> Phone:
    """A device of theirs that has missed everything."""
    server.streams.get(id_of(person)).forget()  # type: ignore[union-attr]
    phone, reply = await Phone.resume(server, person.tokens_given.access, {id_of(person): 0})
    assert reply["reset"] == []
    return phone


async def test_who_was_away_is_told_of_drafts_as_they_are_now(ann: Person, server: Server) -> None:
    channels = [await group(ann) for _ in range(3)]
    for number in range(3):
        for channel in channels:
            await ann.call(DraftSave(channel=channel, text=f"words {number}"))
    await ann.call(DraftClear(channel=channels[0]))
    await ann.call(DraftClear(channel=channels[1]))
    await ann.call(DraftSave(channel=channels[1], text="anew", reply_to=1))
    phone = await resumed(server, ann)
    facts = phone.facts(id_of(ann))
    assert [one["seq"] for one in facts] == list(range(1, len(facts) + 1))
    told = [(one["ev"], one.get("channel"), one.get("draft")) for one in facts if one["ev"].startswith("draft.")]
    [newest, other] = [msgspec.to_builtins(one) for one in await drafts(ann)]
    assert (newest["text"], newest["reply_to"], other["text"]) == ("anew", 1, "words 2")
    now = {
        str(channels[0]): ("draft.cleared", str(channels[0]), None),
        str(channels[1]): ("draft.saved", None, newest),
        str(channels[2]): ("draft.saved", None, other),
    }
    cleared = [("draft.cleared", str(one), None) for one in channels[:2]]
    assert told == [now[str(one)] for one in channels] * 3 + cleared + [now[str(channels[1])]]
    phone.abort()


async def test_words_of_drafts_are_kept_in_one_place_only(ann: Person, server: Server) -> None:
    channel = await group(ann)
    for number in range(10):
        await ann.call(DraftSave(channel=channel, text=f"a canary {number}"))
    assert await server.pool.fetchval("SELECT count(*) FROM fact WHERE kind = 'draft.saved'") == 10
    assert await server.pool.fetchval("SELECT count(*) FROM fact WHERE data LIKE '%canary%'") == 0
    await ann.call(DraftClear(channel=channel))
    assert await server.pool.fetchval("SELECT count(*) FROM draft") == 0


async def test_nobody_else_learns_of_it(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    await ann.call(DraftSave(channel=channel, text="a canary"))
    await bob.call(DraftSave(channel=channel, text="mine"))
    assert [one.text for one in await drafts(bob)] == ["mine"]
    phone = await resumed(server, bob)
    assert [one["draft"]["text"] for one in phone.facts(id_of(bob)) if one["ev"] == "draft.saved"] == ["mine"]
    phone.abort()
    assert (await bob.wait_for(DraftSaved, SOON)).draft.text == "mine"
    await ann.call(MessageSend(channel=channel, text="something else", nonce=uuid4()))
    told = await bob.wait_for(MessageCreated, SOON)
    assert b"canary" not in encode(told)
    with pytest.raises(TimeoutError):
        await bob.wait_for(DraftSaved, 0.05)


async def test_one_drafts_only_where_one_is(ann: Person, bob: Person) -> None:
    channel = await group(bob)
    for frame in (DraftSave(channel=channel, text="x"), DraftClear(channel=channel), DraftClear(channel=uuid4())):
        with pytest.raises(Missing):
            await ann.call(frame)
    with pytest.raises(Invalid):
        await bob.call(DraftSave(channel=channel, text=""))
    with pytest.raises(Invalid):
        await bob.call(DraftSave(channel=channel, text="x" * 4001))


async def test_a_draft_goes_with_the_channel(ann: Person, bob: Person) -> None:
    left, deleted = await group(bob, ann), await group(bob, ann)
    for channel in (left, deleted):
        await ann.call(DraftSave(channel=channel, text="words"))
    await ann.call(ChannelLeave(channel=left))
    assert [one.channel for one in await drafts(ann)] == [deleted]
    await bob.call(ChannelDelete(channel=deleted))
    for _ in range(2):
        await ann.wait_for(ChannelLeft, SOON)
    assert await drafts(ann) == []


async def test_a_hundred_drafts_are_kept(ann: Person, server: Server) -> None:
    channel, last = await group(ann), await group(ann)
    await ann.call(DraftSave(channel=channel, text="one of many"))
    await server.pool.execute(
        """
        WITH s AS (INSERT INTO stream (id) SELECT gen_random_uuid() FROM generate_series(1, 99) RETURNING id),
             c AS (INSERT INTO channel (id, kind) SELECT id, 'group' FROM s RETURNING id)
        INSERT INTO draft (account, channel, text) SELECT $1, id, 'one of many' FROM c
        """,
        id_of(ann),
    )
    with pytest.raises(Conflict):
        await ann.call(DraftSave(channel=last, text="one too many"))
    await ann.call(DraftSave(channel=channel, text="changed"))  # not another one
    await ann.call(DraftClear(channel=channel))
    await ann.call(DraftSave(channel=last, text="now there is room"))
    assert len(await drafts(ann)) == 100
