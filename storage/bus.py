"""Redis: what one process tells the others, and counters they share.

Channels are of two kinds: those known from the start, each with a listener, and topics, which are followed and
unfollowed while we run. Both belong to the database that the URL names.

Rule 1: Redis makes things fast or shared, never true: whoever uses the bus has another way when it is away.
Rule 2: losing Redis is silent on its side, so `alive` comes from asking it, several times a second.
Rule 3: a message may come twice, late or never, and a process hears its own: who hears drops what it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from storage.following import Following, Listener
from storage.lease import Lease
from storage.redis_address import address_of
from storage.redis_cluster import Cluster
from storage.redis_net import Events, Net
from storage.redis_wire import WireError, ask_once

log = logging.getLogger("onesocket.bus")

_PREFIX = b"onesocket:"
_AT_ONCE = 20
_NEW_NODE = "node"


class Bus:
    """This process's connections to Redis."""

    def __init__(self, url: str) -> None:
        import redis.asyncio as client
        from redis.exceptions import RedisClusterException, RedisError

        # uvloop says by RuntimeError that a connection was closed under somebody's hands
        self._failed = (RedisError, RedisClusterException, OSError, TimeoutError, RuntimeError)
        self._url, self._address = url, address_of(url)
        self._options = {"socket_timeout": 2.0, "socket_connect_timeout": 1.0, "max_connections": _AT_ONCE + 4}
        self._redis: Any = client.from_url(url, **self._options)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._following = Following(lambda: self._net)
        self._events = Events(self._hear, self._changed, self._following.renew, self._unconfirmed)
        self._net = Net(self._address, self._events)
        self._known = bool(self._address.path)  # behind a Unix socket there is one server
        self._channels, self._topics = (b"%b%d%b" % (_PREFIX, self._address.database, mark) for mark in (b":", b"/"))
        self._lease = Lease(self.script, self._greet)
        self._task: asyncio.Task[None] | None = None
        self._started = False
        self.alive = False
        self.dropped = 0  # messages that Redis has not confirmed
        self.on_topic: Callable[[bytes, bytes], None] = lambda topic, message: None
        self.subscribe(_NEW_NODE, self._lease.met)

    # Life

    async def start(self) -> None:
        """Connect and listen."""
        self._started = True
        await self.check()
        if self._known:
            await self._listen()
        else:
            self._task = asyncio.create_task(self._listen(), name="bus")

    async def _listen(self) -> None:
        while not self._known:
            await asyncio.sleep(0.5)
            await self.check()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.5):
                await self._net.start()
        self._changed()

    async def stop(self) -> None:
        """Disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._net.stop()
        with contextlib.suppress(*self._failed):
            await self._redis.aclose()

    async def check(self) -> bool:
        """Whether Redis answers."""
        try:
            async with asyncio.timeout(1.5):
                if not self._known:
                    await self._learn()
                answers = bool(await self._redis.ping())
        except self._failed:
            answers = False
        self.alive = answers and (self._net.whole or not self._started)
        return self.alive

    async def _learn(self) -> None:
        """Learn whether this is a cluster; who may not ask is told nothing that concerns a cluster."""
        try:
            cluster = b"cluster_enabled:1" in await ask_once(self._address, b"INFO", b"cluster")
        except WireError:
            await self._redis.ping()
            cluster = False
        if self._known:
            return
        if cluster:
            from redis.asyncio.cluster import RedisCluster

            self._redis = RedisCluster.from_url(self._url, **self._options)
            self._net = Cluster(self._address, self._events)
        self._known = True

    def _changed(self) -> None:
        """A connection came or went."""
        self.alive = self._net.whole

    # Telling and hearing

    def subscribe(self, channel: str, listener: Listener) -> None:
        """Hear a channel; before `start`."""
        self._following.wanted[self._channels + channel.encode()] = listener

    async def publish(self, channel: str, message: bytes) -> bool:
        """Tell the other processes; whether Redis took it."""
        name = self._channels + channel.encode()
        wire = self._net.asking(name)
        if wire is None:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                return isinstance(await wire.ask(self._packed(name, message)), int)
        return False

    def publish_soon(self, topic: bytes, message: bytes) -> None:
        """Tell whoever follows a topic, if that is possible now; what is not is counted in `dropped`."""
        channel = self._topics + topic
        wire = self._net.asking(channel)
        if wire is None or not wire.tell(self._packed(channel, message)):
            self.dropped += 1

    def follow(self, topics: Iterable[bytes]) -> None:
        """Hear these topics, too, from about now on: `on_topic` is called with what is published."""
        channels = {self._topics + topic: topic for topic in topics}
        self._following.wanted.update(channels)
        self._following.change(channels)

    def unfollow(self, topics: Iterable[bytes]) -> None:
        """Hear these no more, from now on, however often they were followed."""
        channels = [self._topics + topic for topic in topics]
        for channel in channels:
            self._following.wanted.pop(channel, None)
        self._following.change(channels)

    async def settled(self) -> bool:
        """Wait until what was followed and unfollowed so far is in force; whether it is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                return await self._following.settled()
        return False

    def _packed(self, channel: bytes, message: bytes) -> bytes:
        return b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n" % (self._net.publish_head, len(channel), channel, len(message), message)

    def _hear(self, channel: bytes, message: bytes) -> None:
        heard = self._following.wanted.get(channel)
        try:
            if isinstance(heard, bytes):
                self.on_topic(heard, message)
            elif heard is not None:
                heard(message)
        except Exception:
            log.exception("who hears %s failed", channel.decode(errors="replace"))

    def _unconfirmed(self, count: int) -> None:
        self.dropped += count

    # Who else is there

    @property
    def others(self) -> int:
        """How many other nodes live, as far as the last beat knows; 0: alone."""
        return self._lease.others

    async def beat(self, node: str) -> None:
        """Say that this node lives, once a second."""
        await self._lease.beat(node)

    async def leave(self, node: str) -> None:
        """Say that this node ends."""
        await self._lease.leave(node)

    def _greet(self) -> None:
        """Let the others know at once, so that they do not go on believing themselves alone until their next beat."""
        channel = self._channels + _NEW_NODE.encode()
        wire = self._net.asking(channel)
        if wire is not None:
            wire.tell(self._packed(channel, self._lease.name))

    # Keys

    async def keep(self, key: str, value: bytes, seconds: int) -> bool:
        """Store a value for a while."""
        return await self._try(self._redis.set, _PREFIX + key.encode(), value, seconds) is not None

    async def kept(self, prefix: str) -> dict[str, bytes]:
        """The values stored under keys with a prefix; bounded."""
        keys: list[bytes] = []
        with contextlib.suppress(*self._failed):
            async for key in self._redis.scan_iter(match=_PREFIX + prefix.encode() + b"*", count=500):
                keys.append(key)
                if len(keys) >= 500:
                    break
        many = getattr(self._redis, "mget_nonatomic", self._redis.mget)  # a cluster has them in several places
        values = await self._try(many, keys) if keys else None
        return {
            key.removeprefix(_PREFIX).decode(): value
            for key, value in zip(keys, values or (), strict=False)
            if value is not None
        }

    async def script(self, source: str, keys: Sequence[str], values: Sequence[Any]) -> Any:
        """Run Lua atomically; None when Redis is away. Several keys share a {tag}, or no cluster would have them."""
        if not self.alive:
            return None
        names = [_PREFIX + key.encode() for key in keys]
        return await self._try(self._redis.eval, source, len(names), *names, *values)

    async def _try(self, call: Callable[..., Any], *values: Any) -> Any:
        async with self._turns:  # whoever waits here waits for others: a crowd is not an absence
            if not self.alive:
                return None
            try:
                async with asyncio.timeout(2.0):
                    return await call(*values)
            except self._failed as error:
                self.alive = False
                log.warning("redis did not answer: %s", type(error).__name__)
                return None
