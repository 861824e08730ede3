"""Streams that very many hear: everybody gets everything, and nobody else waits for it."""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from uuid import uuid4

import pytest
import uvloop

from bench.wire import RawSocket, close_sockets, open_sockets
from protocol.message import MessageSend
from server import Server
from tests.chat import UNBOUND, Phone, group
from tests.conftest import Connector, Starter
from tests.raw import until

AUDIENCE, MESSAGES = 1100, 30
LONGEST_TURN = 0.020


@pytest.fixture
async def server(start: Starter) -> AsyncIterator[Server]:
    yield await start(connections_per_address=10_000, pending_per_address=10_000, acquire_timeout=30, **UNBOUND)


class Crowd:
    """Very many sockets of one account, on a thread and a loop of their own."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.heard: dict[RawSocket, list[bytes]] = defaultdict(list)
        self.sockets: list[RawSocket] = []
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    async def come(self, url: str, token: str) -> None:
        self.sockets = await self._there(open_sockets(url, [token] * AUDIENCE))
        for socket in self.sockets:
            socket.heard = self._hear

    def _hear(self, socket: RawSocket, body: bytes) -> None:
        if body.startswith(b'{"ev":"message.created"'):
            self.heard[socket].append(body)

    async def go(self) -> None:
        await self._there(close_sockets(self.sockets))
        self.loop.call_soon_threadsafe(self.loop.stop)
        await asyncio.to_thread(self._thread.join)
        self.loop.close()

    async def _there(self, work: object) -> list[RawSocket]:
        future: Future[list[RawSocket]] = asyncio.run_coroutine_threadsafe(work, self.loop)  # type: ignore[arg-type]
        return await asyncio.wrap_future(future)


@pytest.fixture
async def crowd(server: Server) -> AsyncIterator[Crowd]:
    one = Crowd()
    yield one
    await one.go()


@contextmanager
def turns() -> Iterator[list[float]]:
    """The CPU time of each turn of this thread's loop: other threads and processes do not count."""
    loop, found, over = asyncio.get_running_loop(), [0.0], False
    last = time.thread_time()

    def turn() -> None:
        nonlocal last
        now = time.thread_time()
        found.append(now - last)
        last = now
        if not over:
            loop.call_soon(turn)

    loop.call_soon(turn)
    try:
        yield found
    finally:
        over = True


async def test_thousands_of_sockets_hear_everything_once_in_order_and_no_turn_of_the_loop_is_long(
    server: Server, connect: Connector, crowd: Crowd
) -> None:
    ann = await connect("ann")
    channel = await group(ann)
    await crowd.come(server.url, ann.tokens_given.access)
    phone = await Phone.open(server, ann.tokens_given.access)
    with turns() as found:
        for number in range(MESSAGES):
            await phone.call(MessageSend(channel=channel, text=str(number), nonce=uuid4()))
        await until(lambda: all(len(crowd.heard[one]) == MESSAGES for one in crowd.sockets), 60)
    bodies = crowd.heard[crowd.sockets[0]]
    assert [b'"seq":%d,' % (number + 1) in body for number, body in enumerate(bodies)] == [True] * MESSAGES
    assert all(crowd.heard[one] == bodies for one in crowd.sockets)
    assert sum(found) > 0.05, "the crowd was served in this thread"
    assert max(found) < LONGEST_TURN
    phone.abort()
