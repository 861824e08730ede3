"""`python -m tests.faults --messages 10000 --seed 1`: the whole proof, with progress, and one line at the end."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time

import uvloop

from tests.faults.checker import Report, together
from tests.faults.cluster import Cluster
from tests.faults.nemesis import NEMESES
from tests.faults.run import PER_SECOND, run


async def prove(options: argparse.Namespace) -> Report:
    """All nemeses one after the other, each on a cluster of its own."""
    reports = []
    names = [name for name in NEMESES if options.nemesis in ("", name)]
    for number, name in enumerate(names):
        began = time.monotonic()
        async with Cluster() as cluster:
            report = await run(
                cluster,
                name,
                messages=-(-options.messages // len(names)),
                seed=options.seed * 100 + number,
                per_second=options.rate,
                scale=options.scale,
            )
        reports.append(report)
        took = f"{time.monotonic() - began:.0f} s, {report.faults} faults, usual delay {report.usual * 1000:.0f} ms"
        print(f"{name:14} {report} ({took}, {report.unknown} unknown ends)", flush=True)
    return together(reports)


def main() -> int:
    """Nonzero when something was lost, doubled, reordered or otherwise wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--messages", type=int, default=7000, help="over all nemeses")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="the same faults again")
    parser.add_argument("--nemesis", choices=["", *NEMESES], default="", help="only this one")
    parser.add_argument("--rate", type=float, default=PER_SECOND, help="messages a second while nothing hinders")
    parser.add_argument("--scale", type=float, default=1.0, help="stretches the faults")
    parser.add_argument("--runs", type=int, default=1, help="with the seeds that follow")
    options = parser.parse_args()
    logging.getLogger("onesocket.embedded").setLevel(logging.ERROR)  # that servers die is no news here
    good = True
    for _ in range(options.runs):
        print(f"seed {options.seed}", flush=True)
        report = uvloop.run(prove(options))
        print(report.line(), flush=True)
        good, options.seed = good and report.good, options.seed + 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
