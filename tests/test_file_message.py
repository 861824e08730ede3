"""file: messages that carry files, and who may read what they carry."""

from uuid import uuid4

import pytest

from protocol.account import AccountDelete, AccountExport, AccountSetAvatar
from protocol.channel import ChannelCreate, ChannelDelete, ChannelRemoveMember, ChannelUpdate
from protocol.error import Conflict, Forbidden, Invalid, Missing
from protocol.file import Attached, FileDelete, FileGet, FileLink, FileList
from protocol.message import MessageCreated, MessageDelete, MessageForward, MessageSend
from protocol.space import SpaceCreate
from server import Server
from tests.chat import direct, group, history, me
from tests.community import community
from tests.conftest import Person
from tests.files import address, begin, get, kept, say_with, upload

SOON = 5.0


def shown(file: object) -> Attached:
    return Attached(id=file.id, name=file.name, type=file.type, size=file.size, purpose=file.purpose)  # type: ignore[attr-defined]


async def test_a_message_carries_files_and_whoever_reads_it_reads_them(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    one, two = await upload(ann, b"one", "one.txt"), await upload(ann, b"two", "two.ogg", purpose="voice")
    seq = await say_with(ann, channel, two, one, two, text="look")
    told = (await bob.wait_for(MessageCreated, SOON)).message
    [read] = await history(bob, channel)
    assert told == read
    assert (read.seq, read.text, read.files) == (seq, "look", [shown(two), shown(one)])
    assert (await get(await address(bob, one, channel, seq))).body == b"one"
    with pytest.raises(Missing):
        await address(bob, one)


async def test_files_alone_say_enough_and_nothing_at_all_does_not(ann: Person) -> None:
    channel = await group(ann)
    await say_with(ann, channel, await upload(ann, b"x"))
    with pytest.raises(Invalid) as refused:
        await ann.call(MessageSend(channel=channel, nonce=uuid4()))
    assert refused.value.field == "text"


async def test_only_ones_own_that_are_ready_and_to_be_sent(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    theirs, picture = await upload(bob, b"x"), await upload(ann, b"y", purpose="avatar")
    unfinished = await begin(ann, b"z")
    with pytest.raises(Missing):
        await say_with(ann, channel, theirs)
    with pytest.raises(Invalid):
        await say_with(ann, channel, picture)
    with pytest.raises(Conflict):
        await say_with(ann, channel, unfinished.file)
    with pytest.raises(Invalid):
        await ann.call(MessageSend(channel=channel, nonce=uuid4(), files=[uuid4() for _ in range(11)]))
    assert await history(ann, channel) == []


async def test_the_same_nonce_is_the_same_message_also_when_its_files_are_gone(server: Server, ann: Person) -> None:
    channel, file = await group(ann), await upload(ann, b"x")
    frame = MessageSend(channel=channel, nonce=uuid4(), files=[file.id])
    sent = await ann.call(frame)
    assert await ann.call(frame) == sent
    await ann.call(MessageDelete(channel=channel, seq=sent.seq))
    await server.pool.execute("UPDATE file_loose SET due = now()")
    await server.files.sweep()
    assert await ann.call(frame) == sent


async def test_who_may_not_attach_in_a_channel_of_a_space_sends_words_only(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    room = await club.room()
    file = await upload(bob, b"x")
    await say_with(bob, room, file)
    await club.overwrite(room, deny=["attach"])
    with pytest.raises(Forbidden):
        await say_with(bob, room, file)
    await say_with(bob, room, text="words")


async def test_whoever_cannot_read_the_message_any_more_gets_no_link(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    file = await upload(ann, b"x")
    seq = await say_with(ann, channel, file)
    await address(bob, file, channel, seq)
    with pytest.raises(Missing):
        await address(bob, file, channel, seq + 1)
    other = await upload(ann, b"not in it")
    with pytest.raises(Missing):
        await address(bob, other, channel, seq)
    with pytest.raises(Missing):
        await bob.call(FileLink(file=file.id, channel=channel))
    await ann.call(ChannelRemoveMember(channel=channel, user=me(bob)))
    with pytest.raises(Missing):
        await address(bob, file, channel, seq)


async def test_history_is_needed_to_read_files_of_a_space(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    room = await club.room()
    file = await upload(ann, b"x")
    seq = await say_with(ann, room, file)
    await address(bob, file, room, seq)
    await club.overwrite(room, deny=["history"])
    with pytest.raises(Forbidden):
        await address(bob, file, room, seq)
    await club.overwrite(room, deny=["view"])
    with pytest.raises(Missing):
        await address(bob, file, room, seq)


async def test_what_was_forwarded_is_read_where_it_stands_now(server: Server, ann: Person, bob: Person) -> None:
    here, there = await group(ann, bob), await direct(bob, ann)
    file = await upload(ann, b"x")
    seq = await say_with(ann, here, file, text="words")
    sent = await bob.call(MessageForward(channel=there, source=here, seq=seq, nonce=uuid4()))
    [message] = await history(bob, there)
    assert (message.text, message.files) == ("words", [shown(file)])
    await ann.call(MessageDelete(channel=here, seq=seq))
    await server.pool.execute("UPDATE file_loose SET due = now()")
    await server.files.sweep()
    assert (await get(await address(bob, file, there, sent.seq))).body == b"x"
    with pytest.raises(Missing):
        await address(bob, file, here, seq)


async def test_the_last_message_that_carries_a_file_takes_it_along(server: Server, ann: Person, bob: Person) -> None:
    one, two = await group(ann, bob), await group(ann, bob)
    file = await upload(ann, b"x")
    seqs = {channel: await say_with(ann, channel, file) for channel in (one, two)}
    with pytest.raises(Conflict):
        await ann.call(FileDelete(file=file.id))
    await ann.call(MessageDelete(channel=one, seq=seqs[one]))
    await server.pool.execute("UPDATE file_loose SET due = now()")
    await server.files.sweep()
    assert await ann.call(FileGet(file=file.id)) == file
    await ann.call(MessageDelete(channel=two, seq=seqs[two]))
    await server.files.sweep()
    assert await ann.call(FileGet(file=file.id)) == file, "whoever is forwarding it at this moment still can"
    await server.pool.execute("UPDATE file_loose SET due = now()")
    await server.files.sweep()
    assert (await ann.call(FileList())).used == 0
    assert kept(server) == []


async def test_a_deleted_channel_takes_its_files_along(server: Server, ann: Person) -> None:
    channel = await group(ann)
    await say_with(ann, channel, await upload(ann, b"x"))
    await ann.call(ChannelDelete(channel=channel))
    while await server.pool.fetchval("SELECT count(*) FROM grave"):
        pass
    await server.pool.execute("UPDATE file_loose SET due = now()")
    await server.files.sweep()
    assert kept(server) == []


async def test_a_deleted_account_takes_its_files_along(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(bob, ann)
    file = await upload(ann, b"x")
    seq = await say_with(ann, channel, file)
    forwarded = await bob.call(MessageForward(channel=channel, source=channel, seq=seq, nonce=uuid4()))
    url = await address(bob, file, channel, forwarded.seq)
    exported = await ann.call(AccountExport())
    assert exported.files == [file]
    await ann.call(AccountDelete(password=Person.password))
    while await server.pool.fetchval("SELECT count(*) FROM erasure"):
        pass
    await server.files.sweep()
    assert kept(server) == []
    assert (await get(url)).status == 404
    with pytest.raises(Missing):
        await address(bob, file, channel, forwarded.seq)


async def test_an_avatar_is_one_that_who_chooses_it_has_uploaded(ann: Person, bob: Person) -> None:
    mine, theirs = await upload(ann, b"a", purpose="avatar"), await upload(bob, b"b", purpose="avatar")
    attachment, begun = await upload(ann, b"c"), await begin(ann, b"d", purpose="avatar")
    account = await ann.call(AccountSetAvatar(avatar=str(mine.id)))
    assert account.avatar == str(mine.id)
    for wrong in (theirs.id, attachment.id, begun.file.id, uuid4(), mine.id.hex):
        for frame in (
            AccountSetAvatar(avatar=str(wrong)),
            ChannelCreate(name="x", nonce=uuid4(), avatar=str(wrong)),
            SpaceCreate(name="x", nonce=uuid4(), avatar=str(wrong)),
        ):
            with pytest.raises(Invalid) as refused:
                await ann.call(frame)
            assert refused.value.field == "avatar"
    channel = await group(ann)
    await ann.call(ChannelUpdate(channel=channel, avatar=str(mine.id)))
    space = await ann.call(SpaceCreate(name="x", nonce=uuid4(), avatar=str(mine.id)))
    assert space.avatar == str(mine.id)
