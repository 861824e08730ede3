"""A server process whose tail notes what it has done: `python -m tests.tail_node DATABASE REDIS FOLDER`.

It takes its time over everything, so that it is killed in the middle, and goes when its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from server import Config, Server
from storage.pool import Transaction
from storage.tail import Portion
from tests.chat import UNBOUND
from tests.conftest import QUICK

DONE = "CREATE TABLE done (channel uuid, seq bigint, kind text, worker text, at timestamptz DEFAULT clock_timestamp())"


class Notes:
    """A worker that writes down everything, as often as it happens."""

    def __init__(self, name: str, pause: float = 0.0) -> None:
        self.name, self.pause = name, pause

    async def __call__(self, tx: Transaction, portions: Sequence[Portion]) -> None:
        rows = [(one.span.channel, message.seq, "message") for one in portions for message in one.created]
        rows += [(one.span.channel, fact.seq, fact.kind) for one in portions for fact in one.facts]
        await tx.execute(
            """
            INSERT INTO done (channel, seq, kind, worker)
            SELECT a, b, c, $4 FROM unnest($1::uuid[], $2::bigint[], $3::text[]) t(a, b, c)
            """,
            *map(list, zip(*rows, strict=True)),
            self.name,
        )
        await asyncio.sleep(self.pause)


@asynccontextmanager
async def a_node(database: str, redis_url: str, folder: Path, name: str) -> AsyncIterator[str]:
    """A process of its own, which is killed in the end."""
    argv = [sys.executable, "-m", "tests.tail_node", database, redis_url, str(folder), name]
    process = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE)
    try:
        assert process.stdout is not None
        yield f"ws://127.0.0.1:{int(await asyncio.wait_for(process.stdout.readline(), 30))}"
    finally:
        process.kill()
        await process.wait()


async def main(database: str, redis: str, folder: str, name: str) -> None:
    """Until standard input ends."""
    config = Config(**{**QUICK, **UNBOUND, "data": Path(folder), "database_url": database, "redis_url": redis})
    server = Server(config, worker=name)
    async with server:
        server.tail.workers.append(Notes(name, 0.05))
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
