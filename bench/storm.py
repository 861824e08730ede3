"""Many clients come back at once and get what they missed, while others go on talking.

Each client has missed the same number of messages in its channel. `resume_s` is the time from the first attempt to
connect until the last client has everything; `live_p95_ms` is how late messages came to those who had stayed,
from that moment to that.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from bench import process, report, runner, stage, traffic
from bench.load.histogram import percentiles, summary
from bench.load.plan import Leave, Progress, Return, Stop, Talk
from bench.run import Course, Run, running
from bench.target import Target, target

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
    parser.add_argument("--max-resume-s", type=float, default=10.0, help="how long it may take (default 10)")
    parser.add_argument("--max-live-p95-ms", type=float, default=200.0, help="what others may notice (default 200)")


def run(options: argparse.Namespace) -> int:
    """Measure; the exit code."""
    process.allow_many_files()
    with target(options) as server:
        result, course = runner.run(measure(server, options))
    limits = [
        report.Limit("resume_s", options.max_resume_s),
        report.Limit("live_p95_ms", options.max_live_p95_ms),
    ]
    return report.publish(result, options, limits, course)


async def measure(server: Target, options: argparse.Namespace) -> tuple[report.Result, Course]:
    """Let them leave, let others talk, let them come back."""
    each = max(1, options.clients // options.channels)
    plan = await stage.rooms(server.url, options.channels, each + _STEADY, 1, storm=each)
    async with running(server, plan, options.generators) as one:
        await one.crew.order(Leave())
        await one.crew.order(Talk(_LONGEST, _DEPTH, each=options.gap))
        talking = asyncio.create_task(one.crew.order(Talk(_LONGEST, rate=options.rate)))
        await asyncio.sleep(1.0)
        took, storm = await one.measure(_storm(one, talking))
        about = {
            "clients": each * options.channels,
            "gap": options.gap,
            "rate": options.rate,
            "resume_s": round(took, 2),
            "resume_ms": summary(storm.resume),
            "resumed": sum(storm.resume.values()),
            "server_us_per_resume": one.server_us(sum(storm.resume.values())),
            "live_p95_ms": percentiles(storm.delivery, (0.95,))[0],
            "workers": len(server.workers),
        }
        return one.figures("storm") | about, one.course


async def _storm(one: Run, talking: asyncio.Task[object]) -> tuple[float, Progress]:
    """How long it took, and what happened meanwhile."""
    async with one.crew.counting() as storm:
        since = time.monotonic()
        await one.crew.order(Return())
        took = time.monotonic() - since
    await one.crew.order(Stop())
    await talking
    return took, storm
