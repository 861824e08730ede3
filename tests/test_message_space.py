"""message: what is taken back together, and carried on, in channels of spaces."""

from uuid import UUID, uuid4

import pytest

from protocol.error import Forbidden
from protocol.member import MemberKick
from protocol.message import MessageDeleted, MessageDeleteMany, MessageForward, MessageSend
from tests.chat import direct, group, history, me, refused, say
from tests.community import Community, community, watch
from tests.conftest import Connector, Person


@pytest.fixture
async def club(ann: Person, bob: Person) -> Community:
    """Ann's space, in which bob is."""
    return await community(ann, bob)


def forward(source: UUID, seq: int, to: UUID) -> MessageForward:
    return MessageForward(channel=to, source=source, seq=seq, nonce=uuid4())


# Taking back many


async def test_many_messages_of_others_are_taken_back_with_manage_messages(
    ann: Person, bob: Person, club: Community
) -> None:
    hall = await club.room("hall")
    seqs = [await say(ann, hall, f"m{number}") for number in range(100)]
    with pytest.raises(Forbidden, match="manage_messages"):
        await bob.call(MessageDeleteMany(channel=hall, seqs=seqs))
    assert len(await history(bob, hall, limit=100)) == 100
    await club.role("cleaner", "manage_messages", to=bob)
    await watch(ann, hall)
    await bob.call(MessageDeleteMany(channel=hall, seqs=seqs))
    assert (await ann.wait_for(MessageDeleted, 4)).messages == seqs, "all of them are told at once"
    assert all(one.deleted_at and not one.text for one in await history(ann, hall, limit=100))


async def test_of_many_messages_all_or_none_are_taken_back(ann: Person, bob: Person, club: Community) -> None:
    hall = await club.room("hall")
    his, hers = [await say(bob, hall) for _ in range(2)], await say(ann, hall)
    assert await refused(bob, MessageDeleteMany(channel=hall, seqs=[*his, hers])) == "forbidden"
    assert await refused(bob, MessageDeleteMany(channel=hall, seqs=[*his, 99])) == "missing"
    assert not any(one.deleted_at for one in await history(bob, hall))
    await bob.call(MessageDeleteMany(channel=hall, seqs=his))
    assert [bool(one.deleted_at) for one in await history(bob, hall)] == [True, True, False]


async def test_an_overwrite_lets_somebody_take_back_in_one_channel_only(
    ann: Person, bob: Person, club: Community
) -> None:
    hall, room = await club.room("hall"), await club.room("room")
    await club.overwrite(hall, user=bob, allow=["manage_messages"])
    for channel, code in ((hall, "ok"), (room, "forbidden")):
        seqs = [await say(ann, channel) for _ in range(3)]
        assert await refused(bob, MessageDeleteMany(channel=channel, seqs=seqs)) == code


# Carrying on


async def test_a_message_is_forwarded_into_another_space_if_one_reads_here_and_writes_there(
    ann: Person, bob: Person, club: Community
) -> None:
    hall, den = await club.room("hall"), await community(bob, ann, name="Den")
    stove = await den.room("stove")
    seq = await say(ann, hall, "worth telling #news")
    sent = await bob.call(forward(hall, seq, stove))
    one = (await history(ann, stove))[0]
    assert (one.seq, one.author, one.text, one.hashtags) == (sent.seq, me(bob), "worth telling #news", ["news"])
    assert one.forwarded is not None
    assert one.forwarded.author == me(ann)
    await den.overwrite(stove, deny=["send"])
    assert await refused(ann, forward(hall, seq, stove)) == "forbidden"


async def test_what_one_does_not_read_is_not_forwarded(ann: Person, bob: Person, club: Community) -> None:
    hall, pair = await club.room("hall"), await direct(ann, bob)
    seq = await say(ann, hall, "not for everybody")
    await club.overwrite(hall, deny=["history"])
    assert await refused(bob, forward(hall, seq, pair)) == "forbidden"
    await club.overwrite(hall, deny=["view"])
    assert await refused(bob, forward(hall, seq, pair)) == "missing"
    assert await history(bob, pair) == []


async def test_what_was_forwarded_stays_when_one_is_put_out_and_a_retry_is_the_same_message(
    ann: Person, bob: Person, club: Community
) -> None:
    hall, pair = await club.room("hall"), await direct(ann, bob)
    frame = forward(hall, await say(ann, hall, "take it along"), pair)
    sent = await bob.call(frame)
    await ann.call(MemberKick(space=club.id, user=me(bob)))
    assert await bob.call(frame) == sent
    assert await refused(bob, forward(hall, 1, pair)) == "missing"
    assert [one.text for one in await history(bob, pair)] == ["take it along"]


async def test_who_may_not_see_a_channel_forwards_nothing_into_it(
    ann: Person, bob: Person, club: Community, connect: Connector
) -> None:
    cid, cellar = await connect("cid"), await club.room("cellar", private=True)
    own = await group(bob, cid)
    seq = await say(bob, own)
    for who in (bob, cid):
        assert await refused(who, forward(own, seq, cellar)) == "missing"
        assert await refused(who, MessageSend(channel=cellar, text="x", nonce=uuid4())) == "missing"
