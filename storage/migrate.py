"""Bringing a database to today's schema.

`schema.sql` is today's truth, to be read; `migrations/NNNN_name.sql` is how a database gets there, append-only. A test
proves that both give the same database. All migrations run under one advisory lock, each in its own transaction, and
what has been applied is remembered with its checksum: an edited migration is refused.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import asyncpg
from msgspec import Struct

from storage.pool import StorageError

FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x6F6E65736F636B65  # "onesocke"


class Migration(Struct, frozen=True):
    """One step."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What it said when it was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(folder: Path = FOLDER) -> list[Migration]:
    """All steps in order."""
    found = [Migration(int(p.stem.split("_")[0]), p.stem, p.read_text("utf-8")) for p in sorted(folder.glob("*.sql"))]
    if [one.number for one in found] != list(range(1, len(found) + 1)):
        raise StorageError("migrations must be numbered 0001, 0002, … without a gap")
    return found


def schema() -> str:
    """Today's schema; beside this file in a wheel, at the top of a checkout."""
    inside = Path(__file__).parent / "schema.sql"
    return (inside if inside.exists() else Path(__file__).parents[1] / "schema.sql").read_text("utf-8")


async def migrate(url: str, folder: Path = FOLDER) -> list[str]:
    """Apply what is missing; the names of what was applied."""
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except (OSError, asyncpg.PostgresError, ValueError) as error:
        raise StorageError(f"cannot connect to PostgreSQL: {error}; check DATABASE_URL") from error
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        return await _apply(connection, migrations(folder))
    finally:
        await connection.close()


async def pending(url: str) -> list[str]:
    """The names of the steps that are not applied yet."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        applied = await _applied(connection)
        return [one.name for one in migrations() if one.number not in applied]
    finally:
        await connection.close()


async def _apply(connection: asyncpg.Connection[asyncpg.Record], steps: list[Migration]) -> list[str]:
    await connection.execute("""
        CREATE TABLE IF NOT EXISTS migration (
            number     integer PRIMARY KEY,
            name       text NOT NULL,
            checksum   text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now())
    """)
    applied = await _applied(connection)
    _check(applied, steps)
    done = []
    for step in steps:
        if step.number in applied:
            continue
        async with connection.transaction():
            await connection.execute(step.sql)
            await connection.execute(
                "INSERT INTO migration (number, name, checksum) VALUES ($1, $2, $3)",
                step.number,
                step.name,
                step.checksum,
            )
        done.append(step.name)
    return done


async def _applied(connection: asyncpg.Connection[asyncpg.Record]) -> dict[int, str]:
    if await connection.fetchval("SELECT to_regclass('migration')") is None:
        return {}
    rows = await connection.fetch("SELECT number, checksum FROM migration ORDER BY number")
    return {row["number"]: row["checksum"] for row in rows}


def _check(applied: dict[int, str], steps: list[Migration]) -> None:
    known = {step.number: step for step in steps}
    for number, checksum in applied.items():
        if number not in known:
            raise StorageError(f"this database is newer than this server (migration {number}): update the server")
        if known[number].checksum != checksum:
            raise StorageError(f"{known[number].name}.sql was changed after it had been applied: restore it")
