"""Put a backup into an empty database, and verify it: every table must have the rows and the checksum it had.

Stop the server first. With --force the database is emptied before.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from server.commands import database_url, settings, storage_arguments
from server.commands.backup import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """From where."""
    storage_arguments(parser)
    parser.add_argument("file", type=Path, help="the backup")
    parser.add_argument("--force", action="store_true", help="erase what is in the database now")


def run(options: argparse.Namespace) -> int:
    """Restore and verify."""
    return asyncio.run(_restore(options))


async def _restore(options: argparse.Namespace) -> int:
    from storage.backup import restore

    config = settings(options, data=options.data, database_url=options.database_url)
    async with database_url(config) as url:
        await restore(options.file, url, config.folder, say, force=options.force)
    return 0
