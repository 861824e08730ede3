"""gateway: floods, silence, and clients that do not read. Nothing is unbounded, and neighbours do not notice."""

import asyncio
import resource
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from protocol.session import SessionOpen, SessionPing
from server import Server
from tests.conftest import Dial, Person, Starter
from tests.echo import Listening, echoing
from tests.ops import work
from tests.raw import PING, PONG, Frame, Raw, masked, until

MIB = 1 << 20


def resident() -> int:
    """Bytes of memory in use by this process: server and test."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


async def deaf(listening: Listening) -> Raw:
    """A socket that has said hello and then reads next to nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", listening.port))
    return await listening.raw(sock=sock, limit=1024)


async def worst_echo(raw: Raw, seconds: float) -> float:
    """How long the slowest of many small messages took to come back."""
    worst, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        raw.say(b"x")
        await raw.text()
        worst = max(worst, time.perf_counter() - started)
        await asyncio.sleep(0.005)
    return worst


# Too much


async def test_frames_beyond_the_rate_are_refused_with_the_time_to_wait_and_then_closed() -> None:
    async with echoing(frames_per_second=10, frames_in_burst=20) as listening:
        raw = await listening.raw()
        raw.send(masked(b"x") * 40)
        said = [await raw.text() for _ in range(40)]
        assert said[:20] == [b"x"] * 20
        assert all(0 <= float(one.removeprefix(b"later:")) < 0.11 for one in said[20:]), said
        raw.send(masked(b"x") * 2)
        assert await raw.closed() == 4429


async def test_who_waits_as_long_as_told_is_served(start: Starter, dial: Dial) -> None:
    server = await start(frames_per_second=10, frames_in_burst=20)
    raw = await dial(server)
    raw.ask(*[SessionPing(id=number) for number in range(1, 26)])
    replies = [await raw.json() for _ in range(25)]
    assert [one["re"] for one in replies] == list(range(1, 26))
    assert all("ok" in one for one in replies[:20])
    refused = [one["error"] for one in replies if "error" in one]
    assert {one["code"] for one in refused} == {"rate_limited"}
    assert 1 <= len(refused) <= 5
    await asyncio.sleep(refused[-1]["retry_after"])
    raw.ask(SessionPing(id=99))
    assert (await raw.json())["ok"]


async def test_a_flood_closes_with_4429_and_the_neighbours_do_not_notice(start: Starter, dial: Dial) -> None:
    server = await start(frames_per_second=50, frames_in_burst=100)
    raw, neighbour = await dial(server), await dial(server)
    raw.ask(*[SessionPing(id=number) for number in range(5000)])
    started = time.perf_counter()
    neighbour.ask(SessionPing(id=1))
    assert "ok" in await neighbour.json()
    assert time.perf_counter() - started < 1
    assert await raw.closed() == 4429
    counted = server.router.ops["session.ping"].metric.ok, server.router.unreadable.refusals["rate_limited"]
    assert counted[0] <= 110
    assert counted[1] <= 102


@pytest.mark.parametrize(
    "one", [masked(b"", PING), masked(b"", PONG), masked(b"", 0, fin=False)], ids=["ping", "pong", "part"]
)
async def test_control_frames_and_parts_of_messages_count_as_frames(one: bytes) -> None:
    async with echoing() as listening:
        raw, neighbour = await listening.raw(), await listening.raw()
        raw.say(b"", fin=False)
        before, cpu = resident(), time.process_time()
        raw.send(one * 200_000)
        assert await raw.closed() == 4429
        assert time.process_time() - cpu < 0.5
        assert await worst_echo(neighbour, 0.1) < 1
        assert resident() - before < 16 * MIB


async def test_what_floods_behind_the_close_frame_is_not_even_parsed() -> None:
    async with echoing() as listening:
        raw = await listening.raw()
        raw.send(masked(b"\xff"))
        raw.send(masked(b"") * 100_000)
        assert await raw.closed() == 1007
        raw = await listening.raw()
        listening.conversations[0].socket.close(4401, "go")
        raw.send(masked(b"") * 400_000)
        cpu = time.process_time()
        assert await raw.closed() == 4401
        assert time.process_time() - cpu < 1


async def test_an_address_with_a_thousand_refused_frames_is_shut_out_for_a_while() -> None:
    async with echoing(frames_per_second=1, frames_in_burst=100) as listening:
        good = await listening.raw()
        for _ in range(10):
            raw = await listening.raw()
            raw.send(masked(b"x") * 300)
            assert await raw.closed() == 4429
        raw = await Raw.connect(listening.port)
        reply = await raw.upgrade()
        assert (reply.status, reply.headers["Retry-After"]) == (429, "600")
        good.say(b"still here")
        assert await good.text() == b"still here"
        listening.gateway._forget_refused()
        await listening.raw()


async def test_reading_pauses_while_the_most_requests_are_in_flight(start: Starter, dial: Dial) -> None:
    server = await start(ops=work.HANDLERS, public=work.NAMES, requests_in_flight=4)
    raw = await dial(server)
    raw.ask(*[work.WorkSleep(id=number, seconds=0.2) for number in range(12)])
    await until(lambda: server.router.in_flight)
    (held,) = server.gateway.sockets
    for _ in range(10):
        assert server.router.in_flight <= 4
        assert held.paused
        await asyncio.sleep(0.01)
    raw.ask(SessionPing(id=100))
    replies = [await raw.json() for _ in range(13)]
    assert {one["re"] for one in replies[:8]} == set(range(8)), "nothing overtakes what had to wait"
    assert sorted(one["re"] for one in replies) == [*range(12), 100]
    assert not held.paused


# Too many


async def test_sockets_without_a_login_are_few_per_address_and_the_logged_in_are_served(start: Starter) -> None:
    server = await start(pending_per_address=50, login_timeout=60)
    async with Person(server.url, reconnect=False) as person:
        raws = [await Raw.connect(server.port) for _ in range(49)]
        for raw in raws:
            assert (await raw.upgrade()).status == 101
        extra = await asyncio.gather(*(Raw.connect(server.port) for _ in range(951)), return_exceptions=True)
        ends = await asyncio.gather(*(one.over() for one in extra if isinstance(one, Raw)))
        assert ends == [b""] * len(ends)
        assert len(server.gateway.sockets) == 50
        worst = 0.0
        for _ in range(50):
            started = time.perf_counter()
            await person.call(SessionPing())
            worst = max(worst, time.perf_counter() - started)
        assert worst < 1
        raws[0].abort()
        await until(lambda: len(server.gateway.sockets) == 49)
        assert (await (await Raw.connect(server.port)).upgrade()).status == 101


async def test_a_login_makes_room_for_the_next_and_leaves_nothing_behind() -> None:
    async with echoing(pending_per_address=1) as listening:
        raws = []
        for _ in range(20):
            raw = await listening.raw()
            raw.say(b"login")
            await raw.text()
            raws.append(raw)
        gateway = listening.gateway
        assert (gateway._open, gateway._pending) == ({"127.0.0.1": 20}, {})
        for raw in raws:
            raw.abort()
        await until(lambda: not gateway.sockets)
        left = (gateway._open, gateway._pending, gateway._counted, gateway._logins, gateway._handshakes, gateway._full)
        assert not any(left)
        assert not any(gateway._beats)


async def test_connections_are_counted_per_address_and_per_worker() -> None:
    async with echoing(connections_per_address=3, connections=5) as listening:
        members = [await listening.raw() for _ in range(3)]
        for raw in members:
            raw.say(b"login")
            await raw.text()
        refused = await Raw.connect(listening.port)
        assert await refused.over() == b""
        elsewhere = [await listening.raw(local_addr=("127.0.0.2", 0)) for _ in range(2)]
        assert len(elsewhere) == 2
        assert await (await Raw.connect(listening.port, local_addr=("127.0.0.3", 0))).over() == b""


async def test_a_socket_that_hangs_up_while_it_logs_in_does_not_stay_logged_in(
    server: Server, ann: Person, dial: Dial
) -> None:
    opened = server.router.ops["session.open"].metric
    before = opened.ok
    for _ in range(20):
        raw = await dial(server)
        raw.ask(SessionOpen(id=1, token=ann.tokens_given.access))
        await raw.writer.drain()
        raw.abort()
    await until(lambda: len(server.gateway.sockets) == 1 and not server.router.in_flight)
    assert opened.ok > before, "some got as far as the database"
    assert server.hub.logged_in == 1


# Too slow


async def test_a_handshake_byte_by_byte_is_given_up() -> None:
    async with echoing(handshake_timeout=1) as listening:
        raw, started = await Raw.connect(listening.port), time.perf_counter()
        ended = asyncio.create_task(raw.over())
        for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Slow: yes\r\n" * 1000:
            if ended.done():
                break
            raw.send(bytes((byte,)))
            await asyncio.sleep(0.02)
        assert await ended == b""
        assert 1 <= time.perf_counter() - started < 4


async def test_a_socket_that_never_logs_in_is_told_and_closed() -> None:
    async with echoing(login_timeout=1) as listening:
        silent, busy, member = [await listening.raw() for _ in range(3)]
        member.say(b"login")
        started = time.perf_counter()
        ends = asyncio.gather(silent.closed(), busy.closed())
        while not ends.done():
            busy.say(b"x")
            await asyncio.sleep(0.05)
        assert {*await ends} == {4408}
        assert 1 <= time.perf_counter() - started < 4
        assert await member.text() == b"login"
        await until(lambda: len(listening.conversations) == 1)


async def test_a_silent_peer_is_closed_after_two_heartbeats_and_an_answering_one_lives() -> None:
    async with echoing(heartbeat=1) as listening:
        gone, there = await listening.raw(), await listening.raw()
        for raw in (gone, there):
            raw.say(b"login")
            await raw.text()
        started, pings, end = time.perf_counter(), 0, asyncio.create_task(gone.closed())
        while not end.done():
            assert await there.frame() == Frame(PING, b"")
            pings += 1
            there.say(b"", PONG)
        assert await end == 4504
        assert 1 < time.perf_counter() - started < 5
        assert pings >= 2
        there.say(b"alive")
        while (one := await there.frame()).opcode == PING:
            pass
        assert one.body == b"alive"


async def test_who_does_not_read_is_closed_by_size_and_memory_is_bounded() -> None:
    async with echoing(write_buffer_bytes=MIB) as listening:
        neighbour = await listening.raw()
        before = resident()
        raws = [await deaf(listening) for _ in range(20)]
        sockets = [one.socket for one in listening.conversations if one.socket.number > 1]
        latency = asyncio.create_task(worst_echo(neighbour, 1))
        for _ in range(60):
            for one in sockets:
                one.send(b"x" * 65536)
            await asyncio.sleep(0.01)
        assert [one.close_code for one in sockets] == [4503] * 20
        assert resident() - before < 20 * 2 * MIB
        assert await latency < 1
        for raw in raws:
            raw.abort()
        await until(lambda: len(listening.conversations) == 1)
        assert listening.gateway.closes[4503] == 20


async def test_who_reads_nothing_for_too_long_is_closed_and_let_go() -> None:
    async with echoing(write_timeout=1, write_buffer_bytes=8 * MIB) as listening:
        raw = await deaf(listening)
        (held,) = listening.gateway.sockets
        held.send(b"x" * 6 * MIB)
        await until(lambda: held.full)
        assert held.paused
        await until(lambda: held.close_code)
        assert held.close_code == 4503
        await until(lambda: not listening.gateway.sockets, timeout=9)
        assert listening.gateway.closes == {4503: 1}
        raw.abort()


async def test_who_was_slow_and_reads_again_is_told_why_it_was_closed() -> None:
    async with echoing(write_buffer_bytes=MIB) as listening:
        raw = await deaf(listening)
        (held,) = listening.gateway.sockets
        while not held.close_code:
            held.send(b"x" * 65536)
            await asyncio.sleep(0)
        assert await raw.closed() == 4503


async def test_pings_of_who_does_not_read_fill_no_memory() -> None:
    async with echoing(frames_per_second=10**9, frames_in_burst=10**9, write_buffer_bytes=MIB) as listening:
        raw = await deaf(listening)
        (held,) = listening.gateway.sockets
        pings = masked(b"x" * 125, PING) * 500

        async def send() -> None:
            while True:
                raw.send(pings)
                await raw.writer.drain()

        sending = asyncio.create_task(send())
        await until(lambda: held.paused)
        before = resident()
        await asyncio.sleep(0.5)
        assert held.transport.get_write_buffer_size() < 2 * MIB
        assert resident() - before < 4 * MIB
        sending.cancel()
        raw.abort()


async def test_a_large_reply_to_a_client_that_reads_arrives_whole(start: Starter, dial: Dial) -> None:
    server = await start(ops=work.HANDLERS, public=work.NAMES)
    raw = await dial(server)
    for number in range(12):
        raw.ask(work.WorkBig(id=number, size=MIB))
        assert len((await raw.json())["ok"]["filling"]) == MIB


async def test_an_op_with_large_replies_does_not_let_its_caller_fill_the_memory(start: Starter) -> None:
    server = await start(ops=work.HANDLERS, public=work.NAMES, write_timeout=1)
    async with Person(server.url, reconnect=False) as neighbour:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
        raw = await Raw.connect(0, sock=sock, limit=1024)
        await raw.upgrade()
        before = resident()
        raw.ask(*[work.WorkBig(id=number, size=300_000) for number in range(60)])
        held = max(server.gateway.sockets, key=lambda one: one.number)
        await until(lambda: held.close_code)
        worst = 0.0
        for _ in range(50):
            started = time.perf_counter()
            await neighbour.call(SessionPing())
            worst = max(worst, time.perf_counter() - started)
        assert held.close_code == 4503
        assert worst < 1
        assert resident() - before < 40 * MIB
        raw.abort()


async def test_the_sweep_goes_on_after_an_error() -> None:
    async with echoing(login_timeout=1) as listening:
        raw = await listening.raw()
        failures: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
        listening.gateway._full[object()] = 0  # type: ignore[index]
        assert await raw.closed() == 4408
        assert failures
        listening.gateway._full.clear()
