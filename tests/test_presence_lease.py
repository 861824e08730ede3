"""presence: who is on which node, as nodes tell each other in Redis, on one server and on a cluster."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from storage.bus import Bus
from storage.presence import Leases
from tests.valkey import Valkey, ValkeyCluster


@pytest.fixture(params=["one server", "a cluster"])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    place = Valkey(tmp_path / "one") if request.param == "one server" else ValkeyCluster(tmp_path, 3)
    await place.start()
    bus = Bus(place.url if isinstance(place, Valkey) else place.nodes[0].url)
    await bus.start()
    yield bus
    await bus.stop()
    place.kill()


async def node(bus: Bus, *accounts: UUID, seconds: int = 30) -> Leases:
    leases = Leases(bus.script, seconds)
    assert await leases.renew()
    assert await leases.fill(accounts)
    return leases


async def test_who_is_on_another_node_is_found_from_each(bus: Bus) -> None:
    people = [uuid4() for _ in range(2500)]
    here, there = await node(bus), await node(bus, *people[:2400])
    assert await here.elsewhere(people) == set(people[:2400])
    assert await there.elsewhere(people) == set(), "one's own are no others"
    await there.change(people[2400:], people[:100])
    assert await here.elsewhere(people) == set(people[100:])
    third = await node(bus, people[0])
    assert await here.elsewhere(people[:2]) == {people[0]}, "a node that nobody knew"
    assert await third.elsewhere(people[:101]) == {people[100]}
    await there.drop()
    assert await here.elsewhere(people) == {people[0]}


async def test_a_lease_ends_by_itself(bus: Bus) -> None:
    account = uuid4()
    here, dying = await node(bus), await node(bus, account, seconds=2)
    assert await here.elsewhere([account]) == {account}
    assert await here.renew()
    assert here.others
    async with asyncio.timeout(5):
        while await here.elsewhere([account]):
            await asyncio.sleep(0.05)
        await here.renew()
        assert not here.others
        while await bus.script("return redis.call('EXISTS', KEYS[1])", [f"{{presence}}:{dying.name}"], []):
            await asyncio.sleep(0.05)
    assert await dying.renew()
    assert not dying.whole, "what it had told is gone"


async def test_who_fills_its_set_anew_forgets_whom_it_does_not_have(bus: Bus) -> None:
    old, new = uuid4(), uuid4()
    here, there = await node(bus), await node(bus, old)
    assert await there.fill([new])
    assert await here.elsewhere([old, new]) == {new}


async def test_without_redis_there_is_no_answer_and_nothing_is_believed_to_be_told(tmp_path: Path) -> None:
    bus = Bus(f"unix://{tmp_path}/nobody.sock")
    await bus.start()
    leases = Leases(bus.script, 30)
    assert not await leases.renew()
    assert not await leases.fill([uuid4()])
    await leases.change([uuid4()], [])
    assert not leases.whole
    assert await leases.elsewhere([uuid4()]) is None
    await bus.stop()
