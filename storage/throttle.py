"""Attempts that count over all processes: logins, mails, guesses.

One script takes one use from several rates at once, or from none of them. When Redis is away the process's own
counters decide, so a missing Redis never opens the door.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from storage.bus import Bus

# For each key: the time at which it is even again. A use moves it by one interval; further ahead than the period: wait.
_TAKE = """
local now = redis.call('TIME')
local t = tonumber(now[1]) + tonumber(now[2]) / 1e6
local wait, even = 0, {}
for i, key in ipairs(KEYS) do
  local interval, period = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  even[i] = math.max(tonumber(redis.call('GET', key) or '0'), t) + interval
  wait = math.max(wait, even[i] - t - period)
end
if wait > 1e-6 then return tostring(wait) end
for i, key in ipairs(KEYS) do
  redis.call('SET', key, string.format('%.6f', even[i]), 'EX', math.ceil(even[i] - t) + 1)
end
return '0'
"""
_GIVE_BACK = """
for i, key in ipairs(KEYS) do
  local even = redis.call('GET', key)
  if even then redis.call('SET', key, string.format('%.6f', tonumber(even) - tonumber(ARGV[2 * i - 1])), 'KEEPTTL') end
end
return 1
"""


class Attempt(Struct, frozen=True):
    """One rate that an attempt counts against: `count` uses of `key` within `period` seconds."""

    key: str
    count: float
    period: float

    @property
    def interval(self) -> float:
        """Seconds that one use costs."""
        return self.period / self.count


async def take(bus: Bus, attempts: Sequence[Attempt]) -> float | None:
    """Seconds to wait (0: counted), or None when Redis is away."""
    answer = await bus.script(_TAKE, _keys(attempts), _values(attempts))
    return None if answer is None else float(answer)


async def give_back(bus: Bus, attempts: Sequence[Attempt]) -> None:
    """The attempt was rightful: it does not count."""
    await bus.script(_GIVE_BACK, _keys(attempts), _values(attempts))


def _keys(attempts: Sequence[Attempt]) -> list[str]:
    """The tag keeps all of them on one node of a cluster: what is counted together has to be."""
    return [f"{{attempt}}:{one.key}" for one in attempts]


def _values(attempts: Sequence[Attempt]) -> list[float]:
    return [value for one in attempts for value in (one.interval, one.period)]
