"""Logins from the first byte to the last: connect, prove the password, open a session, close.

A "message" in the figures is a login here. A server of our own has cheap passwords, so that the rest is measured;
`--real-passwords` hashes as in production, which is what a login then costs.
"""

import argparse

from bench import report, stage, traffic
from bench.load.plan import LogIn, Plan
from bench.run import Course, running
from bench.target import PRODUCTION_PASSWORDS, Target


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    traffic.add_crew_options(parser)
    parser.add_argument("--accounts", type=int, default=50, help="who logs in, in turns (default 50)")
    parser.add_argument("--depth", type=int, default=8, help="logins at once of each generator (default 8)")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long (default 6)")
    parser.add_argument("--real-passwords", action="store_true", help="hash passwords as in production")


def run(options: argparse.Namespace) -> int:
    """Measure; the exit code."""
    return traffic.perform(options, measure, settings=PRODUCTION_PASSWORDS if options.real_passwords else None)


async def measure(server: Target, options: argparse.Namespace) -> tuple[report.Result, Course]:
    """Log in again and again."""
    people = await stage.accounts(server.url, options.accounts)
    plan = Plan(server.url, 0, [], [stage.seat(one, [], []) for one in people])
    async with running(server, plan, options.generators) as one:
        await one.measure(one.crew.order(LogIn(options.seconds, options.depth)), options.seconds)
        about = {"unit": "login", "real_passwords": options.real_passwords, "workers": len(server.workers)}
        return one.figures("login") | about, one.course
