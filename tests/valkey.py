"""Valkey servers as processes of their own, for tests that kill and freeze them, and clusters of them."""

import asyncio
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storage.binary import redis_server
from storage.privilege import service_account
from storage.redis_address import Address
from storage.redis_cluster import SLOTS
from storage.redis_wire import ask_once


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Valkey:
    """One server on 127.0.0.1."""

    def __init__(self, folder: Path, *settings: object) -> None:
        self.port, self.bus_port = free_ports(2)
        self.address = Address(host="127.0.0.1", port=self.port)
        self.url = f"redis://127.0.0.1:{self.port}"
        folder.mkdir(exist_ok=True)
        program = redis_server(service_account(folder), folder)
        given = ["--port", self.port, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--logfile", folder / "log"]
        self._command = [str(word) for word in (program.path, *given, "--cluster-port", self.bus_port, *settings)]
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it; return when somebody can connect."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    assert self.process.poll() is None
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    return

    def freeze(self) -> None:
        """It does not run, and keeps its connections."""
        self._tell(signal.SIGSTOP)

    def thaw(self) -> None:
        """It runs on."""
        self._tell(signal.SIGCONT)

    def kill(self) -> None:
        """It is gone."""
        if self.process is not None:
            self._tell(signal.SIGKILL)
            self.process.wait(10)

    def _tell(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def ask(self, *words: Any) -> Any:
        """What it replies to a command."""
        return await ask_once(self.address, *(str(word).encode() for word in words))


class ValkeyCluster:
    """Masters that share the slots evenly."""

    def __init__(self, folder: Path, count: int) -> None:
        settings = ("--cluster-enabled", "yes", "--cluster-node-timeout", 1000, "--cluster-require-full-coverage", "no")
        self.nodes = [Valkey(folder / str(at), *settings) for at in range(count)]

    async def start(self) -> None:
        """Start them; return when each knows where every slot is."""
        await asyncio.gather(*(node.start() for node in self.nodes))
        share = SLOTS // len(self.nodes)
        for at, node in enumerate(self.nodes):
            last = SLOTS - 1 if node is self.nodes[-1] else (at + 1) * share - 1
            await node.ask("CLUSTER", "ADDSLOTSRANGE", at * share, last)
            await node.ask("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        for node in self.nodes[1:]:
            await node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self.nodes[0].bus_port)
        async with asyncio.timeout(15):
            for node in self.nodes:
                while not await self._knows_all(node):
                    await asyncio.sleep(0.02)

    async def _knows_all(self, node: Valkey) -> bool:
        info = (await node.ask("CLUSTER", "INFO")).decode()
        return all(line in info for line in ("cluster_state:ok", f"cluster_slots_ok:{SLOTS}"))

    async def owner(self, slot: int) -> Valkey:
        """Who has a slot."""
        for first, last, (_, port, *_), *_ in await self.nodes[0].ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise LookupError(slot)

    async def move(self, slot: int, to: Valkey, ask: Sequence[Valkey] = ()) -> None:
        """Give a slot to another master, and have all of them, or those of a list, know it."""
        name = (await to.ask("CLUSTER", "MYID")).decode()
        for node in sorted(ask or self.nodes, key=lambda node: node is not to):
            await node.ask("CLUSTER", "SETSLOT", slot, "NODE", name)

    def kill(self) -> None:
        """All of them are gone."""
        for node in self.nodes:
            node.kill()
