"""Streams that very many hear: everybody gets everything, and nobody else waits for it."""

import asyncio
import gc
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest
import uvloop

from bench.wire import RawSocket, close_sockets, open_sockets
from protocol.channel import ChannelDelete, ChannelRemoveMember
from protocol.message import MessageSend
from protocol.typing import TypingStart
from server import Server
from server.worker import settle
from storage.ids import new_id
from tests.chat import UNBOUND, Phone, group, sql
from tests.conftest import Connector, Starter
from tests.raw import until

MEMBERS, AUDIENCE, MESSAGES = 10_000, 1100, 30
LONGEST_TURN = 0.020


@pytest.fixture
def settled() -> Iterator[None]:
    """As in a worker: the garbage collector does not look at the tests' own things."""
    before = gc.get_threshold()
    settle()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.fixture
async def server(start: Starter, settled: None) -> AsyncIterator[Server]:
    yield await start(connections_per_address=10_000, pending_per_address=10_000, acquire_timeout=30, **UNBOUND)


class Crowd:
    """Very many sockets, each of another account, on a thread and a loop of their own."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.heard: dict[RawSocket, list[bytes]] = defaultdict(list)
        self.left: set[RawSocket] = set()
        self.sockets: list[RawSocket] = []
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    async def come(self, url: str, tokens: list[str]) -> None:
        self.sockets = await self._there(open_sockets(url, tokens))
        for socket in self.sockets:
            socket.heard = self._hear

    def _hear(self, socket: RawSocket, body: bytes) -> None:
        if body.startswith(b'{"ev":"message.created"'):
            self.heard[socket].append(body)
        elif body.startswith(b'{"ev":"channel.left"'):
            self.left.add(socket)
        assert not body.startswith(b'{"ev":"typing'), "a crowd is not told who types"

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


async def populated(server: Server, channel: UUID) -> list[UUID]:
    """Ten thousand more members, made by the database; each has a device with the same id."""
    ids = [new_id() for _ in range(MEMBERS)]
    async with sql(server) as db:
        for statement in (
            "INSERT INTO account (id, username, name_key) SELECT id, 'u' || id, id::text FROM unnest($1::uuid[]) t(id)",
            "INSERT INTO stream (id) SELECT unnest($1::uuid[])",
            "INSERT INTO device (id, account, name, address, refresh_hash, expires_at)"
            " SELECT id, id, '', '', id::text::bytea, now() + interval '1 day' FROM unnest($1::uuid[]) t(id)",
        ):
            await db.execute(statement, ids)
        insert = "INSERT INTO member (channel, account) SELECT $2::uuid, unnest($1::uuid[])"
        await db.execute(insert, ids, channel)
        await db.execute("UPDATE channel SET members = $2 WHERE id = $1", channel, MEMBERS + 1)
    return ids


async def test_ten_thousand_members_hear_everything_once_in_order_and_no_turn_of_the_loop_is_long(
    server: Server, connect: Connector, crowd: Crowd
) -> None:
    ann = await connect("ann")
    channel = await group(ann)
    members = await populated(server, channel)
    await crowd.come(server.url, [server.keys.access(one, one, 900) for one in members[:AUDIENCE]])
    phone = await Phone.open(server, ann.tokens_given.access)
    with turns() as saying:
        for number in range(MESSAGES):
            await phone.call(MessageSend(channel=channel, text=str(number), nonce=uuid4()))
        await until(lambda: all(len(crowd.heard[one]) == MESSAGES for one in crowd.sockets), 60)
    bodies = crowd.heard[crowd.sockets[0]]
    assert [b'"seq":%d,' % (number + 1) in body for number, body in enumerate(bodies)] == [True] * MESSAGES
    assert all(crowd.heard[one] == bodies for one in crowd.sockets)
    with turns() as typing:
        await phone.call(TypingStart(channel=channel))
    with turns() as removing:
        await phone.call(ChannelRemoveMember(channel=channel, user=members[0]))
        await until(lambda: len(crowd.left) == 1, 60)
    with turns() as deleting:
        await phone.answer(phone.ask(ChannelDelete(channel=channel))[0])
        await until(lambda: len(crowd.left) == AUDIENCE, 60)
    assert sum(saying) > 0.05, "the crowd was served in this thread"
    longest = {"saying": max(saying), "typing": max(typing), "removing": max(removing), "deleting": max(deleting)}
    assert {what for what, seconds in longest.items() if seconds > LONGEST_TURN} == set(), longest
    phone.abort()
