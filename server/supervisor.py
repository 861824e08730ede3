"""`onesocket serve`: the process that starts everything else and keeps it alive.

It owns the embedded PostgreSQL and Redis, reserves the port, and runs one or more worker processes that do the work.
Rule 1: a worker that dies is replaced, with a pause that grows while it keeps dying.
Rule 2: nothing outlives the supervisor: workers watch its pipe, the embedded servers are its children.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from server import demo, owner
from server.cli import CommandError, version
from server.config import VITAL_CONNECTIONS, Config
from server.order import READY, Order
from server.secret import Keyring, secret_file
from storage import instance
from storage.embedded import Embedded
from storage.migrate import migrate
from storage.pool import Pool

log = logging.getLogger("onesocket.supervisor")
_JOURNAL_CONNECTIONS = 2
_SPARE_CONNECTIONS = 20  # for the supervisor itself, backups and somebody with psql
_FIRST_PAUSE, _LONGEST_PAUSE, _STABLE = 0.1, 5.0, 10.0


class Worker:
    """One worker process and its replacements."""

    def __init__(self, number: int, order: bytes) -> None:
        self.number, self._order = number, order
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> bool:
        """Start the process; whether it came up."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server", "worker", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(ConnectionError):
            self.process.stdin.write(self._order)
            await self.process.stdin.drain()
        return await self.process.stdout.readline() == READY

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        return await self.process.wait() if self.process else 0

    def signal(self, number: int) -> None:
        """Tell it something."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)


class Supervisor:
    """Everything of one `onesocket serve`."""

    def __init__(self, config: Config, *, demo: bool = False) -> None:
        self._config, self._demo = config, demo
        self._embedded: Embedded | None = None
        self._workers: list[Worker] = []
        self._stopping = asyncio.Event()
        self._started = time.monotonic()

    async def run(self) -> int:
        """Start, watch, stop; the exit code."""
        if self._config.unix_socket is not None and self._config.workers > 1:
            raise CommandError("only a port can be shared: set workers to 1, or use a port instead of unix_socket")
        self._handle_signals()
        _raise_file_limit()
        with _reserved(self._config) as port:
            self._config = msgspec.structs.replace(self._config, port=port)
            try:
                await self._start()
                watchers = [asyncio.create_task(self._watch(worker)) for worker in self._workers]
                await self._stopping.wait()
                _notify("STOPPING=1")
                await self._stop(watchers)
            finally:
                for worker in self._workers:
                    worker.signal(signal.SIGKILL)
                if self._embedded is not None:
                    await self._embedded.stop()
        return 0

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _asked_to_stop(self) -> None:
        if self._stopping.is_set():
            log.warning("asked twice: stopping at once")
            for worker in self._workers:
                worker.signal(signal.SIGKILL)
        self._stopping.set()

    def _reload(self) -> None:
        for worker in self._workers:
            worker.signal(signal.SIGHUP)

    # Start

    async def _start(self) -> None:
        config = await self._with_storage(self._config)
        keys = Keyring([config.secret, *config.previous_secrets])
        done = await migrate(config.database_url)
        for name in done:
            log.info("migration %s applied", name)
        pool = Pool(config.database_url, size=2, acquire_timeout=10, query_timeout=60)
        await pool.start()
        try:
            await instance.claim(pool, keys.current.id, keys.ids)
            await self._start_workers(config)
            await self._announce(config, pool)
        finally:
            await pool.stop()
        _notify("READY=1")

    async def _with_storage(self, config: Config) -> Config:
        """The settings with where storage is, and with the secret that all workers share."""
        if not (config.database_url and config.redis_url):
            self._embedded = Embedded(
                config.folder,
                postgres=not config.database_url,
                redis=not config.redis_url,
                max_connections=max(
                    100,
                    config.workers * (config.pool_size + VITAL_CONNECTIONS + _JOURNAL_CONNECTIONS) + _SPARE_CONNECTIONS,
                ),
            )
            await self._embedded.start()
        secrets = [config.secret, *config.previous_secrets] if config.secret else secret_file(_key_file(config))
        return msgspec.structs.replace(
            config,
            data=config.folder,
            database_url=config.database_url or (self._embedded.database_url if self._embedded else ""),
            redis_url=config.redis_url or (self._embedded.redis_url if self._embedded else ""),
            secret=secrets[0],
            previous_secrets=secrets[1:],
        )

    async def _start_workers(self, config: Config) -> None:
        for number in range(config.workers):
            order = Order(config, str(number), siblings=config.workers > 1)
            self._workers.append(Worker(number, order.written()))
        if not all(await asyncio.gather(*(worker.start() for worker in self._workers))):
            raise CommandError("a worker did not start: its reason is in the lines above")

    async def _announce(self, config: Config, pool: Pool) -> None:
        seconds = time.monotonic() - self._started
        socket_url = _url(config)
        page = (config.public_url or socket_url.replace("ws", "http", 1)).rstrip("/")
        rows = [("socket", socket_url), ("page", page), ("data", str(config.folder))]
        rows += self._embedded.describe() if self._embedded else []
        rows += [("workers", str(config.workers))]
        if self._demo:
            rows += await demo.seed(socket_url, pool)
        text = f"\nonesocket {version()} is ready after {seconds:.1f} s\n\n"
        text += "".join(f"  {name:18}{value}\n" for name, value in rows)
        link = await owner.link(pool, page)
        if link is not None:
            text += f"\n  Nobody owns this server yet. Who opens this link first may (once, within a day):\n  {link}\n"
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    # Run and stop

    async def _watch(self, worker: Worker) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            since = time.monotonic()
            code = await worker.ended()
            if self._stopping.is_set():
                return
            ended = time.monotonic()
            log.error("worker %d ended (%s), starting another", worker.number, _cause(code))
            pause = _FIRST_PAUSE if ended - since > _STABLE else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause)
            if await worker.start():
                log.warning("worker %d is back after %.1f s", worker.number, time.monotonic() - ended)

    async def _stop(self, watchers: list[asyncio.Task[None]]) -> None:
        log.info("stopping")
        for worker in self._workers:
            worker.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.drain + 10):
                await asyncio.gather(*(worker.ended() for worker in self._workers))
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)


@contextlib.contextmanager
def _reserved(config: Config) -> Iterator[int]:
    """Hold the port without listening on it: nobody else gets it, and 0 becomes a number that all workers share."""
    if config.unix_socket is not None:
        yield config.port
        return
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(held, config)
        port = held.getsockname()[1]
    with socket.socket(family, socket.SOCK_STREAM) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((config.host, port))
        yield port


def _bind(held: socket.socket, config: Config) -> None:
    try:
        held.bind((config.host, config.port))
    except OSError as error:
        raise CommandError(
            f"cannot listen on {config.host}:{config.port}: {error.strerror}; choose another port with --port"
        ) from None


def _raise_file_limit() -> None:
    """As many sockets as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _notify(state: str) -> None:
    """Tell systemd (Type=notify)."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one, contextlib.suppress(OSError):
            one.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)


def _key_file(config: Config) -> Path:
    return config.folder / "secret.key"


def _url(config: Config) -> str:
    if config.unix_socket is not None:
        return f"unix:{config.unix_socket}"
    host = "127.0.0.1" if config.host in ("0.0.0.0", "") else "[::1]" if config.host == "::" else config.host  # noqa: S104
    return f"{'wss' if config.tls_certificate else 'ws'}://{host}:{config.port}"


def _cause(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
