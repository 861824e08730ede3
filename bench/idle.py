"""Memory and CPU of logged-in sockets that do nothing.

Opens 200 sockets first, so that what the server allocates once is not counted, and keeps them, so that none
of their memory is used again; then opens all the others, waits until the server's memory stands still, and
watches it idle. The memory is that of the process that serves, without PostgreSQL and Redis.
"""

import argparse
import asyncio
import itertools
import os
import time

from bench import process, report, runner
from bench.accounts import register
from bench.load.plan import Findings, Progress
from bench.meter import Meter, between
from bench.run import figures
from bench.target import Target, settled_rss_kib, target
from bench.wire import RawSocket, close_sockets, open_sockets

_WARM_UP = 200


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    report.add_options(parser)
    parser.add_argument("--sockets", type=int, default=5000, help="how many (default 5000)")
    parser.add_argument("--accounts", type=int, help="how many accounts share them (default: a tenth)")
    parser.add_argument("--hold", type=float, default=10.0, help="seconds to watch them idle (default 10)")
    parser.add_argument("--max-kib", type=float, default=10.0, help="KiB a socket may cost (default 10)")


def run(options: argparse.Namespace) -> int:
    """Measure; the exit code."""
    if process.allow_many_files() < options.sockets + _WARM_UP + 100:
        raise SystemExit(f"{options.sockets} sockets need a higher limit of open files (ulimit -n)")
    with target(options) as server:
        result = runner.run(measure(server, options))
    return report.publish(result, options, [report.Limit("kib_per_socket", options.max_kib)])


async def measure(server: Target, options: argparse.Namespace) -> report.Result:
    """Open the sockets and look at the server before, after and while they idle."""
    tokens = await register(server.url, options.accounts or max(1, options.sockets // 10))
    turns = itertools.cycle(tokens)
    first = await open_sockets(server.url, itertools.islice(turns, _WARM_UP))
    before = await settled_rss_kib(server.pid)

    started = time.perf_counter()
    sockets = await open_sockets(server.url, itertools.islice(turns, options.sockets))
    seconds = time.perf_counter() - started
    after = await settled_rss_kib(server.pid)

    meter = Meter(server, [os.getpid()])
    rest = meter.read()
    await asyncio.sleep(options.hold)
    end = meter.read()
    busy = between(rest.server, end.server)
    findings = _dropped(first + sockets)
    await close_sockets(first + sockets)
    return figures("idle", Progress(), findings, rest, end, options.hold) | {
        "sockets": len(sockets),
        "kib_per_socket": round((after - before) / len(sockets), 2),
        "idle_cpu_percent": None if busy is None else round(100 * busy / (end.at - rest.at), 2),
        "seconds_to_open": round(seconds, 2),
    }


def _dropped(sockets: list[RawSocket]) -> Findings:
    count = sum(socket.transport.is_closing() for socket in sockets)
    if not count:
        return Findings()
    return Findings(dropped=count, first_problem=f"{count} of {len(sockets)} sockets were closed while they idled")
