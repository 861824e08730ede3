"""The commands of `onesocket`, one module each: its docstring is the help, `add_arguments` and `run` the rest."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.config import Config
    from storage.pool import Pool


def settings(options: argparse.Namespace, **flags: Any) -> Config:
    """The settings in force for a command."""
    from server.config import load

    given = {name: value for name, value in flags.items() if value is not None}
    return load(given, file=Path(options.config) if options.config else None)


def storage_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the data is, for commands that work on it."""
    parser.add_argument("--data", type=Path, metavar="DIR", help="the server's data folder")
    parser.add_argument("--database-url", metavar="URL", help="PostgreSQL, if not the embedded one")


@asynccontextmanager
async def database_url(config: Config) -> AsyncIterator[str]:
    """The database, whether or not a server is running: the embedded one is started for the time if need be."""
    from storage.embedded import Embedded, FolderInUse

    if config.database_url:
        yield config.database_url
        return
    embedded = Embedded(config.folder, redis=False)
    try:
        await embedded.start()
    except FolderInUse:
        yield embedded.database_url
        return
    try:
        yield embedded.database_url
    finally:
        await embedded.stop()


@asynccontextmanager
async def pool(config: Config) -> AsyncIterator[Pool]:
    """Connections to the database of a server."""
    from storage.migrate import migrate
    from storage.pool import Pool

    async with database_url(config) as url:
        await migrate(url)
        connections = Pool(url, size=2, acquire_timeout=10, query_timeout=600)
        await connections.start()
        try:
            yield connections
        finally:
            await connections.stop()
