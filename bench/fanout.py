"""One channel with many members, a few of whom write.

Every member has a socket of its own, gets every message, and checks that none is missing, twice or out of turn.
"""

import argparse

from bench import stage, traffic


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    traffic.add_options(parser, senders=8, depth=4)
    parser.add_argument("--members", type=int, default=100, help="how many are in the channel (default 100)")


def run(options: argparse.Namespace) -> int:
    """Measure; the exit code."""
    return traffic.run("fanout", options, lambda url: stage.rooms(url, 1, options.members, options.senders))
