"""One measured run: a crew on a stage, watched second by second, and what came out in the keys that all share."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar

from bench.load import plan
from bench.load.crew import Crew, GeneratorFailed, crew
from bench.load.histogram import percentiles, summary
from bench.meter import Meter, Reading, between
from bench.report import FLAWS, Result
from bench.target import Target

T = TypeVar("T")
_LEAST = 0.5


@dataclass
class Point:
    """One second of a run."""

    at: float
    acked: float
    delivered: float
    ack_ms: list[float | None]
    delivery_ms: list[float | None]
    server: float | None
    postgres: float | None
    redis: float | None
    rss_mib: float | None


@dataclass
class Course:
    """A run from its first second to its last."""

    points: list[Point] = field(default_factory=list)
    totals: plan.Progress = field(default_factory=plan.Progress)


class Run:
    """A crew, and what measures it."""

    def __init__(self, target: Target, team: Crew) -> None:
        self.crew, self._meter = team, Meter(target, [hand.pid for hand in team.hands])
        self.course = Course()
        self.findings = plan.Findings()
        self._before = self._after = self._meter.read()
        self._seconds = 1.0

    async def measure(self, work: Awaitable[T], seconds: float | None = None) -> T:
        """Have work done and all of it delivered. `seconds`: how long it was offered; else how long it took counts."""
        async with self.crew.counting() as self.course.totals:
            self._before = self._meter.read()
            over = asyncio.Event()
            watching = asyncio.create_task(self._watch(over, seconds or inf))
            try:
                done = await work
                took = self._meter.read().at - self._before.at
                self.findings = await self.crew.settle()
                self._after = self._meter.read()
            finally:
                over.set()
                await watching
        self._seconds = seconds or took
        return done

    async def _watch(self, over: asyncio.Event, seconds: float) -> None:
        """Note a point each second, but none of what is left to come in when nothing is sent any more."""
        before = self._before
        while not over.is_set():
            async with self.crew.counting() as second:
                with suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), 1.0)
            now = self._meter.read()
            if now.at - before.at < _LEAST or now.at - self._before.at > seconds + _LEAST:
                return
            point = _point(now.at - self._before.at, second, before, now)
            self.course.points.append(point)
            before = now
            _tell(point)

    def server_us(self, count: int) -> float | None:
        """The server's CPU for each of so many things, in microseconds."""
        return _each(between(self._before.server, self._after.server), count)

    def figures(self, scenario: str) -> Result:
        """The result, in the keys that every scenario has."""
        return figures(scenario, self.course.totals, self.findings, self._before, self._after, self._seconds)


def figures(
    scenario: str, totals: plan.Progress, findings: plan.Findings, before: Reading, after: Reading, seconds: float
) -> Result:
    """What happened between two readings, in the keys that every scenario has."""
    passed = after.at - before.at
    server, postgres, redis = (
        between(before.server, after.server),
        between(before.postgres, after.postgres),
        between(before.redis, after.redis),
    )
    generators = [now - then for then, now in zip(before.generators, after.generators, strict=True)]
    return {
        "scenario": scenario,
        "acked_per_s": round(totals.acked / seconds),
        "delivered_per_s": round(totals.delivered / seconds),
        "server_us_per_message": _each(server, totals.acked),
        "server_us_per_delivery": _each(server, totals.delivered),
        "postgres_us_per_message": _each(postgres, totals.acked),
        "postgres_us_per_delivery": _each(postgres, totals.delivered),
        "redis_us_per_message": _each(redis, totals.acked),
        "redis_us_per_delivery": _each(redis, totals.delivered),
        "ack_ms": summary(totals.ack),
        "delivery_ms": summary(totals.delivery),
        "server_rss_mib": None if after.rss_mib is None else round(after.rss_mib, 1),
        **wrong(findings),
        "seconds": round(seconds, 2),
        "acked": totals.acked,
        "delivered": totals.delivered,
        "server_cpu_percent": None if server is None else round(100 * server / passed),
        "generator_cpu_percent": round(100 * max(generators) / passed),
    }


def wrong(findings: plan.Findings) -> Result:
    """What may not happen at all, in numbers; and the first of it in words."""
    numbers = {name: getattr(findings, name) for name in FLAWS}
    return numbers | ({"first_problem": findings.first_problem} if findings.first_problem else {})


@asynccontextmanager
async def running(target: Target, whole: plan.Plan, generators: int) -> AsyncIterator[Run]:
    """A crew with all its sockets open."""
    try:
        async with crew(whole, generators) as team:
            sys.stderr.write(f"sockets: {len(whole.seats):,}\n")
            await team.order(plan.Open())
            yield Run(target, team)
    except GeneratorFailed as error:
        raise SystemExit(f"the load could not be made: {error}") from None


def _each(seconds: float | None, count: int) -> float | None:
    return round(1e6 * seconds / count, 2) if seconds is not None and count else None


def _point(at: float, second: plan.Progress, before: Reading, now: Reading) -> Point:
    passed = now.at - before.at

    def busy(then: float | None, today: float | None) -> float | None:
        used = between(then, today)
        return None if used is None else 100 * used / passed

    return Point(
        at,
        second.acked / passed,
        second.delivered / passed,
        percentiles(second.ack, (0.5, 0.95)),
        percentiles(second.delivery, (0.5, 0.95)),
        busy(before.server, now.server),
        busy(before.postgres, now.postgres),
        busy(before.redis, now.redis),
        now.rss_mib,
    )


def _tell(point: Point) -> None:
    def shown(value: Any, unit: str) -> str:
        return "" if value is None else f"  {value:,.1f} {unit}"

    sys.stderr.write(
        f"{point.at:5.0f} s  {point.acked:8,.0f} acked/s  {point.delivered:9,.0f} delivered/s"
        f"{shown(point.ack_ms[1], 'ms ack p95')}{shown(point.delivery_ms[1], 'ms delivery p95')}"
        f"{shown(point.server, '% server')}{shown(point.postgres, '% postgres')}\n"
    )
