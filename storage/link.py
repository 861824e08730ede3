"""link: previews of pages, remembered in Redis for a while, under hashes of their URLs.

Rule: at most so many are kept; the oldest go. Without Redis nothing is remembered, and pages are asked again.
"""

from __future__ import annotations

import hashlib

from storage.bus import Bus

MOST = 5000

# The tag keeps all of them on one node of a cluster, so that they can be counted.
_INDEX = "{link}"
_KNOWN = "return redis.call('GET', KEYS[1])"
_REMEMBER = """
local now = tonumber(redis.call('TIME')[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), KEYS[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 1)
local many = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[3])
if many > 0 then
  local first = redis.call('ZPOPMIN', KEYS[2], many)
  for i = 1, #first, 2 do redis.call('DEL', first[i]) end
end
redis.call('EXPIRE', KEYS[2], 86400)
return 1
"""


async def known(bus: Bus, url: str) -> bytes | None:
    """What was remembered of a URL."""
    found: bytes | None = await bus.script(_KNOWN, [_key(url)], [])
    return found


async def remember(bus: Bus, url: str, value: bytes, seconds: int, most: int = MOST) -> None:
    """Keep it for a while; of all that are kept, those that would end first go."""
    await bus.script(_REMEMBER, [_key(url), _INDEX], [value, seconds, most])


def _key(url: str) -> str:
    return f"{_INDEX}:{hashlib.sha256(url.encode()).hexdigest()}"
