"""Write everything into one file: the database as it is at one moment, and the secret that its tokens and sealed boxes
need. The server may go on running. The file is as secret as the server itself.

  onesocket backup /var/backups/onesocket-2026-11-21.tar
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from server.commands import database_url, settings, storage_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to."""
    storage_arguments(parser)
    parser.add_argument("file", type=Path, help="the file to write")


def run(options: argparse.Namespace) -> int:
    """Write it."""
    return asyncio.run(_backup(options))


async def _backup(options: argparse.Namespace) -> int:
    from storage.backup import backup

    config = settings(options, data=options.data, database_url=options.database_url)
    async with database_url(config) as url:
        await backup(url, config.folder, options.file, say)
    return 0


def say(line: str) -> None:
    """Progress, on standard error."""
    sys.stderr.write(line + "\n")
