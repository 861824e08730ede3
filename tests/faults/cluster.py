"""Three nodes before one PostgreSQL and one Redis, with a network between all of them that can be broken."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from server import Config
from server.order import Order
from tests.faults.node import MUTANTS
from tests.faults.proxy import Link
from tests.faults.store import Store

TOP = Path(__file__).parents[2]
NODES = 3
# Cheap passwords, no attempt limits and quick clients: a run is about faults.
SETTINGS: dict[str, Any] = {
    "port": 0,
    "secret": "a secret that all nodes of a fault run share",
    "password_memory_kib": 8,
    "password_rounds": 1,
    "throttle": 1000.0,
    "pending_per_address": 500,
    "frames_per_second": 10_000,
    "frames_in_burst": 10_000,
    "requests_in_flight": 200,
    "drain": 0.2,
    "log_format": "human",
    "log_level": "warning",
}


class Node:
    """One server process, and its three links: to PostgreSQL, to Redis, and from its clients."""

    def __init__(self, number: int, store: Store, mutants: Sequence[str], settings: dict[str, Any]) -> None:
        self.number, self._store, self.mutants = number, store, mutants
        self._settings = settings
        self.folder = store.folder / f"node-{number}"
        self.postgres, self.redis = Link(store.sockets["postgres"]), Link(store.sockets["redis"])
        self.clients = Link(("127.0.0.1", 1))
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        for link in (self.postgres, self.redis, self.clients):
            await link.start()
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()
        for link in (self.postgres, self.redis, self.clients):
            await link.stop()

    @property
    def url(self) -> str:
        """Where clients reach it, also after a restart."""
        return f"ws://127.0.0.1:{self.clients.port}"

    async def start(self) -> None:
        """Return when it serves."""
        config = Config(
            **SETTINGS
            | {
                "data": self.folder,
                "database_url": f"postgresql://onesocket@127.0.0.1:{self.postgres.port}/onesocket?sslmode=disable",
                "redis_url": f"redis://127.0.0.1:{self.redis.port}",
            }
            | self._settings
        )
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.faults.node"),
                cwd=TOP,
                env=os.environ | {MUTANTS: ",".join(self.mutants)},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(Order(config, str(self.number), siblings=True).written())
        async with asyncio.timeout(60):
            port = await self._process.stdout.readline()
        if not port.strip().isdigit():
            raise RuntimeError(f"node {self.number} did not start:\n{self.log()}")
        self.clients.target = ("127.0.0.1", int(port))

    async def come_back(self) -> None:
        """Start it until it serves, as a supervisor would: what it needs may not be there yet."""
        async with asyncio.timeout(90):
            while True:
                try:
                    return await self.start()
                except RuntimeError:
                    await self.kill()
                    await asyncio.sleep(0.3)

    def log(self) -> str:
        """What it wrote last."""
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP and SIGCONT are the ones of interest."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL; also a stopped process hears that."""
        if self._process is not None and self._process.returncode is None:
            self.signal(signal.SIGKILL)
            await self._process.wait()


class Cluster:
    """All of it; `mutants` are patched into each node as it starts."""

    def __init__(self, mutants: Sequence[str] = (), **settings: Any) -> None:
        self.store = Store()
        self.nodes = [Node(number, self.store, mutants, settings) for number in range(1, NODES + 1)]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._stack.enter_async_context(self.store)
            for node in self.nodes:
                self._stack.push_async_exit(node.__aexit__)
            await asyncio.gather(*(node.__aenter__() for node in self.nodes))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def become(self, *mutants: str) -> None:
        """All nodes anew, as these mutants; as none they are what they should be."""
        for node in self.nodes:
            node.mutants = mutants
        await asyncio.gather(*(node.kill() for node in self.nodes))
        await asyncio.gather(*(node.start() for node in self.nodes))
