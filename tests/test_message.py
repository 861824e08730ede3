"""message: saying, changing, taking back, forwarding and pinning."""

from uuid import UUID, uuid4

import pytest

from protocol.channel import ChannelRemoveMember
from protocol.error import Missing
from protocol.frame import Request
from protocol.message import (
    MessageAround,
    MessageChanged,
    MessageCreated,
    MessageDelete,
    MessageDeleted,
    MessageDeleteMany,
    MessageEdit,
    MessageEdited,
    MessageForward,
    MessageGet,
    MessageHidden,
    MessageHistory,
    MessageMarkDelivered,
    MessageMarkRead,
    MessagePin,
    MessagePinned,
    MessagePins,
    MessageReaders,
    MessageRevisions,
    MessageSend,
    MessageUnpin,
    MessageUnpinned,
)
from protocol.reaction import ReactionAdd, ReactionList
from server import Server
from tests.chat import UNBOUND, device, direct, group, history, me, nodes, refused, say, sql
from tests.conftest import Connector, Person, Starter


@pytest.fixture
async def cid(connect: Connector) -> Person:
    return await connect("cid")


# Saying


async def test_a_message_is_told_and_read_as_it_was_sent(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    first = await say(ann, channel, "first")
    frame = MessageSend(
        channel=channel,
        text="Hey #Bob, see #bob & #Ümlaut_1!",
        nonce=uuid4(),
        reply_to=first,
        mentions=[me(bob)] * 2,
        silent=True,
    )
    sent = await ann.call(frame)
    await bob.wait_for(MessageCreated)
    told = await bob.wait_for(MessageCreated)
    message = told.message
    assert (told.stream, told.seq, message.seq, message.sent_at) == (channel, sent.seq, sent.seq, sent.sent_at)
    assert (message.author, message.text, message.reply_to, message.silent) == (me(ann), frame.text, first, True)
    assert (message.mentions, message.hashtags) == ([me(bob)], ["bob", "ümlaut_1"])
    assert (await history(bob, channel))[-1] == message
    assert await bob.call(MessageGet(channel=channel, seq=sent.seq)) == message
    assert (await bob.call(MessageHistory(channel=channel, before=sent.seq + 1, limit=1))).messages == [message]


@pytest.mark.parametrize("text", ["ж" * 4000, "😀" * 4000, "\u202ertl", '"\\/\b\f\n\r\t', "a\u0300", " "])
async def test_any_text_comes_back_as_it_was(ann: Person, bob: Person, text: str) -> None:
    channel = await group(ann, bob)
    await say(ann, channel, text)
    assert (await bob.wait_for(MessageCreated)).message.text == text
    assert [one.text for one in await history(bob, channel)] == [text]


@pytest.mark.parametrize("text", ["", "x" * 4001, "nul\x00"])
async def test_no_text_that_is_empty_too_long_or_unstorable(ann: Person, text: str) -> None:
    assert await refused(ann, MessageSend(channel=await group(ann), text=text, nonce=uuid4())) == "invalid"


async def test_only_messages_of_the_same_channel_can_be_replied_to(ann: Person, bob: Person) -> None:
    channel, other = await group(ann, bob), await group(ann)
    for _ in range(3):
        await say(ann, other)
    seq = await say(ann, channel)
    await ann.call(MessagePin(channel=channel, seq=seq))
    for reply_to in (seq + 1, seq + 2, 2**53 - 1):
        with pytest.raises(Missing) as info:
            await say(ann, channel, reply_to=reply_to)
        assert info.value.field == "reply_to"
    await ann.call(MessageDelete(channel=channel, seq=seq))
    assert await refused(ann, MessageSend(channel=channel, text="x", nonce=uuid4(), reply_to=seq)) == "missing"
    assert await refused(ann, MessageSend(channel=channel, text="x", nonce=uuid4(), reply_to=0)) == "invalid"


async def test_only_members_can_be_mentioned(ann: Person, bob: Person, cid: Person) -> None:
    channel = await group(ann, bob)
    for stranger in (me(cid), uuid4()):
        with pytest.raises(Missing) as info:
            await say(ann, channel, mentions=[me(bob), stranger])
        assert info.value.field == "mentions"
    seq = await say(ann, channel)
    with pytest.raises(Missing) as info:
        await ann.call(MessageEdit(channel=channel, seq=seq, text="x", mentions=[me(cid)]))
    assert info.value.field == "mentions"
    assert (
        await refused(ann, MessageSend(channel=channel, text="x", nonce=uuid4(), mentions=[uuid4()] * 21)) == "invalid"
    )
    await ann.call(ChannelRemoveMember(channel=channel, user=me(bob)))
    assert await refused(ann, MessageSend(channel=channel, text="x", nonce=uuid4(), mentions=[me(bob)])) == "missing"


# Changing


async def test_an_edit_is_told_whole_and_keeps_what_was_said_before(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await say(ann, channel, "one #a", mentions=[me(bob)])
    await bob.call(ReactionAdd(channel=channel, seq=seq, emoji="👍"))
    changed = await ann.call(MessageEdit(channel=channel, seq=seq, text="two #b"))
    told = await bob.wait_for(MessageEdited)
    assert (told.seq, told.message.seq, told.message.text) == (changed.seq, seq, "two #b")
    assert (told.message.hashtags, told.message.mentions) == (["b"], [])
    assert told.message.edited_at is not None
    assert told.message.reactions[0].count == 1
    assert await history(bob, channel) == [told.message]
    await ann.call(MessageEdit(channel=channel, seq=seq, text="three"))
    revisions = (await bob.call(MessageRevisions(channel=channel, seq=seq))).revisions
    assert [one.text for one in revisions] == ["one #a", "two #b"]
    assert revisions[0].until == told.message.edited_at
    assert await ann.call(MessageEdit(channel=channel, seq=seq, text="three")) == MessageChanged(seq=0)
    assert len((await bob.call(MessageRevisions(channel=channel, seq=seq))).revisions) == 2


async def test_only_its_author_edits_a_message(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await say(bob, channel)
    assert await refused(ann, MessageEdit(channel=channel, seq=seq, text="the owner's words")) == "forbidden"
    assert [one.text for one in await history(ann, channel)] == ["hello"]


async def test_a_reply_or_mention_lives_on_when_an_edit_keeps_it(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    first = await say(ann, channel)
    seq = await say(ann, channel, "x", reply_to=first, silent=True)
    await ann.call(MessageEdit(channel=channel, seq=seq, text="y"))
    [_, message] = await history(bob, channel)
    assert (message.reply_to, message.silent, message.text) == (first, True, "y")


# Taking back


async def everything_told(person: Person, channel: UUID) -> str:
    """All that can be read of a channel, in any way."""
    frames: list[Request[object]] = [
        MessageHistory(channel=channel),
        MessageHistory(channel=channel, after=0),
        MessageAround(channel=channel, seq=1),
        MessagePins(channel=channel),
    ]
    return "".join([repr(await person.call(frame)) for frame in frames])


async def test_what_is_taken_back_leaves_its_place_and_nothing_else(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await say(ann, channel, "canary one #canary", mentions=[me(bob)])
    await ann.call(MessageEdit(channel=channel, seq=seq, text="canary two", mentions=[me(bob)]))
    await bob.call(ReactionAdd(channel=channel, seq=seq, emoji="👍"))
    await ann.call(MessagePin(channel=channel, seq=seq))
    await bob.call(MessageDelete(channel=channel, seq=await say(bob, channel), for_all=False))
    assert "canary" in await everything_told(bob, channel)
    changed = await ann.call(MessageDelete(channel=channel, seq=seq))
    told = await bob.wait_for(MessageDeleted)
    assert (told.seq, told.messages) == (changed.seq, [seq])
    for person in (ann, bob):
        assert "canary" not in await everything_told(person, channel)
        tombstone = (await history(person, channel))[0]
        assert tombstone.deleted_at is not None
        plain = (tombstone.text, tombstone.mentions, tombstone.hashtags, tombstone.reactions, tombstone.edited_at)
        assert (*plain, tombstone.pinned_at) == ("", [], [], [], None, None)
        frames: list[Request[object]] = [
            MessageGet(channel=channel, seq=seq),
            MessageRevisions(channel=channel, seq=seq),
            MessageReaders(channel=channel, seq=seq),
            MessageEdit(channel=channel, seq=seq, text="x"),
            MessageDelete(channel=channel, seq=seq),
            MessageDelete(channel=channel, seq=seq, for_all=False),
            MessageDeleteMany(channel=channel, seqs=[seq]),
            MessagePin(channel=channel, seq=seq),
            MessageUnpin(channel=channel, seq=seq),
            MessageForward(channel=channel, source=channel, seq=seq, nonce=uuid4()),
            ReactionAdd(channel=channel, seq=seq, emoji="👍"),
            ReactionList(channel=channel, seq=seq),
        ]
        assert {await refused(person, frame) for frame in frames} == {"missing"}
    async with sql(server) as db:
        for table in ("message", "revision", "mention", "reaction", "fact"):
            rows = await db.fetch(f"SELECT t::text AS row FROM {table} t")
            assert not [row["row"] for row in rows if "canary" in row["row"]], table
        assert await db.fetchval("SELECT count(*) FROM revision") == 0


async def test_a_message_is_taken_back_by_its_author_or_the_owner_of_the_group(
    ann: Person, bob: Person, cid: Person
) -> None:
    channel = await group(ann, bob, cid)
    seqs = [await say(bob, channel) for _ in range(2)]
    assert await refused(cid, MessageDelete(channel=channel, seq=seqs[0])) == "forbidden"
    await bob.call(MessageDelete(channel=channel, seq=seqs[0]))
    await ann.call(MessageDelete(channel=channel, seq=seqs[1]))
    private = await direct(ann, bob)
    assert await refused(ann, MessageDelete(channel=private, seq=await say(bob, private))) == "forbidden"


async def test_what_is_hidden_is_hidden_on_all_own_devices_and_nowhere_else(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=one)
    channel = await group(ann, bob)
    for number in range(3):
        await say(ann, channel, f"message {number}")
    there, anns = await device(connect, bob, to=other), await device(connect, ann, to=other)
    for person in (there, anns, bob, ann):  # pages are in the memory of both nodes
        assert len(await history(person, channel)) == 3
    changed = await bob.call(MessageDelete(channel=channel, seq=2, for_all=False))
    for person in (bob, there):
        told = await person.wait_for(MessageHidden)
        assert (told.stream, told.seq, told.channel, told.messages) == (me(bob), changed.seq, channel, [2])
        assert [one.seq for one in await history(person, channel)] == [1, 3]
        assert [one.seq for one in await history(person, channel, after=0)] == [1, 3]
        assert [one.seq for one in (await person.call(MessageAround(channel=channel, seq=2))).messages] == [1, 3]
        assert await refused(person, MessageGet(channel=channel, seq=2)) == "missing"
    for person in (ann, anns):
        assert len(await history(person, channel)) == 3
    with pytest.raises(TimeoutError):
        await ann.wait_for(MessageHidden, timeout=0.1)
    assert await refused(bob, MessageDelete(channel=channel, seq=2, for_all=False)) == "missing"


async def test_what_was_hidden_elsewhere_is_not_in_the_memory_of_another_node(
    start: Starter, connect: Connector
) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=other), await connect("bob", to=one)
    channel = await group(ann, bob)
    for _ in range(3):
        await say(ann, channel)
    assert len(await history(ann, channel)) == len(await history(ann, channel)) == 3
    await bob.call(MessageDelete(channel=channel, seq=2, for_all=False))
    there = await device(connect, bob, to=other)
    assert [one.seq for one in await history(there, channel)] == [1, 3]


async def test_many_are_taken_back_at_once_or_none(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seqs = [await say(bob, channel, f"message {number}") for number in range(5)]
    foreign = await say(ann, channel)
    assert await refused(bob, MessageDeleteMany(channel=channel, seqs=[*seqs, foreign])) == "forbidden"
    assert await refused(bob, MessageDeleteMany(channel=channel, seqs=[*seqs, 999])) == "missing"
    assert await refused(bob, MessageDeleteMany(channel=channel, seqs=[*seqs, 999], for_all=False)) == "missing"
    assert await refused(bob, MessageDeleteMany(channel=channel, seqs=[])) == "invalid"
    assert await refused(bob, MessageDeleteMany(channel=channel, seqs=list(range(1, 102)))) == "invalid"
    assert len([one for one in await history(bob, channel) if one.text]) == 6
    await bob.call(MessageDeleteMany(channel=channel, seqs=[seqs[3], seqs[0], seqs[3]]))
    assert (await ann.wait_for(MessageDeleted)).messages == [seqs[0], seqs[3]]
    await bob.call(MessageDeleteMany(channel=channel, seqs=[foreign, seqs[1]], for_all=False))
    assert (await bob.wait_for(MessageHidden)).messages == [seqs[1], foreign]
    assert [one.text for one in await history(bob, channel)] == ["", "message 2", "", "message 4"]
    await ann.call(MessageDeleteMany(channel=channel, seqs=seqs[1:3]))
    assert [one.text for one in await history(ann, channel)] == ["", "", "", "", "message 4", "hello"]


# Forwarding


async def test_a_forwarded_message_keeps_its_author_and_hides_where_it_stood(
    ann: Person, bob: Person, cid: Person
) -> None:
    source, channel, third = await group(ann, bob), await group(bob, cid), await group(cid)
    seq = await say(ann, source, "words #tag", mentions=[me(bob)], reply_to=await say(ann, source))
    original = await bob.call(MessageGet(channel=source, seq=seq))
    frame = MessageForward(channel=channel, source=source, seq=seq, nonce=uuid4())
    sent = await bob.call(frame)
    assert await bob.call(frame) == sent
    told = (await cid.wait_for(MessageCreated)).message
    assert (told.author, told.text, told.hashtags) == (me(bob), "words #tag", ["tag"])
    assert (told.mentions, told.reply_to) == ([], None)
    assert told.forwarded is not None
    assert (told.forwarded.author, told.forwarded.sent_at) == (me(ann), original.sent_at)
    assert str(source) not in repr(told)
    assert await history(cid, channel) == [told]
    again = await cid.call(MessageForward(channel=third, source=channel, seq=sent.seq, nonce=uuid4()))
    [kept] = await history(cid, third)
    assert (kept.seq, kept.author, kept.forwarded) == (again.seq, me(cid), told.forwarded)
    assert await refused(bob, MessageEdit(channel=channel, seq=sent.seq, text="other words")) == "forbidden"


async def test_one_forwards_what_one_sees_to_where_one_writes(ann: Person, bob: Person, cid: Person) -> None:
    mine, theirs = await group(ann), await group(bob, cid)
    seq, foreign = await say(ann, mine), await say(bob, theirs)
    for frame in (
        MessageForward(channel=mine, source=theirs, seq=foreign, nonce=uuid4()),
        MessageForward(channel=theirs, source=mine, seq=seq, nonce=uuid4()),
        MessageForward(channel=mine, source=mine, seq=seq + 1, nonce=uuid4()),
        MessageForward(channel=uuid4(), source=mine, seq=seq, nonce=uuid4()),
    ):
        assert await refused(ann, frame) == "missing"


# Pinning


async def test_pins_are_told_and_listed_in_the_order_of_seqs(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seqs = [await say(ann, channel, str(number)) for number in range(3)]
    for seq in (seqs[2], seqs[0]):
        await bob.call(MessagePin(channel=channel, seq=seq))
        told = await ann.wait_for(MessagePinned)
        assert (told.message, told.by) == (seq, me(bob))
        assert (await ann.call(MessageGet(channel=channel, seq=seq))).pinned_at == told.at
    assert await bob.call(MessagePin(channel=channel, seq=seqs[0])) == MessageChanged(seq=0)
    assert [one.seq for one in (await ann.call(MessagePins(channel=channel))).messages] == [seqs[0], seqs[2]]
    await ann.call(MessageUnpin(channel=channel, seq=seqs[2]))
    assert (await bob.wait_for(MessageUnpinned)).message == seqs[2]
    assert await ann.call(MessageUnpin(channel=channel, seq=seqs[2])) == MessageChanged(seq=0)
    await bob.call(MessageDelete(channel=channel, seq=seqs[0], for_all=False))
    assert (await bob.call(MessagePins(channel=channel))).messages == []
    assert [one.seq for one in (await ann.call(MessagePins(channel=channel))).messages] == [seqs[0]]


async def test_a_channel_takes_a_hundred_pins(start: Starter, connect: Connector) -> None:
    ann = await connect("ann", to=await start(**UNBOUND))
    channel = await group(ann)
    seqs = [await say(ann, channel) for _ in range(101)]
    for seq in seqs[:100]:
        await ann.call(MessagePin(channel=channel, seq=seq))
    assert await refused(ann, MessagePin(channel=channel, seq=seqs[100])) == "conflict"
    assert len((await ann.call(MessagePins(channel=channel))).messages) == 100
    await ann.call(MessageUnpin(channel=channel, seq=seqs[50]))
    await ann.call(MessagePin(channel=channel, seq=seqs[100]))


# Who may not


async def test_of_what_one_is_not_in_nothing_can_be_read_or_changed(ann: Person, bob: Person) -> None:
    channel = await group(ann)
    seq = await say(ann, channel)
    for where in (channel, uuid4()):
        frames: list[Request[object]] = [
            MessageGet(channel=where, seq=seq),
            MessageHistory(channel=where),
            MessageAround(channel=where, seq=seq),
            MessagePins(channel=where),
            MessageRevisions(channel=where, seq=seq),
            MessageReaders(channel=where, seq=seq),
            MessageMarkRead(channel=where, seq=seq),
            MessageMarkDelivered(channel=where, seq=seq),
            MessageEdit(channel=where, seq=seq, text="x"),
            MessageDelete(channel=where, seq=seq, for_all=False),
            MessageDeleteMany(channel=where, seqs=[seq]),
            MessagePin(channel=where, seq=seq),
            ReactionAdd(channel=where, seq=seq, emoji="👍"),
        ]
        assert {await refused(bob, frame) for frame in frames} == {"missing"}


async def test_changes_decided_before_a_removal_are_refused_after_it(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    channel = await group(ann, bob)
    seq = await say(bob, channel)
    await bob.call(MessagePin(channel=channel, seq=seq))
    await ann.call(ChannelRemoveMember(channel=channel, user=me(bob)))
    for frame in (
        MessageEdit(channel=channel, seq=seq, text="x"),
        MessageDelete(channel=channel, seq=seq),
        MessageDelete(channel=channel, seq=seq, for_all=False),
        MessageUnpin(channel=channel, seq=seq),
        ReactionAdd(channel=channel, seq=seq, emoji="👍"),
        MessageMarkRead(channel=channel, seq=seq),
    ):
        assert await refused(bob, frame) == "missing"
