"""A day in a community, in seconds: most people read, some type, few say something, react or mend what they said.

Channels are as popular as channels are (Zipf's law). `rate` is actions a second, whatever they are; the cost of a
message is that of the whole day, `server_us_per_request` that of an action. `--help` of `soak` is the long day.
"""

import argparse

from bench import report, stage, traffic
from bench.load.histogram import summary
from bench.load.plan import Live
from bench.run import Course, running
from bench.target import Target


def add_community_options(parser: argparse.ArgumentParser) -> None:
    """How large the community is, and how busy."""
    traffic.add_crew_options(parser)
    parser.add_argument("--people", type=int, default=200, help="how many people, all there at once (default 200)")
    parser.add_argument("--channels", type=int, default=50, help="how many channels (default 50)")
    parser.add_argument("--each", type=int, default=8, help="in how many of them everybody is (default 8)")
    parser.add_argument("--rate", type=float, default=300.0, help="actions a second, of all together (default 300)")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    add_community_options(parser)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long (default 10)")


def run(options: argparse.Namespace) -> int:
    """Measure; the exit code."""
    return traffic.perform(options, lambda server, _: measure("mixed", server, options, options.seconds))


async def measure(
    scenario: str, server: Target, options: argparse.Namespace, seconds: float
) -> tuple[report.Result, Course]:
    """Let a community live for a while."""
    plan = await stage.community(server.url, options.people, options.channels, options.each)
    async with running(server, plan, options.generators) as one:
        await one.measure(one.crew.order(Live(seconds, options.rate)), seconds)
        totals, figures = one.course.totals, one.figures(scenario)
        about = {
            "people": len(plan.seats),
            "channels": len(plan.rooms),
            "rate": options.rate,
            "requests_per_s": round(totals.answered / seconds),
            "server_us_per_request": one.server_us(totals.answered),
            "request_ms": summary(totals.request),
            "passing_per_s": round(totals.passing / seconds),
            "workers": len(server.workers),
        }
        return figures | about, one.course
