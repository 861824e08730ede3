"""Pages of old messages: mostly the last page of a channel, as people open it, sometimes one from anywhere in it.

A "message" in the figures is a page here: `acked_per_s` are pages a second, `ack_ms` how long one took, and
`delivered_per_s` the messages on them.
"""

import argparse

from bench import report, stage, traffic
from bench.load.plan import Read, Talk
from bench.run import Course, running
from bench.target import Target

_LONGEST = 600.0
_FILLERS = 2


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    traffic.add_crew_options(parser)
    parser.add_argument("--channels", type=int, default=20, help="how many channels (default 20)")
    parser.add_argument("--readers", type=int, default=5, help="who reads in each (default 5)")
    parser.add_argument("--messages", type=int, default=1000, help="messages in each channel (default 1000)")
    parser.add_argument("--limit", type=int, default=50, help="messages on a page (default 50)")
    parser.add_argument("--deep", type=float, default=0.2, help="share of pages from anywhere (default 0.2)")
    parser.add_argument("--depth", type=int, default=1, help="pages in flight of each reader (default 1)")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long (default 6)")


def run(options: argparse.Namespace) -> int:
    """Measure; the exit code."""
    return traffic.perform(options, measure)


async def measure(server: Target, options: argparse.Namespace) -> tuple[report.Result, Course]:
    """Fill the channels, then read."""
    fillers = min(_FILLERS, options.readers)
    plan = await stage.rooms(server.url, options.channels, options.readers, fillers)
    async with running(server, plan, options.generators) as one:
        await one.crew.order(Talk(_LONGEST, 8, each=-(-options.messages // fillers)))
        await one.crew.settle()
        reading = Read(options.seconds, options.depth, options.limit, options.deep)
        await one.measure(one.crew.order(reading), options.seconds)
        about = {"unit": "page", "limit": options.limit, "deep": options.deep, "workers": len(server.workers)}
        return one.figures("history") | about, one.course
