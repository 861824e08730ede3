"""One server process under a supervisor.

Its settings come as one line on standard input, so that no secret stands in a command line or an environment. When
standard input ends, the supervisor is gone, and the worker drains and goes, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys

from server.app import Server
from server.log import configure
from server.order import READY, Order

log = logging.getLogger("onesocket.worker")

_GARBAGE = (5_000, 5, 100)  # what lives for a moment is freed without it: it is there for cycles, which are rare


async def work(order: Order) -> int:
    """Serve until told to stop."""
    configure(order.config.log_format, order.config.log_level)
    loop = asyncio.get_running_loop()
    server = Server(order.config, worker=order.worker, siblings=order.siblings)
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C reaches the whole group; the supervisor decides
    await server.start()
    loop.add_signal_handler(signal.SIGHUP, server.gateway.reload_certificate)
    await _watch_supervisor(loop, stopping)
    settle()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    await stopping.wait()
    await server.stop()
    return 0


def settle() -> None:
    """Have the garbage collector leave alone what stays for good: each look at all of it would hold up everybody."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE)


async def _watch_supervisor(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    class Watch(asyncio.Protocol):
        def connection_lost(self, error: Exception | None) -> None:
            if not stopping.is_set():
                log.warning("the supervisor is gone: draining")
                stopping.set()

    with contextlib.suppress(ValueError):
        await loop.connect_read_pipe(Watch, sys.stdin.buffer)
