"""call: two participants with real sound and data, which go between them directly or through a TURN server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aioice

from protocol.call import CallAnswer, CallEnd, CallRelay, CallStart, Relay
from protocol.session import SessionOpen
from protocol.voice import VoiceChanged, VoiceEnded
from server import Server
from tests.chat import direct, nodes
from tests.conftest import Connector, Person, Starter
from tests.turn import turn
from tests.webrtc import Peer, only_here

__all__ = ["turn"]


@contextlib.asynccontextmanager
async def talking(ann: Person, bob: Person, *, relayed: bool = False) -> AsyncIterator[tuple[Peer, Peer]]:
    """Ann calls bob, who answers and sends the offer, as who came later does."""
    channel = await direct(ann, bob)
    call = await ann.call(CallStart(channel=channel, nonce=uuid4()))
    assert call.call is not None
    seated = await bob.call(CallAnswer(channel=channel, call=call.call))
    relays = [await one.call(CallRelay()) if relayed else None for one in (ann, bob)]
    with only_here():
        async with Peer(ann, call, relays[0]) as first, Peer(bob, seated, relays[1]) as second:
            await second.call(call.seat)
            for one in (first, second):
                await one.connected()
            yield first, second


async def both_ways(one: Peer, other: Peer, track: int = 0) -> None:
    await asyncio.gather(one.hears(track=track), other.hears(track=track))
    await one.says(other, "from one")
    await other.says(one, "from the other")


async def test_two_hear_each_other_agree_anew_and_outlive_a_socket(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    async with talking(ann, bob) as (first, second):
        await both_ways(first, second)
        assert first.ways <= {"host", "prflx"}

        for one in (first, second):
            one.connection.addTrack(type(one.connection.getSenders()[0].track)())
        await first.offer(second.seated.seat)
        await both_ways(first, second, track=1)

        await bob.close()
        await both_ways(first, second)  # nothing of this goes through the server
        back = await connect(to=here)
        await back.call(SessionOpen(token=bob.tokens_given.access))
        await second.come_back(back)
        await second.offer(first.seated.seat)
        await first.offer(second.seated.seat)
        await both_ways(first, second)
        assert first.seated.call is not None
        await ann.call(CallEnd(channel=first.seated.channel, call=first.seated.call))
        assert (await back.wait_for(VoiceEnded, 5)).why == "ended"


# Through a TURN server


async def allocated(relay: Relay, **otherwise: str) -> bool:
    """Whether the TURN server gives an address for these credentials; it may just be starting."""
    server = relay.servers[0]
    host, port = server.urls[0].removeprefix("turn:").partition("?")[0].split(":")
    names = {"turn_username": server.username, "turn_password": server.credential, **otherwise}
    policy = aioice.TransportPolicy.RELAY
    for _ in range(40):
        connection = aioice.Connection(True, turn_server=(host, int(port)), transport_policy=policy, **names)
        try:
            await connection.gather_candidates()
            if connection.local_candidates:
                return True
        except aioice.stun.TransactionFailed:
            return False
        except (OSError, aioice.stun.TransactionTimeout):
            await asyncio.sleep(0.1)
        finally:
            await connection.close()
    return False


async def test_credentials_open_a_real_turn_server_and_no_others_do(
    turn: dict[str, Any], start: Starter, connect: Connector
) -> None:
    ann = await connect("ann", to=await start(**turn))
    relay = await ann.call(CallRelay())
    with only_here():
        assert await allocated(relay)
        assert not await allocated(relay, turn_password="AAAA")
        assert not await allocated(relay, turn_username=f"1:{ann.tokens_given.account}")


async def test_two_hear_each_other_through_a_turn_server_alone(
    turn: dict[str, Any], start: Starter, connect: Connector
) -> None:
    server: Server = await start(**turn)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    with only_here():
        assert await allocated(await ann.call(CallRelay()))
    async with talking(ann, bob, relayed=True) as (first, second):
        await both_ways(first, second)
        assert first.ways == second.ways == {"relay"}
        await ann.wait_for(VoiceChanged, 5)
