"""A long day in a community (see `mixed`), with an eye on the server's memory.

`mib_per_hour` is the slope of a straight line through the memory of the last three quarters: what is allocated once,
at the beginning, does not count. A short run cannot say much about hours: give it thirty minutes at least.
"""

import argparse

from bench import mixed, report, traffic
from bench.run import Course, Point
from bench.target import Target


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    mixed.add_community_options(parser)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default 30)")
    parser.add_argument("--max-mib-per-hour", type=float, help="how fast memory may grow (default: no limit)")


def run(options: argparse.Namespace) -> int:
    """Measure; the exit code."""
    limits = [] if options.max_mib_per_hour is None else [report.Limit("mib_per_hour", options.max_mib_per_hour)]
    return traffic.perform(options, measure, limits)


async def measure(server: Target, options: argparse.Namespace) -> tuple[report.Result, Course]:
    """Let a community live for long."""
    result, course = await mixed.measure("soak", server, options, options.minutes * 60)
    return result | growth(course.points), course


def growth(points: list[Point]) -> report.Result:
    """How the memory grew."""
    known = [(point.at, point.rss_mib) for point in points if point.rss_mib is not None]
    late = known[len(known) // 4 :]
    if len(late) < 2:
        return {"rss_growth_mib": None, "mib_per_hour": None}
    middle, mean = sum(at for at, _ in late) / len(late), sum(rss for _, rss in late) / len(late)
    spread = sum((at - middle) ** 2 for at, _ in late)
    slope = sum((at - middle) * (rss - mean) for at, rss in late) / spread
    return {"rss_growth_mib": round(late[-1][1] - known[0][1], 1), "mib_per_hour": round(3600 * slope, 1)}
