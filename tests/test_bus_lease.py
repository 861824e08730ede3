"""Leases: a node knows how many others live."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from storage.bus import Bus
from tests.valkey import Valkey

Opener = Callable[[], Awaitable[Bus]]


@pytest.fixture
async def node(redis_url: str) -> AsyncIterator[Opener]:
    """Starts buses; who wants to live has to beat."""
    buses: list[Bus] = []

    async def begin() -> Bus:
        buses.append(Bus(redis_url))
        await buses[-1].start()
        return buses[-1]

    yield begin
    for bus in buses:
        await bus.stop()


async def until(true: Callable[[], bool], bus: Bus | None = None, seconds: float = 8) -> float:
    """Wait, beating if a bus is given; the seconds it took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not true():
            if bus is not None:
                await bus.beat("ann")
            await asyncio.sleep(0.02)
    return time.monotonic() - began


async def test_one_node_is_alone(node: Opener) -> None:
    ann = await node()
    for _ in range(3):
        await ann.beat("ann")
        assert ann.others == 0


async def test_nodes_count_each_other_even_if_they_have_the_same_name(node: Opener) -> None:
    ann, bob, eve = await node(), await node(), await node()
    for _ in range(2):
        for one in (ann, bob, eve):
            await one.beat("worker-0")
    assert [one.others for one in (ann, bob, eve)] == [2, 2, 2]


async def test_a_newcomer_is_known_before_the_next_beat(node: Opener) -> None:
    ann, bob = await node(), await node()
    await ann.beat("ann")
    assert ann.others == 0
    await bob.beat("bob")
    assert bob.others == 1
    await until(lambda: ann.others == 1)


async def test_who_leaves_is_gone_at_the_next_beat(node: Opener) -> None:
    ann, bob = await node(), await node()
    await bob.beat("bob")
    for _ in range(4):
        await ann.beat("ann")
    assert ann.others == 1
    await bob.leave("bob")
    await ann.beat("ann")
    assert ann.others == 0


async def test_who_dies_without_a_goodbye_is_gone_in_six_seconds(node: Opener) -> None:
    ann, bob = await node(), await node()
    for _ in range(3):
        await bob.beat("bob")
        await ann.beat("ann")
    await bob.stop()
    assert 4 < await until(lambda: ann.others == 0, ann) < 6


async def test_without_redis_nobody_who_had_company_believes_to_be_alone(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path / "valkey")
    ann, bob = Bus(valkey.url), Bus(valkey.url)
    try:
        await valkey.start()
        for one in (ann, bob):
            await one.start()
        await bob.beat("bob")
        for _ in range(4):
            await ann.beat("ann")
        await bob.leave("bob")
        await ann.beat("ann")
        assert ann.others == 0
        valkey.kill()
        await ann.beat("ann")
        assert ann.others == 1, "who knows who is there now"
        await valkey.start()
        await until(lambda: ann.alive)
        await ann.beat("ann")
        assert ann.others == 1, "Redis began empty: the others have not had the time to say that they live"
        await until(lambda: ann.others == 0, ann, 1)
    finally:
        for one in (ann, bob):
            await one.stop()
        valkey.kill()
