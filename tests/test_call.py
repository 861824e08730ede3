"""call: ringing, answering, signals, ending, and what stands in the channel afterwards."""

import asyncio
import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from protocol.call import (
    CallAnswer,
    CallChanged,
    CallDecline,
    CallEnd,
    CallGet,
    CallRelay,
    CallRinging,
    CallSignal,
    CallStart,
    CallStarted,
    CallStopped,
)
from protocol.channel import ChannelRemoveMember, ChannelUpdate
from protocol.content import Call
from protocol.error import Conflict, Forbidden, Invalid, Missing
from protocol.message import MessageDelete, MessageEdit, MessageForward
from protocol.session import Cursor, SessionOpen, SessionResume
from protocol.user import UserBlock
from protocol.voice import Seated, VoiceChanged, VoiceEnded, VoiceSignalled, VoiceUpdate
from server import Server
from storage.due import Due
from tests.chat import device, direct, group, history, me, nodes, say, until
from tests.conftest import Connector, Person, Starter

SOON = 6.0


async def start(person: Person, channel: UUID, **fields: Any) -> CallStarted:
    return await person.call(CallStart(channel=channel, nonce=fields.pop("nonce", uuid4()), **fields))


async def answer(person: Person, call: CallStarted | CallRinging) -> Seated:
    id = call.call
    assert id is not None
    return await person.call(CallAnswer(channel=call.channel, call=id))


async def rings(person: Person) -> CallRinging:
    return await person.wait_for(CallRinging, SOON)


async def stops(person: Person) -> str:
    return (await person.wait_for(CallStopped, SOON)).why


async def told(person: Person, state: str) -> Call:
    """What the channel's message says, as soon as it says so."""
    async with asyncio.timeout(SOON):
        while True:
            call = (await person.wait_for(CallChanged, SOON)).message.call
            assert call is not None
            if call.state == state:
                return call


async def last(person: Person, channel: UUID) -> Call:
    call = (await history(person, channel))[-1].call
    assert call is not None
    return call


async def quiet(person: Person, kind: type[Any], seconds: float = 0.5) -> None:
    with pytest.raises(TimeoutError):
        await person.wait_for(kind, seconds)


async def time_passes(server: Server, channel: UUID) -> None:
    """It has rung for long enough, and what is due of it falls due."""
    await server.pool.execute("UPDATE call SET until = now()")
    await server.calls.fall_due(Due("call", channel, 0))


@pytest.fixture
async def channel(ann: Person, bob: Person) -> UUID:
    return await direct(ann, bob)


@pytest.fixture
async def kim(connect: Connector) -> Person:
    return await connect("kim")


# Ringing


async def test_a_call_rings_on_all_devices_and_stops_everywhere_when_one_answers(
    start: Starter, connect: Connector
) -> None:
    here, there = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=here)
    channel, tablet = await direct(ann, bob), await device(connect, bob, to=there)
    call = await begin(ann, channel, video=True)
    ring, other = await rings(bob), await rings(tablet)
    assert (ring.call, ring.by, ring.video, ring.message) == (call.call, me(ann), True, call.message)
    assert ring.until > datetime.now(UTC) and other == ring
    seated = await answer(tablet, ring)
    assert [one.user for one in seated.people] == [me(ann), me(bob)]
    assert await stops(bob) == await stops(tablet) == "answered"
    live = await told(ann, "live")
    assert live.people == [me(ann), me(bob)] and live.answered_at is not None


begin = start


async def test_a_device_that_comes_back_while_it_rings_learns_so(
    ann: Person, bob: Person, channel: UUID, connect: Connector
) -> None:
    session = bob.session
    assert session is not None
    cursor = Cursor(stream=me(bob), seq=session.head)
    await bob.close()
    await begin(ann, channel)
    back = await connect()
    await back.call(SessionResume(token=bob.tokens_given.access, cursors=[cursor]))
    await answer(back, await rings(back))


async def test_a_declined_call_is_over_and_stops_everywhere(
    ann: Person, bob: Person, channel: UUID, connect: Connector
) -> None:
    tablet = await device(connect, bob)
    call = await begin(ann, channel)
    ring = await rings(bob)
    await bob.call(CallDecline(channel=channel, call=ring.call))
    assert await stops(tablet) == "declined"
    assert (await told(bob, "declined")).ended_at is not None
    assert (await ann.wait_for(VoiceEnded, SOON)).why == "ended"
    with pytest.raises(Missing):
        await answer(bob, call)


async def test_a_call_that_nobody_answers_is_missed(ann: Person, bob: Person, channel: UUID, server: Server) -> None:
    await begin(ann, channel)
    await time_passes(server, channel)
    assert await stops(bob) == "missed"
    assert (await told(bob, "missed")).answered_at is None
    assert (await ann.wait_for(VoiceEnded, SOON)).why == "ended"
    assert await last(bob, channel) == await last(ann, channel)


@pytest.mark.slow
async def test_a_call_rings_for_as_long_as_it_is_told(start: Starter, connect: Connector) -> None:
    server = await start(ring=5)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    channel = await direct(ann, bob)
    await begin(ann, channel)
    until = (await rings(bob)).until
    assert (await bob.wait_for(CallStopped, 15.0)).why == "missed"
    assert datetime.now(UTC) >= until


async def test_who_calls_may_change_their_mind(ann: Person, bob: Person, channel: UUID) -> None:
    call = await begin(ann, channel)
    await rings(bob)
    assert call.call is not None
    await ann.call(CallEnd(channel=channel, call=call.call))
    assert await stops(bob) == "ended"
    assert (await last(bob, channel)).state == "cancelled"


async def test_who_is_in_another_call_is_busy(ann: Person, bob: Person, kim: Person, channel: UUID) -> None:
    call = await begin(ann, channel)
    await answer(bob, call)
    other = await direct(kim, bob)
    refused = await begin(kim, other)
    assert refused.busy and refused.people == []
    assert (await last(bob, other)).state == "busy"
    await quiet(kim, VoiceChanged)
    with pytest.raises(Missing):
        await answer(bob, refused)
    assert call.call is not None
    await ann.call(CallEnd(channel=channel, call=call.call))
    await told(bob, "ended")
    assert not (await begin(kim, other)).busy


async def test_a_group_rings_for_everybody_and_each_stops_for_themselves(ann: Person, bob: Person, kim: Person) -> None:
    channel = await group(ann, bob, kim)
    call = await begin(ann, channel)
    ring = await rings(bob)
    await rings(kim)
    await bob.call(CallDecline(channel=channel, call=ring.call))
    assert await stops(bob) == "declined"
    await quiet(kim, CallStopped)
    await answer(kim, call)
    assert await stops(kim) == "answered"
    await answer(bob, call)  # who has declined may come all the same
    assert (await last(ann, channel)).people == [me(ann), me(kim), me(bob)]
    for one in (ann, kim):
        await one.call(CallEnd(channel=channel, call=ring.call))
    assert (await last(ann, channel)).state == "live"
    assert [one.user for one in (await kim.call(CallGet(channel=channel))).people] == [me(bob)]
    await bob.call(CallEnd(channel=channel, call=ring.call))
    over = await last(ann, channel)
    assert over.state == "ended" and over.ended_at is not None


async def test_a_group_of_which_everybody_declines_is_declined(ann: Person, bob: Person, kim: Person) -> None:
    channel = await group(ann, bob, kim)
    call = await begin(ann, channel)
    assert call.call is not None
    for one in (bob, kim):
        await one.call(CallDecline(channel=channel, call=call.call))
    assert (await last(ann, channel)).state == "declined"


async def test_in_a_group_that_talks_the_others_stop_ringing_in_time(
    ann: Person, bob: Person, kim: Person, server: Server
) -> None:
    channel = await group(ann, bob, kim)
    call = await begin(ann, channel)
    await answer(bob, call)
    await time_passes(server, channel)
    assert await stops(kim) == "missed"
    assert (await last(kim, channel)).state == "live"


# Who may


async def test_who_blocks_or_is_blocked_is_not_rung(ann: Person, bob: Person, kim: Person, channel: UUID) -> None:
    both = await group(ann, bob, kim)
    await bob.call(UserBlock(user=me(ann)))
    with pytest.raises(Forbidden):
        await begin(ann, channel)
    with pytest.raises(Forbidden):
        await begin(bob, channel)
    await begin(ann, both)
    await rings(kim)
    await quiet(bob, CallRinging)


async def test_a_block_in_the_middle_of_a_call_ends_it(ann: Person, bob: Person, channel: UUID) -> None:
    await answer(bob, await begin(ann, channel))
    await told(ann, "live")
    await bob.call(UserBlock(user=me(ann)))
    await ann.wait_for(VoiceEnded, SOON)
    await bob.wait_for(VoiceEnded, SOON)
    await until_over(bob, channel)


async def until_over(person: Person, channel: UUID) -> Call:
    async with asyncio.timeout(SOON):
        while (call := await last(person, channel)).ended_at is None:
            await asyncio.sleep(0.05)
    return call


async def test_who_is_put_out_of_a_group_is_out_of_its_call(ann: Person, bob: Person, kim: Person) -> None:
    channel = await group(ann, bob, kim)
    call = await begin(ann, channel)
    await answer(bob, call)
    await ann.call(ChannelRemoveMember(channel=channel, user=me(bob)))
    assert (await bob.wait_for(VoiceEnded, SOON)).why == "forbidden"
    with pytest.raises(Missing):
        await answer(bob, call)


async def test_strangers_know_nothing_of_a_call(ann: Person, kim: Person, channel: UUID) -> None:
    call = await begin(ann, channel)
    for frame in (CallGet(channel=channel), CallAnswer(channel=channel, call=call.call)):  # type: ignore[arg-type]
        with pytest.raises(Missing):
            await kim.call(frame)


async def test_a_call_takes_two(ann: Person, channel: UUID, bob: Person) -> None:
    with pytest.raises(Invalid):
        await begin(ann, await direct(ann, ann))


# One


async def test_there_is_one_call_in_a_channel_whoever_begins(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    channel = await direct(ann, bob)
    both = await asyncio.gather(begin(ann, channel), begin(bob, channel), return_exceptions=True)
    assert sorted(type(one).__name__ for one in both) == ["CallStarted", "Conflict"]
    assert len([one for one in await history(ann, channel) if one.call]) == 1


async def test_the_same_nonce_is_the_same_call(ann: Person, channel: UUID) -> None:
    nonce = uuid4()
    call, again = await begin(ann, channel, nonce=nonce), await begin(ann, channel, nonce=nonce)
    assert (again.call, again.seat, again.back) == (call.call, call.seat, True)
    with pytest.raises(Conflict):
        await begin(ann, channel)
    assert call.call is not None
    await ann.call(CallEnd(channel=channel, call=call.call))
    with pytest.raises(Conflict):
        await begin(ann, channel, nonce=nonce)


# Talking


async def test_signals_go_between_participants_on_any_node_and_to_nobody_else(
    start: Starter, connect: Connector
) -> None:
    here, there = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    kim = await connect("kim", to=here)
    channel = await group(ann, bob, kim)
    call = await begin(ann, channel)
    seated = await answer(bob, call)
    assert call.call is not None
    await bob.call(CallSignal(channel=channel, call=call.call, to=call.seat, data="offer"))
    heard = await ann.wait_for(VoiceSignalled, SOON)
    assert (heard.data, heard.seat, heard.user) == ("offer", seated.seat, me(bob))
    await ann.call(CallSignal(channel=channel, call=call.call, to=heard.seat, data="answer"))
    assert (await bob.wait_for(VoiceSignalled, SOON)).data == "answer"
    with pytest.raises(Missing):
        await kim.call(CallSignal(channel=channel, call=call.call, to=call.seat, data="x"))


async def test_how_one_is_in_a_call_is_told_to_who_is_in_it(ann: Person, bob: Person, channel: UUID) -> None:
    await answer(bob, await begin(ann, channel))
    await bob.call(VoiceUpdate(channel=channel, muted=True, camera=True))
    async with asyncio.timeout(SOON):
        while not any(one.muted and one.camera for one in (await ann.wait_for(VoiceChanged, SOON)).people):
            pass


# Ends


async def test_one_of_two_who_comes_back_in_time_never_left(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start, grace=2.0)
    ann, bob = await connect("ann", to=here), await connect("bob", to=here)
    channel = await direct(ann, bob)
    call = await begin(ann, channel)
    seat = (await answer(bob, call)).seat
    await bob.close()
    back = await connect(to=there)
    await back.call(SessionOpen(token=bob.tokens_given.access))
    again = await answer(back, call)
    assert (again.seat, again.back) == (seat, True)
    await asyncio.sleep(2.5)  # longer than a lost place is kept
    assert (await last(ann, channel)).state == "live"


async def test_a_call_of_which_one_of_two_is_gone_ends(start: Starter, connect: Connector) -> None:
    server = await start(grace=1.0)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    channel = await direct(ann, bob)
    await answer(bob, await begin(ann, channel))
    await bob.close()
    assert (await told(ann, "ended")).people == [me(ann), me(bob)]
    assert (await ann.wait_for(VoiceEnded, SOON)).why == "ended"


async def test_a_call_of_which_everybody_is_gone_ends_whoever_looks(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start, grace=1.0)
    ann, bob = await connect("ann", to=here), await connect("bob", to=here)
    channel, tablet = await direct(ann, bob), await device(connect, ann, to=there)
    call = await begin(ann, channel)
    await answer(bob, call)
    await ann.close()
    await bob.close()
    assert call.call is not None
    await until_seats_are_gone(there, call.call)
    await time_passes(there, channel)
    await told(tablet, "ended")


async def until_seats_are_gone(server: Server, call: UUID) -> None:
    async with asyncio.timeout(SOON):
        while await server.rooms.store.seats(call):
            await asyncio.sleep(0.05)


# What stands there


async def test_a_call_stands_in_history_and_has_no_words(ann: Person, bob: Person, channel: UUID) -> None:
    call = await begin(ann, channel)
    await answer(bob, call)
    with pytest.raises(Conflict):
        await ann.call(MessageEdit(channel=channel, seq=call.message, text="no call"))
    with pytest.raises(Conflict):
        await ann.call(MessageForward(channel=channel, source=channel, seq=call.message, nonce=uuid4()))
    assert call.call is not None
    await ann.call(CallEnd(channel=channel, call=call.call))
    await say(ann, channel)
    message = (await history(bob, channel))[0]
    assert (message.seq, message.author, message.text) == (call.message, me(ann), "")
    assert message.call is not None and message.call.answered_at is not None
    assert message.call.ended_at is not None and message.call.ended_at >= message.call.answered_at


async def test_a_call_whose_message_was_taken_back_goes_on_and_ends(ann: Person, bob: Person, channel: UUID) -> None:
    call = await begin(ann, channel)
    await ann.call(MessageDelete(channel=channel, seq=call.message))
    await answer(bob, call)
    assert call.call is not None
    await bob.call(CallEnd(channel=channel, call=call.call))
    assert (await ann.wait_for(VoiceEnded, SOON)).why == "ended"
    assert (await ann.call(CallGet(channel=channel))).call is None
    assert (await history(ann, channel))[0].call is None


async def test_a_call_disappears_like_what_is_said(ann: Person, channel: UUID, server: Server) -> None:
    await ann.call(ChannelUpdate(channel=channel, disappears_after=60))
    await begin(ann, channel)
    assert (await history(ann, channel))[-1].expires_at is not None
    assert await server.pool.fetchval("SELECT count(*) FROM due WHERE kind = 'disappearing'") == 1


async def test_nothing_is_kept_of_a_call_that_is_over(ann: Person, bob: Person, channel: UUID, server: Server) -> None:
    call = await begin(ann, channel)
    await answer(bob, call)
    assert call.call is not None
    await bob.call(CallEnd(channel=channel, call=call.call))
    left = "SELECT (SELECT count(*) FROM call) + (SELECT count(*) FROM ring) + (SELECT count(*) FROM due)"
    assert await server.pool.fetchval(left) == 0
    await until(lambda: not server.rooms._rooms)


# Relays


async def test_credentials_are_those_that_a_turn_server_checks(start: Starter, connect: Connector) -> None:
    settings: dict[str, Any] = {"turn_urls": ["turn:turn.example:3478"], "stun_urls": ["stun:turn.example:3478"]}
    server = await start(turn_secret="shared", turn_minutes=5, **settings)
    ann = await connect("ann", to=server)
    relay = await ann.call(CallRelay())
    stun, turn = relay.servers
    assert (stun.urls, stun.credential, turn.urls) == (settings["stun_urls"], None, settings["turn_urls"])
    assert turn.username is not None and turn.credential is not None
    ends, _, account = turn.username.partition(":")
    assert (int(ends), account) == (int(relay.expires_at.timestamp()), str(me(ann)))
    assert 290 <= int(ends) - datetime.now(UTC).timestamp() <= 300
    wanted = hmac.new(b"shared", turn.username.encode(), hashlib.sha1).digest()
    assert base64.b64decode(turn.credential) == wanted


async def test_without_relays_there_are_none(ann: Person) -> None:
    assert (await ann.call(CallRelay())).servers == []
