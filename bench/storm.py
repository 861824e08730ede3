"""Many clients come back at once and get what they missed, while others go on talking.

Each client has missed the same number of messages in its channel. `resume_s` is the time from the first attempt to
connect until the last client has everything; `live_p95_ms` is how late messages came to those who had stayed,
from that moment to that. With `--cold` they come back to a second server with the same databases, which has never
heard of their channels and reads what they missed from PostgreSQL; those who had stayed stay at the first.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bench import report, stage, traffic
from bench.load.histogram import percentiles, summary
from bench.load.plan import Leave, Progress, Return, Stop, Talk
from bench.meter import between, facts_fetched
from bench.run import Course, Run, running
from bench.target import Target, beside

_STEADY = 2
_DEPTH = 4
_LONGEST = 600.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    traffic.add_crew_options(parser)
    parser.add_argument("--clients", type=int, default=1000, help="how many come back (default 1000)")
    parser.add_argument("--channels", type=int, default=100, help="in how many channels (default 100)")
    parser.add_argument("--gap", type=int, default=100, help="messages that each has missed (default 100)")
    parser.add_argument("--rate", type=float, default=100.0, help="messages a second meanwhile (default 100)")
    parser.add_argument("--cold", action="store_true", help="come back to a second server that has just started")
    parser.add_argument("--max-resume-s", type=float, default=10.0, help="how long it may take (default 10)")
    parser.add_argument("--max-live-p95-ms", type=float, default=200.0, help="what others may notice (default 200)")


def run(options: argparse.Namespace) -> int:
    """Measure; the exit code."""
    limits = [
        report.Limit("resume_s", options.max_resume_s),
        report.Limit("live_p95_ms", options.max_live_p95_ms),
    ]
    return traffic.perform(options, measure, limits)


async def measure(server: Target, options: argparse.Namespace) -> tuple[report.Result, Course]:
    """Let them leave, let others talk, let them come back."""
    with _returning(server, options.cold) as (back, everything):
        return await _measure(server.url, back, everything, options)


@contextmanager
def _returning(server: Target, cold: bool) -> Iterator[tuple[str, Target]]:
    """Where they come back to, and all that is to be measured."""
    if cold:
        with beside(server) as second:
            yield second.url, replace(server, workers=server.workers + second.workers)
    else:
        yield server.url, server


async def _measure(
    url: str, back: str, everything: Target, options: argparse.Namespace
) -> tuple[report.Result, Course]:
    each = max(1, options.clients // options.channels)
    plan = await stage.rooms(url, options.channels, each + _STEADY, 1, storm=each)
    async with running(everything, plan, options.generators) as one:
        await one.crew.order(Leave())
        await one.crew.order(Talk(_LONGEST, _DEPTH, each=options.gap))
        talking = asyncio.create_task(one.crew.order(Talk(_LONGEST, rate=options.rate)))
        await asyncio.sleep(1.0)
        fetched = await asyncio.to_thread(facts_fetched, back)
        took, storm = await one.measure(_storm(one, back, talking))
        about = {
            "clients": each * options.channels,
            "gap": options.gap,
            "cold": options.cold,
            "rate": options.rate,
            "resume_s": round(took, 2),
            "resume_ms": summary(storm.resume),
            "resumed": sum(storm.resume.values()),
            "server_us_per_resume": one.server_us(sum(storm.resume.values())),
            "live_p95_ms": percentiles(storm.delivery, (0.95,))[0],
            "fetched": between(fetched, await asyncio.to_thread(facts_fetched, back)),
            "workers": len(everything.workers),
        }
        return one.figures("storm") | about, one.course


async def _storm(one: Run, back: str, talking: asyncio.Task[object]) -> tuple[float, Progress]:
    """How long it took, and what happened meanwhile."""
    async with one.crew.counting() as storm:
        since = time.monotonic()
        await one.crew.order(Return(back))
        took = time.monotonic() - since
    await one.crew.order(Stop())
    await talking
    return took, storm
