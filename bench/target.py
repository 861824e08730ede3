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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from bench import process

_ROOT = Path(__file__).resolve().parent.parent
_START_WITHIN = 90.0
_STOP_WITHIN = 20.0
PRODUCTION_PASSWORDS = {
    "ONESOCKET_PASSWORD_MEMORY_KIB": "19456",
    "ONESOCKET_PASSWORD_ROUNDS": "2",
}
LOAD_LIMITS = {
    "ONESOCKET_WORKERS": "1",
    "ONESOCKET_PASSWORD_MEMORY_KIB": "8",
    "ONESOCKET_PASSWORD_ROUNDS": "1",
    "ONESOCKET_PASSWORD_QUEUE": "1000",
    "ONESOCKET_ACCESS_MINUTES": "1440",
    "ONESOCKET_THROTTLE": "1000000",
    "ONESOCKET_CONNECTIONS": "1000000",
    "ONESOCKET_CONNECTIONS_PER_ADDRESS": "1000000",
    "ONESOCKET_PENDING_PER_ADDRESS": "1000000",
    "ONESOCKET_FRAMES_PER_SECOND": "1000000",
    "ONESOCKET_FRAMES_IN_BURST": "1000000",
    "ONESOCKET_REQUESTS_IN_FLIGHT": "1000",
    "ONESOCKET_HANDSHAKE_TIMEOUT": "60",
    "ONESOCKET_LOGIN_TIMEOUT": "60",
    "ONESOCKET_ACQUIRE_TIMEOUT": "30",
    "ONESOCKET_QUERY_TIMEOUT": "60",
    "ONESOCKET_REQUEST_TIMEOUT": "60",
    "ONESOCKET_DISK_FREE_MIB": "0",
}


@dataclass(frozen=True)
class Target:
    """Where it listens, and the processes to measure: none where they are not known."""

    url: str
    workers: tuple[int, ...] = ()
    postgres: int | None = None
    redis: int | None = None
    data: Path | None = None  # of a server of our own, with databases of its own

    @property
    def pid(self) -> int:
        """The process that serves."""
        if len(self.workers) != 1:
            raise SystemExit("this scenario measures a server with one worker, and needs --pid with --url")
        return self.workers[0]


@contextmanager
def target(options: argparse.Namespace, settings: Mapping[str, str] | None = None) -> Iterator[Target]:
    """The server that the options name, or one of our own with these settings on top."""
    if options.url is not None:
        yield known(options.url, options.pid)
        return
    workers = str(getattr(options, "workers", 1))
    with own_server({"ONESOCKET_WORKERS": workers} | dict(settings or {})) as own:
        yield own


def known(url: str, pid: int | None) -> Target:
    """A running server; `pid` is the process that serves, or the one that started it and its databases."""
    if pid is None:
        return Target(url)
    workers = tuple(member for member, _ in process.python_listeners(pid))
    return Target(url, workers or (pid,), process.named(pid, "postgres"), _redis(pid))


@contextmanager
def own_server(settings: Mapping[str, str]) -> Iterator[Target]:
    """A server with its own data, in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="onesocket-bench-"))
    folder.chmod(0o755)  # as root the embedded PostgreSQL runs as somebody else, and must get in
    command = ["-m", "server", "serve", "--port", "0", "--data", str(folder / "data")]
    others = {name: value for name, value in os.environ.items() if not name.startswith("ONESOCKET_")}
    for name in ("DATABASE_URL", "REDIS_URL", "PORT"):
        others.pop(name, None)
    limits = LOAD_LIMITS | dict(settings)
    try:
        with child(command, others | limits, folder / "log", int(limits["ONESOCKET_WORKERS"])) as found:
            yield replace(found, data=folder / "data")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def beside(first: Target) -> Iterator[Target]:
    """Another server with the databases and the secret of one of our own, as on a second machine."""
    if first.data is None:
        raise SystemExit("a second server can be started beside one of our own only: do without --url")
    sockets = (first.data / "run").resolve()
    settings = {
        "ONESOCKET_WORKERS": str(len(first.workers)),
        "ONESOCKET_SECRET": (first.data / "secret.key").read_text().split()[0],
        "DATABASE_URL": f"postgresql://onesocket@/onesocket?host={quote(str(sockets))}",
        "REDIS_URL": f"unix://{quote(str(sockets / 'valkey.sock'))}",
    }
    with own_server(settings) as second:
        yield second


@contextmanager
def child(arguments: Sequence[str], environment: dict[str, str], log: Path, listeners: int = 1) -> Iterator[Target]:
    """A Python process that listens on a port, or so many of them, as long as it is needed."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, *arguments], cwd=_ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield _listening(started, log, listeners)
    finally:
        started.terminate()
        with suppress(subprocess.TimeoutExpired):
            started.wait(_STOP_WITHIN)
        started.kill()
        started.wait()


def _listening(started: subprocess.Popen[bytes], log: Path, listeners: int) -> Target:
    end = time.monotonic() + _START_WITHIN
    while time.monotonic() < end:
        found = process.python_listeners(started.pid)
        if len(found) >= listeners:
            workers = tuple(pid for pid, _ in found)
            url = f"ws://127.0.0.1:{found[0][1]}"
            return Target(url, workers, process.named(started.pid, "postgres"), _redis(started.pid))
        if started.poll() is not None:
            break
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-2000:]
    raise SystemExit(f"the server did not start:\n{tail}")


def _redis(pid: int) -> int | None:
    return process.named(pid, "valkey-server", "redis-server")


async def settled_rss_kib(pid: int, within: float = 15.0) -> int:
    """Memory of a process once it has stopped changing (or after so many seconds)."""
    end, before = time.monotonic() + within, 0
    while True:
        now = process.rss_kib(pid)
        if abs(now - before) <= now // 1000 or time.monotonic() > end:
            return now
        before = now
        await asyncio.sleep(1.0)
