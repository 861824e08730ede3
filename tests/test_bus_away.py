"""The bus while Redis is killed, frozen or late: it says so, stays small, and comes back by itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from storage.bus import Bus
from storage.redis_wire import MOST_UNCONFIRMED
from tests.valkey import Valkey


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    valkey = Valkey(tmp_path / "valkey")
    yield valkey
    valkey.kill()


class Talker:
    """A bus that follows two topics and hears one channel."""

    def __init__(self, url: str) -> None:
        self.bus, self.heard = Bus(url), list[bytes]()
        self.bus.on_topic = lambda topic, message: self.heard.append(topic + message)
        self.bus.subscribe("known", self.heard.append)

    async def start(self) -> None:
        await self.bus.start()
        self.bus.follow([b"a", b"b"])

    async def hears_everything(self) -> None:
        """All three ways work."""
        await until(lambda: self.bus.alive)
        assert await self.bus.settled()
        self.heard.clear()
        assert await self.bus.publish("known", b"c")
        for topic in (b"a", b"b"):
            self.bus.publish_soon(topic, b"!")
        await until(lambda: len(self.heard) == 3)
        assert sorted(self.heard) == [b"a!", b"b!", b"c"]


@pytest.fixture
async def talker(valkey: Valkey) -> AsyncIterator[Talker]:
    talker = Talker(valkey.url)
    yield talker
    await talker.bus.stop()


async def until(true: Callable[[], bool], seconds: float = 5) -> float:
    """Wait; the seconds it took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)
    return time.monotonic() - began


async def test_a_killed_redis_is_noticed_at_once_and_heard_again_when_it_is_back(
    valkey: Valkey, talker: Talker
) -> None:
    await valkey.start()
    await talker.start()
    await talker.hears_everything()
    valkey.kill()
    assert await until(lambda: not talker.bus.alive) < 0.9
    talker.bus.publish_soon(b"a", b"lost")
    assert not await talker.bus.publish("known", b"lost")
    talker.bus.unfollow([b"b"])
    talker.bus.follow([b"b", b"new"])
    assert talker.bus.dropped == 1
    assert not await talker.bus.settled()
    await valkey.start()
    assert await until(lambda: talker.bus.alive) < 2
    await talker.hears_everything()
    talker.bus.publish_soon(b"new", b"!")
    await until(lambda: b"new!" in talker.heard)
    assert talker.bus.dropped == 1


async def test_a_frozen_redis_is_noticed_in_a_second_and_heard_again_when_it_goes_on(
    valkey: Valkey, talker: Talker
) -> None:
    await valkey.start()
    await talker.start()
    await talker.hears_everything()
    valkey.freeze()
    talker.bus.publish_soon(b"a", b"unconfirmed")
    assert await until(lambda: not talker.bus.alive) < 2
    assert talker.bus.dropped == 1
    assert not await talker.bus.settled()
    await asyncio.sleep(0.5)
    assert not talker.bus.alive
    valkey.thaw()
    assert await until(lambda: talker.bus.alive) < 2.5
    await talker.hears_everything()


async def test_what_a_frozen_redis_does_not_take_is_bounded(valkey: Valkey, talker: Talker) -> None:
    await valkey.start()
    await talker.start()
    await talker.hears_everything()
    valkey.freeze()
    message, tried = bytes(10_000), 0
    while talker.bus.alive:
        for _ in range(100):
            talker.bus.publish_soon(b"a", message)
        tried += 100
        await asyncio.sleep(0.001)
    assert tried * len(message) > 3 * MOST_UNCONFIRMED
    assert talker.bus.dropped == tried
    talker.bus.publish_soon(b"a", message)
    assert talker.bus.dropped == tried + 1
    valkey.thaw()
    await talker.hears_everything()


async def test_a_burst_beyond_the_bound_is_dropped_and_the_rest_arrives(valkey: Valkey, talker: Talker) -> None:
    await valkey.start()
    await talker.start()
    await talker.hears_everything()
    talker.heard.clear()
    for number in range(30_000):
        talker.bus.publish_soon(b"a", b"%05d" % number + bytes(1000))
    dropped = talker.bus.dropped
    assert 30_000 - dropped == pytest.approx(MOST_UNCONFIRMED / 1060, rel=0.02)
    await until(lambda: len(talker.heard) == 30_000 - dropped)
    assert [int(one[1:6]) for one in talker.heard] == list(range(30_000 - dropped))
    talker.bus.publish_soon(b"b", b"!")
    await until(lambda: b"b!" in talker.heard)
    assert talker.bus.dropped == dropped


async def test_a_bus_that_starts_before_redis_finds_it_later(valkey: Valkey, talker: Talker) -> None:
    await talker.start()
    assert not talker.bus.alive
    assert not await talker.bus.publish("known", b"c")
    await valkey.start()
    assert await until(lambda: talker.bus.alive) < 3
    await talker.hears_everything()


async def test_being_late_ourselves_is_not_taken_for_an_absence(valkey: Valkey, talker: Talker) -> None:
    await valkey.start()
    await talker.start()
    await talker.hears_everything()
    for _ in range(2):
        time.sleep(1.3)
        assert talker.bus.alive
        with pytest.raises(TimeoutError):
            await until(lambda: not talker.bus.alive, 0.4)


async def test_one_lost_connection_is_an_absence_until_it_is_back(valkey: Valkey, talker: Talker) -> None:
    """Who publishes but does not hear, or the other way round, is not there."""
    await valkey.start()
    await talker.start()
    for kind in ("pubsub", "normal"):
        await talker.hears_everything()
        await valkey.ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        await until(lambda: not talker.bus.alive, 1)
    await talker.hears_everything()
