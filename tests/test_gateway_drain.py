"""gateway: leaving in good order. Clients are told, what is in flight is finished, nobody new comes in."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from protocol.client import Client
from protocol.session import SessionPing
from server import Config, Server
from tests.conftest import QUICK
from tests.ops import work
from tests.raw import UPGRADE, Raw, head, until

Making = Callable[..., Server]


@pytest.fixture
def make(database: str, redis_url: str, folder: Any) -> Making:
    """Servers that the test itself starts and stops."""

    def begin(**settings: Any) -> Server:
        values = {**QUICK, "data": folder, "database_url": database, "redis_url": redis_url, **settings}
        return Server(Config(**values), ops=work.HANDLERS, public=work.NAMES)

    return begin


async def hello(server: Server) -> Raw:
    """A socket that has heard the hello."""
    raw = await Raw.connect(server.port)
    assert (await raw.upgrade()).status == 101
    await raw.json()
    return raw


async def test_clients_are_told_when_to_come_back_and_what_is_in_flight_is_answered(make: Making) -> None:
    server = make(drain=5.0)
    await server.start()
    busy, idle = await hello(server), await hello(server)
    busy.ask(work.WorkSleep(id=1, seconds=0.5))
    await until(lambda: server.router.in_flight)
    started = time.perf_counter()
    stopping = asyncio.create_task(server.stop())
    for raw in (busy, idle):
        event = await raw.json()
        assert (event["ev"], event["reason"]) == ("session.going_away", "restart")
        assert 0.2 <= event["reconnect_after"] <= 2
    idle.ask(SessionPing(id=2))
    assert (await idle.json())["re"] == 2, "it is served to the end"
    reply = await busy.json()
    assert reply == {"re": 1, "ok": {"seconds": 0.5}}
    assert {*await asyncio.gather(busy.closed(), idle.closed())} == {4503}
    await stopping
    assert 0.4 < time.perf_counter() - started < 4
    assert server.gateway.closes == {4503: 2}


async def test_nobody_new_comes_in_while_the_server_drains(make: Making) -> None:
    server = make(drain=5.0)
    await server.start()
    raw = await hello(server)
    early, earlier = await Raw.connect(server.port), await Raw.connect(server.port)
    await until(lambda: len(server.gateway.sockets) == 3)
    raw.ask(work.WorkSleep(id=1, seconds=0.6))
    await until(lambda: server.router.in_flight)
    stopping = asyncio.create_task(server.stop())
    assert (await raw.json())["ev"] == "session.going_away"
    with pytest.raises(ConnectionError):
        await Raw.connect(server.port)
    early.send(head("GET", "/readyz", ()))
    reply = await early.reply()
    assert (reply.status, json.loads(reply.body)["status"]) == (503, "draining")
    earlier.send(head("GET", "/", (("Host", "x"), *UPGRADE)))
    reply = await earlier.reply()
    assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
    assert (await raw.json())["re"] == 1
    assert await raw.closed() == 4503
    await stopping


async def test_what_takes_longer_than_the_drain_is_given_up_and_told(
    make: Making, caplog: pytest.LogCaptureFixture
) -> None:
    server = make(drain=0.5)
    await server.start()
    raw = await hello(server)
    raw.ask(work.WorkSleep(id=1, seconds=20))
    await until(lambda: server.router.in_flight)
    started = time.perf_counter()
    stopping = asyncio.create_task(server.stop())
    assert (await raw.json())["ev"] == "session.going_away"
    reply = await raw.json()
    assert (reply["re"], reply["error"]["code"]) == (1, "going_away")
    assert await raw.closed() == 4503
    await stopping
    assert "Traceback" not in caplog.text
    assert 0.5 <= time.perf_counter() - started < 3
    assert server.router.in_flight == 0, "nothing goes on behind a stopped server"


async def test_who_answers_nothing_does_not_hold_the_server_up(make: Making) -> None:
    server = make(drain=0.5)
    await server.start()
    deaf = [await hello(server) for _ in range(5)]
    half = await Raw.connect(server.port)
    await until(lambda: len(server.gateway.sockets) == 6)
    started = time.perf_counter()
    await server.stop()
    assert time.perf_counter() - started < 5
    assert not server.gateway.sockets
    for raw in (*deaf, half):
        raw.abort()


async def test_a_clients_next_server_is_found_by_itself_and_reconnects_are_spread(make: Making) -> None:
    first = make(drain=1.0)
    await first.start()
    async with Client(first.url) as client:
        assert client.hello.node == first.node
        delays = [first.gateway.farewell() for _ in range(200)]
        assert min(delays) < 0.5
        assert 0.9 < max(delays) <= 1.2
        second = make(port=first.port)
        await second.start()
        try:
            await first.stop()
            await client.call(SessionPing(), retry=True)
            assert len(second.gateway.sockets) == 1
        finally:
            await client.close()
            await second.stop()


async def test_more_sockets_come_back_over_a_longer_time(make: Making) -> None:
    server = make()
    await server.start()
    server.gateway.sockets.update(range(2000))  # type: ignore[arg-type]
    delays = [server.gateway.farewell() for _ in range(500)]
    server.gateway.sockets.clear()
    assert 8 < max(delays) <= 10.2, "200 a second"
    await server.stop()
