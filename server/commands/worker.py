"""One server process, started and fed by `onesocket serve`; not for people."""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All it needs comes over its standard input."""


def run(options: argparse.Namespace) -> int:
    """Until it is told to stop, or its supervisor is gone."""
    import uvloop

    from server.order import Order
    from server.worker import work

    return uvloop.run(work(Order.read(sys.stdin.buffer.readline())))
