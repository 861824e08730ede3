"""Windows: how much of something there was in the last seconds, counted over all processes.

The same use again, by its name, is counted once. Without Redis the process's own windows decide.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence

from msgspec import Struct

from protocol.parts import parts
from storage.bus import Bus

_COUNT = """
local now = redis.call('TIME')
local t = tonumber(now[1]) + tonumber(now[2]) / 1e6
local found = {}
for i, key in ipairs(KEYS) do
  local seconds = tonumber(ARGV[2 * i - 1])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', t - seconds)
  redis.call('ZADD', key, 'NX', t, ARGV[2 * i])
  redis.call('ZREMRANGEBYRANK', key, 0, -202)
  redis.call('EXPIRE', key, seconds + 1)
  local sum = 0
  for _, use in ipairs(redis.call('ZRANGE', key, 0, -1)) do sum = sum + tonumber(string.match(use, '%d+$')) end
  found[i] = sum
end
return found
"""
_AT_ONCE, _KEPT, _OF_ONE = 500, 10_000, 200
_PATIENCE = 0.25


class Use(Struct, frozen=True):
    """`weight` of something by the name `name`, in the window `key` of so many seconds."""

    key: str
    seconds: int
    name: str
    weight: int = 1


class Windows:
    """Counts uses."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._own: OrderedDict[str, dict[str, tuple[float, int]]] = OrderedDict()

    async def count(self, uses: Sequence[Use]) -> list[int]:
        """Count each, and say how much there is in its window with it."""
        return [total for some in parts(uses, _AT_ONCE) for total in await self._count(some)]

    async def _count(self, uses: Sequence[Use]) -> Sequence[int]:
        keys = [f"{{window}}:{use.key}" for use in uses]
        values = [value for use in uses for value in (use.seconds, f"{use.name}:{use.weight}")]
        try:
            async with asyncio.timeout(_PATIENCE):
                found: Sequence[int] | None = await self._bus.script(_COUNT, keys, values)
        except TimeoutError:
            found = None
        return [self._count_here(use) for use in uses] if found is None else found

    def _count_here(self, use: Use) -> int:
        now = time.monotonic()
        known = self._own.pop(use.key, {})
        kept = {name: one for name, one in known.items() if one[0] > now - use.seconds}
        kept.setdefault(use.name, (now, use.weight))
        self._own[use.key] = dict(list(kept.items())[-_OF_ONE:])
        while len(self._own) > _KEPT:
            self._own.popitem(last=False)
        return sum(weight for _, weight in self._own[use.key].values())
