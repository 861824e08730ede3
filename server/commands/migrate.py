"""Bring the database to today's schema.

`serve` does this by itself; do it by hand before a rolling update, or with --check in a deployment to see whether
anything is pending (exit code 1).
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from server.commands import database_url, settings, storage_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where, and whether to change anything."""
    storage_arguments(parser)
    parser.add_argument("--check", action="store_true", help="only say what is pending")


def run(options: argparse.Namespace) -> int:
    """Apply or list."""
    return asyncio.run(_migrate(options))


async def _migrate(options: argparse.Namespace) -> int:
    from storage.migrate import migrate, pending

    config = settings(options, data=options.data, database_url=options.database_url)
    async with database_url(config) as url:
        names = await (pending(url) if options.check else migrate(url))
    verb = "pending" if options.check else "applied"
    sys.stdout.write("".join(f"{verb}: {name}\n" for name in names) or "the schema is up to date\n")
    return 1 if options.check and names else 0
