"""Which nodes live: each renews a lease in Redis once a second and reads there how many others do.

Rule 1: to believe oneself alone is the mistake that counts (nobody else hears of anything for a second), so
whatever may be Redis' forgetfulness is not believed at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

Script = Callable[[str, Sequence[str], Sequence[Any]], Awaitable[Any]]

_KEY = "nodes"
_SECONDS = 5
_DOUBTFUL_BEATS = 3

# One sorted set by the time of Redis' own clock. It outlives its members by a day, so that a Redis which is short of
# memory and gives up what expires first gives up other things.
_BEAT = """
local now = redis.call('TIME')
local t = tonumber(now[1]) + tonumber(now[2]) / 1e6
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', t - ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], t + ARGV[2], '+inf')
local new = redis.call('ZADD', KEYS[1], t, ARGV[1])
redis.call('EXPIRE', KEYS[1], 86400)
return {new, redis.call('ZCARD', KEYS[1]) - 1}
"""
_LEAVE = "return redis.call('ZREM', KEYS[1], ARGV[1])"


class Lease:
    """This process among the others."""

    def __init__(self, script: Script, greet: Callable[[], None]) -> None:
        self._script, self._greet = script, greet
        self._mine = secrets.token_hex(8)  # two machines may have one name
        self._ever = False
        self._doubtful = 0
        self.others = 0

    async def beat(self, node: str) -> None:
        """Live for another while, and count the others."""
        told = await self._script(_BEAT, [_KEY], [self._member(node), _SECONDS])
        if told is None:
            self.others = max(self.others, int(self._ever))
            return
        new, others = told
        if new:  # the first beat, or Redis has forgotten us, and then others as well
            self._doubtful = _DOUBTFUL_BEATS
            self._greet()
        self._doubtful -= self._doubtful > 0
        self._count(max(others, self.others) if self._doubtful else others)

    async def leave(self, node: str) -> None:
        """Say goodbye."""
        await self._script(_LEAVE, [_KEY], [self._member(node)])

    def met(self, who: bytes) -> None:
        """A new node has said that it is there."""
        if who != self.name:
            self._count(max(self.others, 1))

    @property
    def name(self) -> bytes:
        """What tells this process from every other one."""
        return self._mine.encode()

    def _count(self, others: int) -> None:
        self.others, self._ever = others, self._ever or others > 0

    def _member(self, node: str) -> str:
        return f"{node}/{self._mine}"
