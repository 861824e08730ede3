"""The bus on a cluster of three masters: each channel lives where its slot is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from storage import throttle
from storage.bus import Bus
from storage.redis_cluster import slot_of
from storage.throttle import Attempt
from tests.valkey import ValkeyCluster

TOPICS = [b"topic %d" % number for number in range(300)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    folder: Path = tmp_path_factory.mktemp("cluster")
    cluster = ValkeyCluster(folder, 3)
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(cluster.start())
        yield cluster
    finally:
        cluster.kill()
        loop.close()


@pytest.fixture
async def buses(cluster: ValkeyCluster) -> AsyncIterator[list[Bus]]:
    """Two of them, which came in by different doors."""
    buses = [Bus(node.url) for node in cluster.nodes[:2]]
    for bus in buses:
        await bus.start()
        assert bus.alive
    yield buses
    for bus in buses:
        await bus.stop()


async def until(true: Callable[[], bool], seconds: float = 8) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


async def reaches(ann: Bus, bob: Bus, topic: bytes) -> None:
    """Publish until it is heard."""
    heard: list[bytes] = []
    bob.on_topic = lambda topic, message: heard.append(topic)
    async with asyncio.timeout(8):
        while topic not in heard:
            ann.publish_soon(topic, b"")
            await asyncio.sleep(0.02)


def test_slots_are_those_of_the_specification() -> None:
    assert slot_of(b"123456789") == 0x31C3 % 16384
    assert slot_of(b"{user1000}.following") == slot_of(b"{user1000}.followers") == slot_of(b"user1000")
    assert slot_of(b"foo{}{bar}") != slot_of(b"bar")
    assert slot_of(b"foo{{bar}}zap") == slot_of(b"{bar")
    assert slot_of(b"foo{bar") != slot_of(b"bar")


async def test_topics_of_all_masters_are_heard_in_order(buses: list[Bus], cluster: ValkeyCluster) -> None:
    ann, bob = buses
    heard: dict[bytes, list[bytes]] = {topic: [] for topic in TOPICS}
    bob.on_topic = lambda topic, message: heard[topic].append(message)
    bob.follow(TOPICS)
    assert await bob.settled()
    shares = [len(await node.ask("PUBSUB", "SHARDCHANNELS", "*")) for node in cluster.nodes]
    assert min(shares) > 50
    for number in range(10):
        for topic in TOPICS:
            ann.publish_soon(topic, b"%d" % number)
    await until(lambda: sum(map(len, heard.values())) == 3000)
    assert all(messages == [b"%d" % number for number in range(10)] for messages in heard.values())
    bob.unfollow(TOPICS[1:])
    assert await bob.settled()
    assert sum([len(await node.ask("PUBSUB", "SHARDCHANNELS", "*/*")) for node in cluster.nodes]) == 1


async def test_thousands_of_topics_at_once(buses: list[Bus]) -> None:
    ann, bob = buses
    topics, heard = [b"%d" % number for number in range(5000)], set[bytes]()
    bob.on_topic = lambda topic, message: heard.add(topic)
    bob.follow(topics)
    assert await bob.settled()
    for topic in topics:
        ann.publish_soon(topic, b"")
    await until(lambda: len(heard) == 5000)


async def test_known_channels_keys_counters_and_leases_work(buses: list[Bus], cluster: ValkeyCluster) -> None:
    ann, bob = buses
    for number in range(5):
        assert await ann.keep(f"key:{number}", b"x", 30)
    assert len(await bob.kept("key:")) == 5
    attempts = [Attempt(f"login:{number}", 2, 900.0) for number in range(5)]
    waits = [await throttle.take(bus, attempts) for bus in (ann, bob, ann)]
    assert waits[:2] == [0, 0]
    assert waits[2] == pytest.approx(450, abs=5)
    await throttle.give_back(bob, attempts)
    assert await throttle.take(bob, attempts) == 0
    for bus in (ann, bob, ann):
        await bus.beat("node")
    assert (ann.others, bob.others) == (1, 1)
    carl, heard = Bus(cluster.nodes[2].url), list[bytes]()
    carl.subscribe("known", heard.append)
    await carl.start()
    await until(lambda: carl.alive)
    await carl.settled()
    assert await ann.publish("known", b"x")
    await until(lambda: heard == [b"x"])
    await carl.stop()


async def moved(cluster: ValkeyCluster, slot: int) -> None:
    """Give a slot to somebody else, when nobody asks for the layout any more as they do after the start."""
    await asyncio.sleep(0.6)
    before = await cluster.owner(slot)
    await cluster.move(slot, next(node for node in cluster.nodes if node is not before))


async def test_who_hears_a_topic_follows_its_slot(buses: list[Bus], cluster: ValkeyCluster) -> None:
    ann, bob = buses
    bob.follow(TOPICS)
    await reaches(ann, bob, TOPICS[0])
    await moved(cluster, slot_of(bob._topics + TOPICS[0]))
    carl = Bus(cluster.nodes[0].url)
    await carl.start()
    for topic in TOPICS[:20]:
        await reaches(carl, bob, topic)
    assert bob.alive
    await carl.stop()


async def test_who_publishes_to_a_topic_follows_its_slot(buses: list[Bus], cluster: ValkeyCluster) -> None:
    ann, bob = buses
    bob.follow(TOPICS)
    await reaches(ann, bob, TOPICS[1])
    await moved(cluster, slot_of(bob._topics + TOPICS[1]))
    carl = Bus(cluster.nodes[0].url)
    await carl.start()
    carl.follow(TOPICS)
    for topic in TOPICS[:20]:
        await reaches(ann, carl, topic)
    assert ann.alive
    assert ann.dropped > 0, "what went to the wrong node"
    await carl.stop()


async def test_a_lost_master_is_an_absence_until_it_is_back(buses: list[Bus], cluster: ValkeyCluster) -> None:
    ann, bob = buses
    bob.follow(TOPICS)
    await bob.settled()
    node = cluster.nodes[0]
    slots = {topic: slot_of(bob._topics + topic) for topic in TOPICS}
    [theirs, *_] = [topic for topic in TOPICS if await cluster.owner(slots[topic]) is node]
    [others, *_] = [topic for topic in TOPICS if await cluster.owner(slots[topic]) is not node]
    node.kill()
    await until(lambda: not (ann.alive or bob.alive), 1)
    await reaches(ann, bob, others)
    await cluster.move(slots[theirs], cluster.nodes[1], ask=cluster.nodes[1:])
    await reaches(ann, bob, theirs)
    assert not ann.alive, "other slots are nowhere"
    await node.start()
    await until(lambda: ann.alive and bob.alive)
    await reaches(ann, bob, theirs)
