"""How often: rates per socket, per account and per address.

One algorithm everywhere, GCRA: a single number per key, the time at which the key is "even" again. A request moves it
forward by one interval; when it lies further ahead than the burst allows, the answer is how long to wait.
Rule: a key that has become even again is forgotten, so memory is bounded by what happens within one period.
"""

from __future__ import annotations

import re
import time
from math import ceil
from typing import TYPE_CHECKING

from msgspec import Struct

from protocol.error import RateLimited

if TYPE_CHECKING:
    from server.context import Context

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SWEEP_ABOVE = 10_000


def as_told(wait: float) -> float:
    """Seconds to wait as a client is told: a hundredth too many rather than one too few."""
    return ceil(wait * 100) / 100


class Rate(Struct, frozen=True):
    """`count` within `period` seconds, all of which may come at once."""

    count: float
    period: float

    @classmethod
    def parse(cls, text: str) -> Rate:
        """`20/10s`, `5/15m`, `100/h`."""
        found = re.fullmatch(r"(\d+)/(\d*)([smhd])", text)
        if found is None:
            raise ValueError(f"{text!r} is no rate: write 20/10s")
        return cls(float(found[1]), float(found[2] or 1) * _UNITS[found[3]])

    @property
    def interval(self) -> float:
        """Seconds that one use costs."""
        return self.period / self.count


class Limiter:
    """Rates of one process, by (op, account or address)."""

    def __init__(self, scale: float = 1.0) -> None:
        self._scale, self._sweep_at = scale, _SWEEP_ABOVE
        self._even: dict[tuple[str, object], float] = {}

    def take(self, rate: Rate, name: str, ctx: Context) -> None:
        """Count one use, or refuse it with the time to wait."""
        wait = self.wait(rate, name, ctx.session.account if ctx.session else ctx.address)
        if wait > 0:
            raise RateLimited(retry_after=as_told(wait))

    def wait(self, rate: Rate, name: str, who: object) -> float:
        """Seconds to wait: 0 when the use is within the rate, and then it is counted."""
        now, interval = time.monotonic(), rate.interval / self._scale
        even = max(self._even.get((name, who), now), now) + interval
        ahead = even - now - rate.period
        if ahead > 1e-9:
            return ahead
        if len(self._even) >= self._sweep_at:
            self._even = {key: at for key, at in self._even.items() if at > now}
            self._sweep_at = max(_SWEEP_ABOVE, 2 * len(self._even))
        self._even[(name, who)] = even
        return 0.0

    def give_back(self, rate: Rate, name: str, who: object) -> None:
        """Take a use back that turned out to be harmless."""
        key = (name, who)
        if key in self._even:
            self._even[key] -= rate.interval / self._scale
