"""The bus: Redis makes things fast or shared, never true."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.bus import Bus
from storage.embedded import Embedded


@pytest.fixture
async def redis(folder: Path) -> AsyncIterator[Embedded]:
    embedded = Embedded(folder, postgres=False)
    await embedded.start()
    yield embedded
    await embedded.stop()


async def heard_again(bus: Bus, heard: list[bytes], message: bytes) -> None:
    """Publish until it is heard."""
    async with asyncio.timeout(10):
        while message not in heard:
            await bus.check()
            await bus.publish("news", message)
            await asyncio.sleep(0.05)


async def test_after_redis_was_killed_messages_are_heard_again(redis: Embedded) -> None:
    bus, heard = Bus(redis.redis_url), list[bytes]()
    bus.subscribe("news", heard.append)
    await bus.start()
    await heard_again(bus, heard, b"before")
    [(_, where)] = redis.describe()
    os.kill(int(re.findall(r"pid (\d+)", where)[0]), signal.SIGKILL)
    async with asyncio.timeout(5):
        while bus.alive:
            await asyncio.sleep(0.01)
    await heard_again(bus, heard, b"after")
    await bus.stop()


async def test_without_redis_every_call_says_so_quickly(tmp_path: Path) -> None:
    bus = Bus(f"unix://{tmp_path}/nobody.sock")
    await bus.start()
    async with asyncio.timeout(2):
        assert not await bus.publish("news", b"x")
        assert not await bus.keep("key", b"x", 5)
        assert await bus.kept("k") == {}
        assert await bus.script("return 1", [], []) is None
    await bus.stop()


async def test_what_is_kept_is_found_by_prefix(redis: Embedded) -> None:
    bus = Bus(redis.redis_url)
    await bus.start()
    for name in ("a:1", "a:2", "b:1"):
        await bus.keep(name, name.encode(), 30)
    assert await bus.kept("a:") == {"a:1": b"a:1", "a:2": b"a:2"}
    await bus.stop()


async def test_a_failing_listener_does_not_deafen_the_others(redis: Embedded) -> None:
    bus, heard = Bus(redis.redis_url), list[bytes]()

    def fail(data: bytes) -> None:
        raise ValueError(data)

    bus.subscribe("broken", fail)
    bus.subscribe("news", heard.append)
    await bus.start()
    await bus.publish("broken", b"x")
    await heard_again(bus, heard, b"news")
    await bus.stop()
