"""`onesocket serve`: first start, second start, and what it survives."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest

from protocol.account import AccountGet, AccountRegister, AccountUpdate
from protocol.client import Client, Disconnected
from protocol.error import Refusal
from protocol.session import SessionPing
from tests.conftest import open_folder
from tests.service import Service

CLIENTS = 50
_NUMBERS = count(1)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A folder in which a server has been before: the second start takes a fraction of the first."""
    with open_folder() as path:
        service = Service(path)
        asyncio.run(service.start())
        assert service.stop() == 0
        yield path


class Writer:
    """A client that keeps counting in its account, and remembers what was acknowledged."""

    def __init__(self, name: str, url: str) -> None:
        self.name, self.url, self.tried, self.acked = name, url, 0, 0
        self.acked_at, self.leave = 0.0, AsyncExitStack()

    async def register(self, few: asyncio.Semaphore) -> None:
        async with few:
            self.client = await self.leave.enter_async_context(Client(self.url))
            frame = AccountRegister(username=self.name, password="correct horse battery")
            await self.client.open(await self.client.call(frame, retry=True))

    async def run(self) -> None:
        while True:
            self.tried += 1
            await self.write(self.client)
            await asyncio.sleep(0.01)

    async def write(self, client: Client) -> None:
        try:
            await client.call(AccountUpdate(bio=str(self.tried)), timeout=5)
        except (Refusal, Disconnected, TimeoutError):
            await asyncio.sleep(0.1)
        else:
            self.acked, self.acked_at = self.tried, time.monotonic()


class Crowd:
    """Fifty of them, and somebody who watches /readyz."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.writers = [Writer(f"writer{next(_NUMBERS)}", service.url) for _ in range(CLIENTS)]
        self.seen: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        few = asyncio.Semaphore(5)
        await asyncio.gather(*(writer.register(few) for writer in self.writers))
        self._tasks = [asyncio.create_task(writer.run()) for writer in self.writers]
        self._tasks.append(asyncio.create_task(self._watch()))
        await asyncio.sleep(0.5)

    async def _watch(self) -> None:
        while True:
            told = await self.service.ready()
            self.seen.add(told if told == "gone" else json.loads(told)["status"])
            await asyncio.sleep(0.02)

    async def all_write_again(self, since: float) -> float:
        """Until every client has had something acknowledged since; the seconds that took."""
        while not all(writer.acked_at > since for writer in self.writers):
            assert time.monotonic() - since < 20, self.service.text[-3000:]
            await asyncio.sleep(0.02)
        return time.monotonic() - since

    async def lost(self) -> list[str]:
        """Writers whose acknowledged write is missing."""
        for task in self._tasks:
            task.cancel()
        missing = []
        for writer in self.writers:
            async with Client(self.service.url) as client:
                assert writer.client.tokens is not None
                await client.open(writer.client.tokens)
                stored = int((await client.call(AccountGet(), retry=True)).bio or 0)
            if stored < writer.acked:
                missing.append(f"{writer.name}: {stored} < {writer.acked}")
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(writer.leave.aclose() for writer in self.writers))
        return missing


Victim = Callable[[Service], int]


@pytest.mark.parametrize(
    ("victim", "log", "state"),
    [
        pytest.param(lambda one: one.workers()[0], "worker 0 is back", "gone", id="the server"),
        pytest.param(lambda one: one.children(b"postgres")[0], "postgresql is back", "down", id="its PostgreSQL"),
        pytest.param(lambda one: one.children(b"valkey")[0], "is back after", "degraded", id="its Redis"),
    ],
)
async def test_recovers_by_itself_from_kill_9_of(made: Path, victim: Victim, log: str, state: str) -> None:
    async with Service(made) as service:
        crowd = Crowd(service)
        await crowd.start()
        killed = time.monotonic()
        os.kill(victim(service), signal.SIGKILL)
        await asyncio.sleep(0.3)
        while '"status": "ok"' not in await service.ready():
            assert time.monotonic() - killed < 10
            await asyncio.sleep(0.05)
        await crowd.all_write_again(time.monotonic())
        assert await crowd.lost() == []
        assert log in service.text
        assert state in crowd.seen


async def test_a_killed_supervisor_leaves_nothing_running_and_the_next_start_has_everything(made: Path) -> None:
    async with Service(made) as service:
        crowd = Crowd(service)
        await crowd.start()
        children = service.workers() + service.children(b"postgres") + service.children(b"valkey")
        service.stop(signal.SIGKILL)
        await _gone(children)
        assert await service.start() < 10
        assert await crowd.lost() == []
        assert service.stop() == 0


async def _gone(pids: list[int]) -> None:
    end = time.monotonic() + 15
    while any(_lives(pid) for pid in pids):
        assert time.monotonic() < end, "something outlived its supervisor"
        await asyncio.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def test_the_second_start_takes_less_than_three_seconds(made: Path) -> None:
    """By itself it takes 1.5 s; other tests use the machine meanwhile, so the quickest of a few starts counts."""
    service = Service(made)
    seconds: list[float] = []
    while not seconds or (seconds[-1] >= 3 and len(seconds) < 4):
        seconds.append(await service.start())
        assert service.stop() == 0
    assert min(seconds) < 3


async def test_the_first_start_prints_where_to_connect_what_runs_where_data_is_and_the_owner_link(folder: Path) -> None:
    async with Service(folder) as service:
        for part in ("socket", "page", "PostgreSQL", "Valkey", str(folder / "data"), "/claim#"):
            assert part in service.text
        async with Client(service.url) as client:
            await client.call(SessionPing())


async def test_sigterm_drains_and_exits_with_zero(made: Path) -> None:
    async with Service(made) as service:
        async with Client(service.url, reconnect=False) as client:
            assert await asyncio.to_thread(service.stop) == 0
            await client.wait_closed()
            assert client.closed is not None
            assert client.closed[0] == 4503
        assert "stopping" in service.text


async def test_workers_share_one_port_and_metrics_name_each_of_them(made: Path) -> None:
    async with Service(made, "--workers", "2") as service:
        nodes = set()
        for _ in range(40):
            async with Client(service.url) as client:
                nodes.add(client.hello.node)
        assert len(nodes) == 2


async def test_a_port_in_use_is_an_error_that_says_what_to_do(made: Path) -> None:
    async with Service(made) as service:
        port = service.url.rpartition(":")[2]
        second = await asyncio.create_subprocess_exec(
            *service._argv[:4], "--port", port, "--data", str(made / "other"), stderr=asyncio.subprocess.PIPE
        )
        _, text = await second.communicate()
        assert second.returncode == 1
        assert b"choose another port with --port" in text


async def test_demo_fills_an_empty_server_with_people_who_can_log_in(folder: Path) -> None:
    async with Service(folder, "--demo") as service:
        assert "demo people" in service.text
        assert "their password" in service.text
