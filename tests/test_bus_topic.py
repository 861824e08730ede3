"""Topics of the bus: followed and unfollowed while it runs, cheap to publish to."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from storage.bus import Bus


class Ear:
    """A started bus, and what it has heard of its topics."""

    def __init__(self, url: str) -> None:
        self.bus = Bus(url)
        self.heard: list[tuple[bytes, bytes]] = []
        self.bus.on_topic = lambda topic, message: self.heard.append((topic, message))

    async def follow(self, *topics: bytes) -> None:
        self.bus.follow(topics)
        assert await self.bus.settled()

    async def hears(self, topic: bytes, message: bytes) -> None:
        async with asyncio.timeout(5):
            while (topic, message) not in self.heard:
                await asyncio.sleep(0.005)


Opener = Callable[..., Awaitable[Ear]]


@pytest.fixture
async def ear(redis_url: str) -> AsyncIterator[Opener]:
    ears: list[Ear] = []

    async def begin(query: str = "") -> Ear:
        one = Ear(redis_url + query)
        ears.append(one)
        await one.bus.start()
        assert one.bus.alive
        return one

    yield begin
    for one in ears:
        await one.bus.stop()


async def test_a_followed_topic_is_heard_by_everyone_who_follows_it_also_by_its_publisher(ear: Opener) -> None:
    ann, bob, eve = await ear(), await ear(), await ear()
    for one in (ann, bob):
        await one.follow(b"news")
    await eve.follow(b"other")
    ann.bus.publish_soon(b"news", b"\x00\xff\r\n")
    ann.bus.publish_soon(b"other", b"end")
    for one in (ann, bob):
        await one.hears(b"news", b"\x00\xff\r\n")
    await eve.hears(b"other", b"end")
    assert eve.heard == [(b"other", b"end")]
    assert ann.heard == [(b"news", b"\x00\xff\r\n")]


async def test_nothing_is_heard_after_unfollow_even_of_what_is_under_way(ear: Opener) -> None:
    ann, bob = await ear(), await ear()
    await bob.follow(b"news", b"end")
    first: list[bytes] = []

    def once(topic: bytes, message: bytes) -> None:
        bob.heard.append((topic, message))
        if topic == b"news":
            first.append(message)
            bob.bus.unfollow([b"news"])

    bob.bus.on_topic = once
    for number in range(1000):
        ann.bus.publish_soon(b"news", b"%d" % number)
    ann.bus.publish_soon(b"end", b"")
    await bob.hears(b"end", b"")
    assert first == [b"0"]


async def test_redis_is_told_of_an_unfollow(ear: Opener, redis_url: str) -> None:
    ann, bob = await ear(), await ear()
    await bob.follow(b"news")
    assert await subscribers(redis_url, ann.bus, b"news") == 1
    bob.bus.unfollow([b"news"])
    assert await bob.bus.settled()
    assert await subscribers(redis_url, ann.bus, b"news") == 0


async def subscribers(url: str, bus: Bus, topic: bytes) -> int:
    import redis.asyncio

    client = redis.asyncio.from_url(url)
    [(_, count)] = await client.pubsub_numsub(bus._topics + topic)
    await client.aclose()
    return int(count)


async def test_the_last_wish_of_a_turn_counts(ear: Opener) -> None:
    ann, bob = await ear(), await ear()
    await bob.follow(b"kept", b"gone")
    for _ in range(3):
        bob.bus.unfollow([b"kept", b"gone"])
        bob.bus.follow([b"kept", b"gone", b"late"])
    bob.bus.unfollow([b"gone"])
    assert await bob.bus.settled()
    for topic in (b"gone", b"kept", b"late"):
        ann.bus.publish_soon(topic, b"x")
    await bob.hears(b"late", b"x")
    assert bob.heard == [(b"kept", b"x"), (b"late", b"x")]


async def test_thousands_of_topics_at_once(ear: Opener) -> None:
    ann, bob = await ear(), await ear()
    topics = [b"topic %d" % number for number in range(5000)]
    await bob.follow(*topics)
    for topic in topics:
        ann.bus.publish_soon(topic, b"x")
    await bob.hears(topics[-1], b"x")
    assert bob.heard == [(topic, b"x") for topic in topics]
    bob.bus.unfollow(topics[1:])
    assert await bob.bus.settled()
    bob.heard.clear()
    for topic in reversed(topics):
        ann.bus.publish_soon(topic, b"y")
    await bob.hears(topics[0], b"y")
    assert bob.heard == [(topics[0], b"y")]


async def test_each_publishers_messages_of_a_topic_stay_in_order(ear: Opener) -> None:
    publishers, bob = [await ear() for _ in range(3)], await ear()
    topics = [b"a", b"b", b"c"]
    await bob.follow(*topics)
    for number in range(2000):
        for who, publisher in enumerate(publishers):
            publisher.bus.publish_soon(topics[number % 3], b"%d %d" % (who, number))
        if number % 7 == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while len(bob.heard) < 6000:
            await asyncio.sleep(0.01)
    rows: defaultdict[tuple[bytes, bytes], list[int]] = defaultdict(list)
    for topic, message in bob.heard:
        who, number = message.split()
        rows[topic, who].append(int(number))
    assert len(rows) == 9
    assert all(row == sorted(row) for row in rows.values())
    assert [publisher.bus.dropped for publisher in publishers] == [0, 0, 0]


async def test_databases_of_one_redis_do_not_hear_each_other(ear: Opener) -> None:
    ann, bob, eve = await ear("?db=3"), await ear("?db=3"), await ear("?db=4")
    for one in (bob, eve):
        await one.follow(b"news")
    ann.bus.publish_soon(b"news", b"three")
    await bob.hears(b"news", b"three")
    eve.bus.publish_soon(b"news", b"four")
    await eve.hears(b"news", b"four")
    assert (bob.heard, eve.heard) == ([(b"news", b"three")], [(b"news", b"four")])
    assert await ann.bus.keep("key", b"x", 5)
    assert (await bob.bus.kept("k"), await eve.bus.kept("k")) == ({"key": b"x"}, {})


async def test_a_failing_receiver_does_not_deafen(ear: Opener, caplog: pytest.LogCaptureFixture) -> None:
    ann, bob = await ear(), await ear()

    def fail_once(topic: bytes, message: bytes) -> None:
        if message == b"bad":
            raise ValueError(message)
        bob.heard.append((topic, message))

    bob.bus.on_topic = fail_once
    await bob.follow(b"news")
    for message in (b"bad", b"good"):
        ann.bus.publish_soon(b"news", message)
    await bob.hears(b"news", b"good")
    assert "failed" in caplog.text
