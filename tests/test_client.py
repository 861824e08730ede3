"""The client: what a program may rely on, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from protocol.account import AccountLogin, SecondStep, Tokens
from protocol.client import Client, Disconnected
from protocol.client.inbox import Inbox
from protocol.error import (
    Invalid,
    Overloaded,
    Refusal,
    SessionRevoked,
    TooLate,
    Unknown,
)
from protocol.frame import Body, Event, Request
from protocol.session import Pong, SessionGoingAway, SessionHello, SessionPing
from tests.peer import Peer, a_peer, no, ok, tokens


class Tick(Event, frozen=True, tag="tick.happened"):
    """An embedder's event."""

    number: int


class Seen(Body, frozen=True):
    """What an embedder's op replies."""

    text: str


class Look(Request[Seen], frozen=True, tag="thing.look"):
    """An embedder's op."""


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with a_peer() as one:
        yield one


async def test_the_hello_is_there_once_connected(peer: Peer) -> None:
    async with Client(peer.url) as client:
        assert client.hello.protocol == "1.7"
        assert client.hello.limits.requests_in_flight == 32
        assert client.closed is None
    assert client.closed == (1000, "")


async def test_replies_find_their_callers_in_any_order(peer: Peer) -> None:
    waiting: list[dict[str, Any]] = []

    async def answer_backwards(request: dict[str, Any]) -> None:
        waiting.append(request)
        if len(waiting) == 20:
            for one in reversed(waiting):
                time = datetime.fromtimestamp(one["id"], UTC).isoformat()
                await peer.socket.send(json.dumps({"re": one["id"], "ok": {"time": time}}))

    peer.answers["session.ping"] = answer_backwards
    async with Client(peer.url) as client:
        pongs = await asyncio.gather(*[client.call(SessionPing()) for _ in range(20)])
    assert [pong.time.timestamp() for pong in pongs] == [request["id"] for request in waiting]
    assert len({request["id"] for request in waiting}) == 20


async def test_a_reply_may_be_of_several_kinds(peer: Peer) -> None:
    peer.answers["account.login"] = lambda request: ok(
        SecondStep(ticket="t", expires_in=300) if request["login"] == "ann" else tokens()
    )
    async with Client(peer.url) as client:
        assert isinstance(await client.call(AccountLogin(login="ann", password="x")), SecondStep)
        assert isinstance(await client.call(AccountLogin(login="bob", password="x")), Tokens)


async def test_a_refusal_is_raised_as_its_own_exception(peer: Peer) -> None:
    peer.answers["session.ping"] = lambda _: no("invalid", field="id", retry_after=1.5)
    async with Client(peer.url) as client:
        with pytest.raises(Invalid, match=r"^no$") as refused:
            await client.call(SessionPing())
        assert (refused.value.field, refused.value.retry_after) == ("id", 1.5)
        peer.answers["session.ping"] = lambda _: no("of_tomorrow")
        with pytest.raises(Unknown, match="of_tomorrow"):
            await client.call(SessionPing())


async def test_a_call_that_is_not_answered_times_out_and_its_late_reply_harms_nobody(peer: Peer) -> None:
    peer.answers["session.ping"] = lambda _: None
    async with Client(peer.url) as client:
        with pytest.raises(TimeoutError):
            await client.call(SessionPing(), timeout=0.05)
        late = peer.requests[0]["id"]
        await peer.socket.send(json.dumps({"re": late, "ok": {"time": "2024-01-01T00:00:00Z"}}))
        peer.answers["session.ping"] = lambda _: ok(Pong(time=datetime(2025, 1, 1, tzinfo=UTC)))
        assert (await client.call(SessionPing())).time.year == 2025


async def test_a_frame_that_the_server_would_not_take_is_not_sent(peer: Peer) -> None:
    async with Client(peer.url) as client:
        with pytest.raises(Invalid, match="bytes"):
            await client.call(AccountLogin(login="ann", password="x" * 70_000))
        await client.call(SessionPing())
    assert not peer.asked("account.login")


async def test_events_come_typed_and_in_order_and_unknown_ones_are_skipped(peer: Peer) -> None:
    async with Client(peer.url, events=[Tick]) as client:
        for number in range(5):
            await peer.socket.send(json.dumps({"ev": "of.tomorrow", "re": "x", "error": [1]}))
            await peer.socket.send(json.dumps({"ev": "tick.happened", "number": number, "colour": "red"}))
        await peer.socket.send(json.dumps({"ev": "tick.happened", "number": "not one"}))
        await peer.socket.send(json.dumps({"ev": "tick.happened", "number": 5}))
        events = client.events()
        assert [await anext(events) for _ in range(6)] == [Tick(number=number) for number in range(6)]


async def test_waiting_for_one_kind_takes_it_out_and_leaves_the_others(peer: Peer) -> None:
    going = {"ev": "session.going_away", "reason": "restart", "reconnect_after": 30}
    async with Client(peer.url, events=[Tick], reconnect=False) as client:
        await peer.socket.send(json.dumps({"ev": "tick.happened", "number": 1}))
        waiting = asyncio.create_task(client.wait_for(SessionGoingAway, timeout=5))
        everything = client.events()
        await peer.socket.send(json.dumps(going))
        assert (await waiting).reconnect_after == 30
        assert await anext(everything) == Tick(number=1)
        await peer.socket.send(json.dumps(going))
        await client.call(SessionPing())
        assert (await client.wait_for(SessionGoingAway, timeout=0)).reason == "restart"
        with pytest.raises(TimeoutError):
            await client.wait_for(SessionGoingAway, timeout=0.01)


async def test_an_event_whose_taker_is_cancelled_is_kept() -> None:
    inbox = Inbox(10)
    taking = asyncio.create_task(inbox.take(Tick))
    await asyncio.sleep(0)
    inbox.put(Tick(number=7))
    taking.cancel()
    await asyncio.wait([taking])
    assert taking.cancelled()
    assert await inbox.take(Tick) == Tick(number=7)


async def test_events_that_pile_up_cost_the_connection_and_a_hello_tells_so(peer: Peer) -> None:
    async with Client(peer.url, events=[Tick], queue=10) as client:
        events = client.events()
        await peer.socket.send(json.dumps({"ev": "tick.happened", "number": 0}))
        assert await anext(events) == Tick(number=0)
        for number in range(1, 15):
            await peer.socket.send(json.dumps({"ev": "tick.happened", "number": number}))
        await client.call(SessionPing())
        assert [await anext(events) for _ in range(10)] == [Tick(number=number) for number in range(1, 11)]
        await peer.sockets_made(2)
        await client.call(SessionPing())
        await peer.socket.send(json.dumps({"ev": "tick.happened", "number": 99}))
        assert isinstance(await anext(events), SessionHello)
        assert await anext(events) == Tick(number=99)


async def test_without_a_listener_the_newest_events_are_kept(peer: Peer) -> None:
    async with Client(peer.url, events=[Tick], queue=10) as client:
        for number in range(25):
            await peer.socket.send(json.dumps({"ev": "tick.happened", "number": number}))
        await client.call(SessionPing())
        events = client.events()
        assert [(await anext(events)) for _ in range(10)] == [Tick(number=n) for n in range(15, 25)]
        assert len(peer.sockets) == 1


@pytest.mark.parametrize(("code", "kind"), [(4401, SessionRevoked), (4408, TooLate), (4499, Unknown)])
async def test_a_close_that_blames_the_client_is_the_end(peer: Peer, code: int, kind: type[Refusal]) -> None:
    peer.answers["session.ping"] = lambda _: peer.socket.close(code, "because")
    async with Client(peer.url) as client:
        with pytest.raises(kind, match="because"):
            await client.call(SessionPing(), retry=True)
        assert await client.wait_closed() == (code, "because") == client.closed
        with pytest.raises(kind):
            await client.call(SessionPing())
        with pytest.raises(kind):
            await anext(client.events())
    assert len(peer.sockets) == 1


@pytest.mark.parametrize("code", [1011, 4503])
async def test_a_call_cut_short_by_the_server_says_that_it_may_have_been_done(peer: Peer, code: int) -> None:
    peer.answers["thing.look"] = lambda _: peer.socket.close(code, "bye")
    async with Client(peer.url) as client:
        with pytest.raises(Disconnected) as cut:
            await client.call(Look())
        assert (cut.value.code, cut.value.reason) == (code, "bye")
        await client.call(SessionPing())
    assert len(peer.sockets) == 2
    assert len(peer.asked("thing.look")) == 1


async def test_a_call_that_may_be_repeated_survives_a_lost_connection(peer: Peer) -> None:
    def lose(_: dict[str, Any]) -> None:
        peer.answers["thing.look"] = lambda _: ok(Seen(text="it"))
        peer.socket.transport.abort()

    peer.answers["thing.look"] = lose
    async with Client(peer.url) as client:
        assert (await client.call(Look(), retry=True)).text == "it"
    assert len(peer.asked("thing.look")) == 2


async def test_without_reconnecting_the_first_disconnection_is_the_end(peer: Peer) -> None:
    async with Client(peer.url, reconnect=False) as client:
        await peer.socket.close(4503, "restart")
        assert await client.wait_closed() == (4503, "restart")
        with pytest.raises(Disconnected):
            await client.call(SessionPing(), retry=True)
    assert len(peer.sockets) == 1


async def test_a_repeatable_call_waits_as_long_as_the_server_asks(peer: Peer) -> None:
    refusals = [
        no("overloaded", retry_after=0.05),
        no("rate_limited", retry_after=0.05),
        no("unavailable", retry_after=0.05),
    ]
    peer.answers["thing.look"] = lambda _: refusals.pop() if refusals else ok(Seen(text="it"))
    loop = asyncio.get_running_loop()
    async with Client(peer.url) as client:
        started = loop.time()
        assert (await client.call(Look(), retry=True)).text == "it"
        assert loop.time() - started >= 0.15
        peer.answers["thing.look"] = lambda _: no("overloaded", retry_after=60)
        with pytest.raises(Overloaded):
            await client.call(Look(), retry=True)
        with pytest.raises(Overloaded):
            await client.call(Look())
    assert len(peer.asked("thing.look")) == 6


async def test_going_away_is_followed_once_every_reply_is_there(peer: Peer) -> None:
    answer = asyncio.Event()

    async def slowly(_: dict[str, Any]) -> dict[str, Any]:
        await answer.wait()
        return ok(Seen(text="it"))

    loop = asyncio.get_running_loop()
    peer.answers["thing.look"] = slowly
    async with Client(peer.url) as client:
        await client.open(tokens())
        first = peer.socket
        slow = asyncio.create_task(client.call(Look()))
        while not peer.asked("thing.look"):
            await asyncio.sleep(0.001)
        told = loop.time()
        await first.send(json.dumps({"ev": "session.going_away", "reason": "restart", "reconnect_after": 0.3}))
        assert (await client.wait_for(SessionGoingAway)).reason == "restart"
        ping = asyncio.create_task(client.call(SessionPing()))
        answer.set()
        assert (await slow).text == "it"
        await first.wait_closed()
        assert first.close_code == 1000
        await ping
        assert loop.time() - told >= 0.3
    assert [request["op"] for request in peer.requests][-2:] == ["session.resume", "session.ping"]


async def test_a_refused_handshake_is_tried_again_no_sooner_than_advised(peer: Peer) -> None:
    loop = asyncio.get_running_loop()
    async with Client(peer.url) as client:
        peer.statuses = [(503, {}), (429, {"Retry-After": "1"})]
        started = loop.time()
        peer.socket.transport.abort()
        await client.call(SessionPing(), retry=True)
        assert loop.time() - started >= 1.0
    assert not peer.statuses


async def test_a_handshake_that_will_never_be_accepted_ends_the_client(peer: Peer) -> None:
    async with Client(peer.url) as client:
        peer.statuses = [(403, {})]
        peer.socket.transport.abort()
        await asyncio.wait_for(client.wait_closed(), 5)
        with pytest.raises(Exception, match="403"):
            await client.call(SessionPing())


async def test_a_server_that_is_not_there_is_told_at_once() -> None:
    async with a_peer() as peer:
        url = peer.url
    with pytest.raises(OSError):
        async with Client(url):
            pass


async def test_bytes_that_are_no_frame_cost_the_connection_only(peer: Peer) -> None:
    async with Client(peer.url) as client:
        await peer.socket.send("{not json")
        await peer.sockets_made(2)
        await client.call(SessionPing())
    assert peer.sockets[0].close_code == 1002


async def test_closing_ends_calls_and_loops_over_events(peer: Peer) -> None:
    peer.answers["thing.look"] = lambda _: None
    heard: list[Event] = []

    async def listen(client: Client) -> None:
        async for event in client.events():
            heard.append(event)

    async with Client(peer.url, events=[Tick]) as client:
        listening = asyncio.create_task(listen(client))
        calling = asyncio.create_task(client.call(Look()))
        while not peer.asked("thing.look"):
            await asyncio.sleep(0.001)
        await peer.socket.send(json.dumps({"ev": "tick.happened", "number": 1}))
        await client.call(SessionPing())
    await asyncio.wait_for(listening, 5)
    assert heard == [Tick(number=1)]
    with pytest.raises(Disconnected):
        await calling
    with pytest.raises(Disconnected):
        await client.call(SessionPing())
