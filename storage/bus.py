"""Redis: what one process tells the others, and counters they share.

Rule 1: Redis makes things fast or shared, never true: whoever uses the bus has another way when it is away.
Rule 2: losing Redis is silent on its side, so `alive` comes from asking it, once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

log = logging.getLogger("onesocket.bus")

Listener = Callable[[bytes], None]
_PREFIX = b"onesocket:"
_AT_ONCE = 20


class Bus:
    """This process's connection to Redis."""

    def __init__(self, url: str) -> None:
        import redis.asyncio as client
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError

        self._failed = (RedisError, OSError, TimeoutError)
        self._redis = client.from_url(url, socket_timeout=2.0, socket_connect_timeout=1.0, max_connections=_AT_ONCE + 4)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        # No silent reconnection: that this connection ended is how we learn at once that Redis went away.
        alone = client.from_url(url, socket_timeout=None, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0))
        self._subscription = alone.pubsub()
        self._listeners: dict[bytes, Listener] = {}
        self._task: asyncio.Task[None] | None = None
        self.alive = False

    async def start(self) -> None:
        """Connect and listen."""
        await self.check()
        if self._listeners:
            self._task = asyncio.create_task(self._listen(), name="bus")

    async def stop(self) -> None:
        """Disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for connection in (self._subscription, self._redis):
            with contextlib.suppress(*self._failed):
                await connection.aclose()

    async def check(self) -> bool:
        """Whether Redis answers."""
        try:
            async with asyncio.timeout(1.5):
                self.alive = bool(await self._redis.ping())
        except self._failed:
            self.alive = False
        return self.alive

    def subscribe(self, channel: str, listener: Listener) -> None:
        """Hear a channel; before `start`."""
        self._listeners[_PREFIX + channel.encode()] = listener

    async def publish(self, channel: str, message: bytes) -> bool:
        """Tell the other processes; whether Redis took it."""
        return await self._try(self._redis.publish, _PREFIX + channel.encode(), message) is not None

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
        values = await self._try(self._redis.mget, keys) if keys else None
        return {
            key.removeprefix(_PREFIX).decode(): value
            for key, value in zip(keys, values or (), strict=False)
            if value is not None
        }

    async def script(self, source: str, keys: Sequence[str], values: Sequence[Any]) -> Any:
        """Run Lua atomically; None when Redis is away."""
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

    async def _listen(self) -> None:
        while True:
            try:
                await self._subscription.subscribe(*self._listeners)
                async for message in self._subscription.listen():
                    if message["type"] == "message":
                        self._hear(message["channel"], message["data"])
            except self._failed:
                self.alive = False
                await asyncio.sleep(0.3)

    def _hear(self, channel: bytes, data: bytes) -> None:
        try:
            self._listeners[channel](data)
        except Exception:
            log.exception("a listener of %s failed", channel.decode())
