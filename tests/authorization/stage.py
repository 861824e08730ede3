"""The server of the matrix, with nothing in its way: no limits on attempts or frames, mails that go nowhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncpg

from server import Config, Server
from server.erasure import Erasures
from server.external import Provider
from server.file import Files
from server.head import Heads
from server.search import Search
from server.summons import Summonses
from server.tail import Tail
from server.upload import Uploads
from storage.ids import new_id
from tests.authorization import provider
from tests.authorization.world import World
from tests.conftest import QUICK, Storage

_SETTINGS: dict[str, Any] = {
    **QUICK,
    "smtp_url": "smtp://127.0.0.1:9",
    "frames_per_second": 1_000_000,
    "frames_in_burst": 1_000_000,
    "pending_per_address": 1_000_000,
    "connections_per_address": 1_000_000,
    "login_timeout": 600.0,
    "heartbeat": 600,
    "drain": 0.0,
}


class Log(logging.Handler):
    """Every line that the server writes into its log."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {record.__dict__}")


Stage = tuple[World, Log]


@asynccontextmanager
async def staged(storage: Storage, data: Path) -> AsyncIterator[Stage]:
    """A world, and the log of its server."""
    async with _database(storage) as database_url, provider.serving() as issuer:
        urls: Any = {f"{name}_url": f"{issuer}/{name}" for name in ("authorize", "token", "user")}
        config = Config(
            **_SETTINGS,
            data=data,
            database_url=database_url,
            redis_url=storage.redis_url,
            providers=[Provider(provider.NAME, "onesocket", **urls)],
            link_allow=[issuer.removeprefix("http://")],
        )
        with _unobserved(), _logged() as log:
            async with Server(config) as server, _peopled(server, database_url, issuer) as world:
                yield world, log


@asynccontextmanager
async def _database(storage: Storage) -> AsyncIterator[str]:
    """The URL of one for all that is played; it plans each query once, as if it knew nothing of its parameters."""
    name = f"test_{new_id().hex}"
    admin = await asyncpg.connect(storage.url("postgres"))
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE onesocket STRATEGY file_copy")
    await admin.execute(f"ALTER DATABASE {name} SET plan_cache_mode = force_generic_plan")
    yield storage.url(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@contextmanager
def _unobserved() -> Iterator[None]:
    """The test puts the database back to where it was, which the server rightly never expects: it must not look."""

    async def run(*_: object) -> None:
        await asyncio.Event().wait()

    with (
        patch("server.revocation._EVERY", 86400.0),
        patch("server.presence._MOMENT", 86400.0),
        patch("server.erasure._MOMENT", 86400.0),
        patch("server.outline._EVERY", 86400.0),
        patch.object(Heads, "run", run),
        patch.object(Erasures, "run", run),
        patch.object(Files, "run", run),
        patch.object(Uploads, "run", run),
        patch.object(Tail, "run", run),
        patch.object(Search, "run", run),
        patch.object(Summonses, "run", run),
    ):
        yield


@asynccontextmanager
async def _peopled(server: Server, database_url: str, issuer: str) -> AsyncIterator[World]:
    db = await asyncpg.connect(database_url)
    try:
        world = World(server, db, database_url, issuer)
        await world.make()
        yield world
        world.leave()
        print(f"{world.cases} cases, {world.mutants} mutants; ", end="")
        print(f"{len(world.marks)} canaries looked for in {world.marks.searched} bytes")
    finally:
        await db.close()


@contextmanager
def _logged() -> Iterator[Log]:
    logger, log = logging.getLogger("onesocket"), Log()
    logger.addHandler(log)
    with patch.object(logger, "level", logging.DEBUG):
        yield log
    logger.removeHandler(log)
