"""What the scenarios with a crew have in common: their options, and how they are run."""

import argparse
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from bench import process, report, runner
from bench.load.plan import Plan, Talk
from bench.run import Course, running
from bench.target import Target, target


def add_crew_options(parser: argparse.ArgumentParser) -> None:
    """Who makes the load, and who is under it."""
    report.add_options(parser)
    parser.add_argument("--workers", type=int, default=1, help="processes of the server that is started (default 1)")
    parser.add_argument("--generators", type=int, default=1, help="processes that make the load (default 1)")


def add_options(parser: argparse.ArgumentParser, *, senders: int, depth: int) -> None:
    """How much is sent."""
    add_crew_options(parser)
    parser.add_argument("--senders", type=int, default=senders, help=f"who writes in each channel (default {senders})")
    parser.add_argument("--depth", type=int, default=depth, help=f"messages in flight of each (default {depth})")
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second in all, instead of --depth")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long (default 6)")
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds before that are not counted (default 1)")


def perform(
    options: argparse.Namespace,
    measure: Callable[[Target, argparse.Namespace], Coroutine[Any, Any, tuple[report.Result, Course]]],
    limits: Sequence[report.Limit] = (),
    settings: Mapping[str, str] | None = None,
) -> int:
    """Measure a server, started with these settings if none is named, and report; the exit code."""
    process.allow_many_files()
    with target(options, settings) as server:
        result, course = runner.run(measure(server, options))
    return report.publish(result, options, limits, course)


def run(scenario: str, options: argparse.Namespace, stage: Callable[[str], Coroutine[Any, Any, Plan]]) -> int:
    """Set the stage, let them talk, report; the exit code."""
    return perform(options, lambda server, _: measure(scenario, server, options, stage))


async def measure(
    scenario: str, server: Target, options: argparse.Namespace, stage: Callable[[str], Coroutine[Any, Any, Plan]]
) -> tuple[report.Result, Course]:
    """Messages for a while."""
    plan = await stage(server.url)
    async with running(server, plan, options.generators) as one:
        if options.warm_up:
            await one.crew.order(Talk(options.warm_up, options.depth, options.rate))
            await one.crew.settle()
        await one.measure(one.crew.order(Talk(options.seconds, options.depth, options.rate)), options.seconds)
        about: report.Result = {"rate": options.rate} if options.rate else {"depth": options.depth}
        about |= {"sockets": len(plan.seats), "channels": len(plan.rooms), "workers": len(server.workers)}
        return one.figures(scenario) | about, one.course
