"""The server under measurement: one of our own, started for it and gone afterwards, or a running one.

Rule: a server of our own has its limits raised and its passwords cheap: sockets and requests are measured.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench import process

_ROOT = Path(__file__).resolve().parent.parent
_START_WITHIN = 90.0
_STOP_WITHIN = 20.0
LOAD_LIMITS = {
    "ONESOCKET_WORKERS": "1",
    "ONESOCKET_PASSWORD_MEMORY_KIB": "8",
    "ONESOCKET_PASSWORD_ROUNDS": "1",
    "ONESOCKET_PASSWORD_QUEUE": "1000",
    "ONESOCKET_THROTTLE": "1000000",
    "ONESOCKET_CONNECTIONS": "1000000",
    "ONESOCKET_CONNECTIONS_PER_ADDRESS": "1000000",
    "ONESOCKET_PENDING_PER_ADDRESS": "1000000",
    "ONESOCKET_FRAMES_PER_SECOND": "1000000",
    "ONESOCKET_FRAMES_IN_BURST": "1000000",
    "ONESOCKET_HANDSHAKE_TIMEOUT": "60",
    "ONESOCKET_LOGIN_TIMEOUT": "60",
    "ONESOCKET_ACQUIRE_TIMEOUT": "30",
    "ONESOCKET_QUERY_TIMEOUT": "60",
    "ONESOCKET_REQUEST_TIMEOUT": "60",
    "ONESOCKET_DISK_FREE_MIB": "0",
}


@dataclass(frozen=True)
class Target:
    """Where it listens, and the process to measure."""

    url: str
    pid: int


@contextmanager
def target(options: argparse.Namespace) -> Iterator[Target]:
    """The server that the options name, or one of our own."""
    if options.url is None:
        with own_server() as own:
            yield own
    elif options.pid is None:
        raise SystemExit("--url needs --pid: the process whose CPU and memory are measured")
    else:
        yield Target(options.url, options.pid)


@contextmanager
def own_server() -> Iterator[Target]:
    """A server with its own data, in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="onesocket-bench-"))
    folder.chmod(0o755)  # as root the embedded PostgreSQL runs as somebody else, and must get in
    command = ["-m", "server", "serve", "--port", "0", "--data", str(folder / "data")]
    others = {name: value for name, value in os.environ.items() if not name.startswith("ONESOCKET_")}
    for name in ("DATABASE_URL", "REDIS_URL", "PORT"):
        others.pop(name, None)
    try:
        with child(command, others | LOAD_LIMITS, folder / "log") as found:
            yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def child(arguments: Sequence[str], environment: dict[str, str], log: Path) -> Iterator[Target]:
    """A Python process that listens on a port, as long as it is needed."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, *arguments], cwd=_ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield _listening(started, log)
    finally:
        started.terminate()
        with suppress(subprocess.TimeoutExpired):
            started.wait(_STOP_WITHIN)
        started.kill()
        started.wait()


def _listening(started: subprocess.Popen[bytes], log: Path) -> Target:
    end = time.monotonic() + _START_WITHIN
    while time.monotonic() < end:
        found = process.python_listener(started.pid)
        if found is not None:
            return Target(f"ws://127.0.0.1:{found[1]}", found[0])
        if started.poll() is not None:
            break
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-2000:]
    raise SystemExit(f"the server did not start:\n{tail}")


async def settled_rss_kib(pid: int, within: float = 15.0) -> int:
    """Memory of a process once it has stopped changing (or after so many seconds)."""
    end, before = time.monotonic() + within, 0
    while True:
        now = process.rss_kib(pid)
        if abs(now - before) <= now // 1000 or time.monotonic() > end:
            return now
        before = now
        await asyncio.sleep(1.0)
