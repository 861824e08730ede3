"""CPU of one request, beside the least a Python WebSocket server can do.

Logged-in sockets send `session.ping`, several in flight each, in turns to the server and to a bare one
(bench/bare.py) on the same machine, so that both meet the same weather. CPU is that of the serving process;
the figures are medians over the rounds.
"""

import argparse
import asyncio
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

from bench import process, report, runner
from bench.accounts import register
from bench.load.plan import Findings, Progress
from bench.meter import Meter
from bench.run import figures
from bench.target import Target, child, target
from bench.wire import RawSocket, open_sockets, request
from protocol.session import SessionPing

_RAMP = 0.2


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    report.add_options(parser)
    parser.add_argument("--sockets", type=int, default=50, help="how many (default 50)")
    parser.add_argument("--depth", type=int, default=4, help="requests in flight on each (default 4)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each server (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a turn (default 3)")
    parser.add_argument("--max-ratio", type=float, default=1.6, help="server to bare server (default 1.6)")


def run(options: argparse.Namespace) -> int:
    """Measure; the exit code."""
    process.allow_many_files()
    with tempfile.TemporaryDirectory() as folder, target(options) as server:
        log = Path(folder) / "bare.log"
        with child(["-m", "bench.bare"], dict(os.environ), log) as bare:
            result = runner.run(measure(server, bare, options))
    return report.publish(result, options, [report.Limit("ratio", options.max_ratio)])


class Load:
    """Sockets to one server, of which each sends the next request when a reply comes."""

    def __init__(self, pid: int, sockets: list[RawSocket], depth: int) -> None:
        self.pid, self.answered, self.seconds = pid, 0, 0.0
        self._sockets, self._in_flight, self._sending = sockets, 0, False
        self._failure, self._quiet = "", asyncio.Event()
        self._pings = [request(SessionPing(id=number)) for number in range(depth)]
        for socket in sockets:
            socket.heard = self._heard

    def _heard(self, socket: RawSocket, body: bytes) -> None:
        number, _, rest = body[6:].partition(b",")
        if not rest.startswith(b'"ok"'):
            self._failure = f"the server refused: {body.decode()}"
        self.answered += 1
        if self._sending:
            socket.send(self._pings[int(number)])
        else:
            self._in_flight -= 1
            if not self._in_flight:
                self._quiet.set()

    async def turn(self, seconds: float) -> tuple[float, float]:
        """Load the server for a while: its CPU microseconds per request, and requests per second."""
        self._sending, self._in_flight, since = True, len(self._sockets) * len(self._pings), time.perf_counter()
        for socket in self._sockets:
            socket.send(b"".join(self._pings))
        await asyncio.sleep(_RAMP)
        cpu, answered, started = process.cpu_seconds(self.pid), self.answered, time.perf_counter()
        await asyncio.sleep(seconds)
        cpu, answered = process.cpu_seconds(self.pid) - cpu, self.answered - answered
        passed, self._sending = time.perf_counter() - started, False
        await self._settle()
        self.seconds += time.perf_counter() - since
        return 1e6 * cpu / answered, answered / passed

    async def _settle(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), 10)
        if self._failure or self._in_flight:
            raise SystemExit(self._failure or f"{self._in_flight} requests were not answered")
        self._quiet.clear()


async def measure(server: Target, bare: Target, options: argparse.Namespace) -> report.Result:
    """Turn after turn, one server and the other."""
    tokens = await register(server.url, options.sockets)
    ours = Load(server.pid, await open_sockets(server.url, tokens), options.depth)
    least = Load(bare.pid, await open_sockets(bare.url, tokens), options.depth)
    meter = Meter(server, [os.getpid()])
    before = meter.read()
    turns = [(await ours.turn(options.seconds), await least.turn(options.seconds)) for _ in range(options.rounds)]
    after = meter.read()
    server_us = median(mine[0] for mine, _ in turns)
    bare_us = median(other[0] for _, other in turns)
    requests_per_s = median(mine[1] for mine, _ in turns)
    totals = Progress(acked=ours.answered, answered=ours.answered)
    return figures("ping", totals, Findings(), before, after, ours.seconds) | {
        "unit": "request",
        "server_cpu_percent": round(100 * server_us * requests_per_s / 1e6),
        "server_us_per_request": round(server_us, 2),
        "bare_us_per_request": round(bare_us, 2),
        "ratio": round(server_us / bare_us, 2),
        "requests_per_s": round(requests_per_s),
    }
