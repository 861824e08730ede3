"""Many small channels at once: what a message costs when it goes to few."""

import argparse

from bench import stage, traffic


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    traffic.add_options(parser, senders=1, depth=4)
    parser.add_argument("--channels", type=int, default=100, help="how many channels (default 100)")
    parser.add_argument("--members", type=int, default=10, help="how many are in each (default 10)")


def run(options: argparse.Namespace) -> int:
    """Measure; the exit code."""
    return traffic.run(
        "rooms", options, lambda url: stage.rooms(url, options.channels, options.members, options.senders)
    )
