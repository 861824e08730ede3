"""Every kind of fact, as it comes over a socket: live, replayed from the database, and encoded from its struct.

Facts of messages are composed from bytes that were encoded before; that must give what encoding the whole would give.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from protocol.ballot import NewPoll
from protocol.call import CallAnswer, CallStart
from protocol.channel import ChannelAddMember, ChannelMute, ChannelRemoveMember, ChannelUpdate, ChannelWatch
from protocol.codec import encode
from protocol.document import Samples, tag
from protocol.draft import DraftClear, DraftSave
from protocol.frame import Event, Fact
from protocol.friend import FriendAccept, FriendRemove, FriendRequest
from protocol.message import (
    MessageDelete,
    MessageEdit,
    MessageForward,
    MessageMarkRead,
    MessagePin,
    MessageUnpin,
)
from protocol.notification import NotificationConfigure, NotificationMarkRead
from protocol.poll import PollClose, PollVote
from protocol.reaction import ReactionAdd, ReactionRemove
from protocol.scheduled import ScheduledCancel, ScheduledCreate, ScheduledFailed, ScheduledSent
from protocol.space import SpaceLeave
from protocol.thread import ThreadDelete, ThreadOpen, ThreadUpdate
from server import Server
from server.document import built_in
from tests.chat import Phone, group, me, say, settled, standing
from tests.community import community
from tests.conftest import Connector, Person, Starter

FACTS = {tag(event): event for event in built_in(Samples()).events if issubclass(event, Fact)}


class Head(msgspec.Struct):
    """What every fact begins with."""

    ev: str
    stream: UUID
    seq: int


def head(data: bytes) -> Head:
    return msgspec.json.decode(data, type=Head)


def event(data: bytes) -> Event:
    decoded: Event = msgspec.json.decode(data, type=FACTS[head(data).ev])
    return decoded


async def facts(phone: Phone, heads: dict[UUID, int]) -> list[bytes]:
    """All facts that came, when they are those up to the heads."""
    for stream, seq in heads.items():
        await phone.heard(stream, seq)
    return [data for data in phone.messages if b',"stream":"' in data[:60]]


def by_place(found: Iterable[bytes], but: frozenset[int]) -> dict[tuple[UUID, int], bytes]:
    """Facts by where they stand, without those that tell of some messages."""
    kept = (data for data in found if getattr(getattr(event(data), "message", None), "seq", 0) not in but)
    return {(head(data).stream, head(data).seq): data for data in kept}


async def happen(ann: Person, bob: Person, cid: Person, room: UUID, begun: UUID) -> frozenset[int]:
    """All that can happen in a group, seen by bob, and to bob himself; the messages that are others afterwards."""
    await ann.call(ChannelUpdate(channel=room, topic="new"))
    await ann.call(ChannelAddMember(channel=room, user=me(cid)))
    await ann.call(ChannelRemoveMember(channel=room, user=me(cid)))
    first = await say(ann, room, 'a "plain" one, ünd sö weiter 🎉')
    rich = await say(ann, room, "#Full\n of \\ everything", reply_to=first, mentions=[me(bob)], silent=True)
    await ann.call(MessageForward(channel=room, source=room, seq=rich, nonce=uuid4()))
    await ann.call(MessageEdit(channel=room, seq=first, text="another", mentions=[me(bob)]))
    await ann.call(MessagePin(channel=room, seq=first))
    await ann.call(MessageUnpin(channel=room, seq=first))
    await bob.call(ReactionAdd(channel=room, seq=first, emoji="👍"))
    await bob.call(ReactionRemove(channel=room, seq=first, emoji="👍"))
    voted = [await choose(ann, bob, room, anonymous=anonymous) for anonymous in (False, True)]
    await bob.call(MessageMarkRead(channel=room, seq=rich))
    await bob.call(MessageDelete(channel=room, seq=rich, for_all=False))
    await bob.call(ChannelMute(channel=room, until=None))
    await bob.call(DraftSave(channel=room, text="I", reply_to=rich))
    await bob.call(DraftClear(channel=begun))
    await bob.call(NotificationConfigure(channel=room, level="all"))
    await ann.call(FriendRequest(user=me(bob)))
    await bob.call(NotificationMarkRead(until=2**53 - 1))
    await bob.call(FriendAccept(user=me(ann)))
    await bob.call(FriendRemove(user=me(ann)))
    await ann.call(MessageDelete(channel=room, seq=first))
    await plan(bob, room, mentions=[me(ann)])
    called = await ann.call(CallStart(channel=room, nonce=uuid4(), video=True))
    assert called.call is not None
    await bob.call(CallAnswer(channel=room, call=called.call))
    club = await community(ann, bob)
    await club.role("r", to=bob)
    await bob.call(SpaceLeave(space=club.id))
    return frozenset({first, *voted, called.message})


async def choose(ann: Person, bob: Person, room: UUID, *, anonymous: bool) -> int:
    """A poll of which all is told; and one that stays as it is."""
    at = datetime.now(UTC) + timedelta(days=1)
    poll = NewPoll(options=['"yes"', "nö"], anonymous=anonymous, closes_at=at)
    await say(ann, room, "?", poll=poll)
    seq = await say(ann, room, "?", poll=poll)
    await bob.call(PollVote(channel=room, seq=seq, options=[1]))
    await bob.call(PollVote(channel=room, seq=seq, options=[]))
    await ann.call(PollClose(channel=room, seq=seq))
    return seq


async def discuss(ann: Person, bob: Person, phone: Phone) -> UUID:
    """All that can happen to a thread, seen by a phone of bob's, and where."""
    hall = await (await community(ann, bob)).room()
    await phone.call(ChannelWatch(channels=[hall]))
    thread = await ann.call(ThreadOpen(channel=hall, name='a "thread"', nonce=uuid4()))
    await ann.call(ThreadUpdate(thread=thread.id, locked=True))
    await ann.call(ThreadDelete(thread=thread.id))
    return hall


async def plan(bob: Person, channel: UUID, **fields: Any) -> UUID:
    at = datetime.now(UTC) + timedelta(days=1)
    frame = ScheduledCreate(channel=channel, text='a "plain" ünd sö', at=at, nonce=uuid4(), **fields)
    return (await bob.call(frame)).id


async def come(server: Server, bob: Person, cancelled: UUID, *due: UUID) -> None:
    """What becomes of scheduled messages that were made before: one is cancelled, one sent, and one refused."""
    await bob.call(ScheduledCancel(scheduled=cancelled))
    await server.pool.execute("UPDATE scheduled SET due = now() WHERE id = ANY ($1::uuid[])", due)
    await bob.wait_for(ScheduledSent, 10)
    await bob.wait_for(ScheduledFailed, 10)


async def test_every_fact_is_the_same_bytes_live_replayed_and_encoded(
    server: Server, start: Starter, connect: Connector
) -> None:
    ann, bob, cid = [await connect(name) for name in ("ann", "bob", "cid")]
    begun = await group(bob)
    await bob.call(DraftSave(channel=begun, text="what is cleared later, and not told any more"))
    planned = [await plan(bob, begun), await plan(bob, begun), await plan(bob, begun, reply_to=99)]
    phone = await Phone.open(server, bob.tokens_given.access)
    room = await group(ann, bob)
    changed = await happen(ann, bob, cid, room, begun)
    hall = await discuss(ann, bob, phone)
    await come(server, bob, *planned)
    await ann.call(ChannelRemoveMember(channel=await group(ann, bob), user=me(bob)))

    await settled(server)

    fresh = await start()  # it has nothing in memory
    cursors = {me(bob): phone.seqs(me(bob))[0] - 1, room: 0, begun: 0, hall: 0}
    again, reply = await Phone.resume(fresh, bob.tokens_given.access, cursors)
    heads = {me(bob): reply["head"], **{one: (await standing(bob, one)).head for one in (room, begun, hall)}}
    live, replayed = await facts(phone, heads), await facts(again, heads)

    assert (reply["reset"], fresh.streams.fetched) == ([], len(replayed))
    assert {head(data).ev for data in live} == {head(data).ev for data in replayed} == FACTS.keys()
    assert [data for data in live + replayed if encode(event(data)) != data] == []
    # What was missed tells of them as they are by now.
    assert by_place(live, changed) == by_place(replayed, changed)
