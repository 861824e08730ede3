"""Pairs of people who write to each other, both at once."""

import argparse

from bench import stage, traffic


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    traffic.add_options(parser, senders=2, depth=1)
    parser.add_argument("--pairs", type=int, default=100, help="how many pairs (default 100)")


def run(options: argparse.Namespace) -> int:
    """Measure; the exit code."""
    return traffic.run("dm", options, lambda url: stage.pairs(url, options.pairs, options.senders))
