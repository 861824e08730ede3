"""One server process of a fault run: `python -m tests.faults.node`, told by one line on its standard input.

It prints its port when it serves, and goes when its standard input ends. Nothing else makes it stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

import uvloop

from server.app import Server
from server.log import configure
from server.order import Order
from tests.faults.mutants import patched

MUTANTS = "ONESOCKET_TEST_MUTANTS"  # taken out of the environment before the settings are read


async def serve(order: Order) -> None:
    """Until the harness is gone."""
    configure(order.config.log_format, order.config.log_level)
    server = Server(order.config, worker=order.worker, siblings=order.siblings)
    await server.start()
    print(server.port, flush=True)
    gone = asyncio.Event()

    class Watch(asyncio.Protocol):
        def connection_lost(self, error: Exception | None) -> None:
            gone.set()

    with contextlib.suppress(ValueError):
        await asyncio.get_running_loop().connect_read_pipe(Watch, sys.stdin.buffer)
    await gone.wait()
    await server.stop()


def main() -> None:
    """With the mutants that are named in the environment."""
    names = [name for name in os.environ.pop(MUTANTS, "").split(",") if name]
    order = Order.read(sys.stdin.buffer.readline())
    with patched(names):
        uvloop.run(serve(order))


if __name__ == "__main__":
    main()
