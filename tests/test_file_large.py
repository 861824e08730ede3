"""file: large uploads: cut off again and again, from node to node, while messages go over the same socket."""

import asyncio
import gc
import hashlib
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from protocol.account import AccountRegister
from protocol.client import Client
from protocol.file import File
from server import Server
from tests.chat import group
from tests.conftest import Connector, Person
from tests.files import address, get
from tests.service import Service

MIB = 1 << 20


def made(path: Path, mib: int) -> str:
    """A file of random bytes; its hash."""
    found = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(mib):
            part = os.urandom(MIB)
            found.update(part)
            file.write(part)
    return found.hexdigest()


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def cutting(client: Client, *places: int, also: Callable[[], object] = lambda: None) -> Callable[[int], None]:
    """Cuts the connection when so many bytes are written, each time; `also` is done the first time."""
    left = list(places)

    def look(written: int) -> None:
        if left and written >= left[0]:
            if len(left) == len(places):
                also()
            left.pop(0)
            client._connection._socket.transport.abort()  # type: ignore[union-attr]

    return look


async def test_64_mib_come_through_three_cuts_with_little_memory(
    server: Server, connect: Connector, tmp_path: Path
) -> None:
    path = tmp_path / "large.bin"
    digest = await asyncio.to_thread(made, path, 64)
    ann = await connect("ann")
    async with Client(server.url) as client:
        await client.open(ann.tokens_given)
        before = resident()
        file = await client.upload(path, on_progress=cutting(client, 10 * MIB, 30 * MIB, 50 * MIB))
        grown = resident() - before
        assert (file.hash, file.state, grown < 32 * MIB) == (digest, "ready", True), grown
        url = await address(client, file)
        assert (await get(url, Range="bytes=67108860-")).body == path.read_bytes()[-4:]


async def talk(client: Client, uploading: asyncio.Task[File]) -> list[float]:
    """Messages over the same socket, one after the other; how long each took, in ms."""
    channel, took = await group(client), []
    while not uploading.done():
        began = time.perf_counter()
        await client.send(channel, "are you there?")
        took.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.02)
    return took


@pytest.mark.slow
@pytest.mark.timeout(280)
async def test_1_gib_through_three_cuts_a_killed_node_and_beside_messages(folder: Path) -> None:
    path = folder / "large.bin"
    digest = await asyncio.to_thread(made, path, 1024)
    settings = ("--workers", "2", "--set", "file_attachment_mib=1100")
    async with Service(folder, *settings) as service, Client(service.url) as client:
        await client.open(await client.call(AccountRegister(username="ann", password=Person.password)))
        watched = [psutil.Process(pid) for pid in service.workers()]
        before = {one.pid: one.memory_info().rss for one in watched}
        grown = 0

        async def watch() -> None:
            nonlocal grown
            while True:
                for one in watched:
                    if one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
                        grown = max(grown, one.memory_info().rss - before[one.pid])
                await asyncio.sleep(0.05)

        nodes: set[str] = set()

        def kill() -> None:
            """The node that is being written to."""
            nodes.add(client.hello.node)
            number = int(client.hello.node.rpartition("-")[2])
            psutil.Process(sorted(before)[number]).kill()

        cut = cutting(client, 250 * MIB, 500 * MIB, 750 * MIB, also=kill)
        watching = asyncio.create_task(watch())
        began = time.monotonic()
        uploading = asyncio.create_task(client.upload(path, on_progress=cut))
        took = await talk(client, uploading)
        file = await uploading
        seconds = time.monotonic() - began
        watching.cancel()
        nodes.add(client.hello.node)
        assert (file.hash, file.state) == (digest, "ready")
        assert len(nodes) == 2
        took.sort()
        p50, p99 = statistics.median(took), took[int(len(took) * 0.99)]
        print(
            f"\n1 GiB in {seconds:.1f} s, {1024 / seconds:.0f} MiB/s; memory grew by {grown / MIB:.1f} MiB; "
            f"{len(took)} messages beside it: p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {took[-1]:.0f} ms"
        )
        assert grown < 32 * MIB
        assert p50 < 100
        await client.download(file.id, folder / "again.bin")
        with (folder / "again.bin").open("rb") as again:
            assert hashlib.file_digest(again, "sha256").hexdigest() == digest
