"""Backups: one file that holds a whole server, and the proof that it was restored whole.

The file is a tar archive: `database.dump` (pg_dump's custom format), `secret.key` (the key that signs tokens
and seals secrets, if the data folder has one) and `manifest.json` (rows and a checksum of every table). With
that key in it, a backup is as secret as the server: keep it, and carry it, as you would the server's disk.
Uploaded files are not in it: they never change, so copying their folder after the backup is enough.

Rule 1: the dump and the checksums are of one snapshot, so they agree however much is written meanwhile.
Rule 2: a file is checked to its last byte before a restore changes anything.
Rule 3: a restore is done when every table was read back and is what the manifest says.

With `force` the old content is dropped first: a restore that fails then leaves the database empty.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import asyncpg
import msgspec

from storage.archive import ArchiveReader, ArchiveWriter, BackupError, write_private
from storage.checksum import TableSum, differences, sums, tables
from storage.dump import dump, dumper, restore_dump, restorer

__all__ = ["BackupError", "Manifest", "backup", "restore"]

FORMAT = 1
DUMP, SECRET, MANIFEST = "database.dump", "secret.key", "manifest.json"
LARGEST_MANIFEST, LARGEST_SECRET = 16 << 20, 64 << 10

EMPTY_PUBLIC = """
    SET LOCAL lock_timeout = '10s';
    DROP SCHEMA IF EXISTS public CASCADE;
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC;
    COMMENT ON SCHEMA public IS 'standard public schema'
"""  # as a new database has it, so that the next dump does not mention it

Progress = Callable[[str], None]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds. Later formats may add to it; `format` changes when older servers can't read it."""

    format: int
    onesocket: str
    postgresql: str
    pg_dump: int
    created_at: datetime
    tables: dict[str, TableSum]
    sha256: dict[str, str]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())


async def backup(database_url: str, data: Path, target: Path, progress: Progress) -> Manifest:
    """Back up the database and the data folder's secret to `target`, which is replaced at the very end."""
    if not target.parent.is_dir() or target.is_dir():
        raise BackupError(f"{target} cannot be written: name a file in a folder that exists")
    async with _connected(database_url) as db, _snapshot(db):
        tool = await asyncio.to_thread(dumper, db.get_server_version().major)
        snapshot = await db.fetchval("SELECT pg_export_snapshot()")
        counted = await sums(db, progress)
        try:
            with ArchiveWriter(target) as archive:
                progress(f"dumping with {tool.path.name} {tool.version}")
                hashes = {DUMP: await _write_dump(archive, dump(tool, database_url, snapshot))}
                if secret := await asyncio.to_thread(_read_secret, data):
                    hashes[SECRET] = archive.add(SECRET, secret)
                manifest = Manifest(
                    format=FORMAT,
                    onesocket=_version(),
                    postgresql=str(await db.fetchval("SHOW server_version")).split()[0],
                    pg_dump=tool.major,
                    created_at=datetime.now(UTC),
                    tables=counted,
                    sha256=hashes,
                )
                archive.add(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
                await asyncio.to_thread(archive.publish)
        except OSError as error:
            raise BackupError(f"{target} cannot be written: {error.strerror or error}") from error
    progress(f"wrote {target}: {len(manifest.tables)} tables, {manifest.rows} rows")
    return manifest


async def restore(source: Path, database_url: str, data: Path, progress: Progress, *, force: bool = False) -> Manifest:
    """Bring a backup into an empty database (with `force`: in place of what is there), and prove it."""
    archive = await asyncio.to_thread(ArchiveReader, source)
    try:
        manifest = await asyncio.to_thread(_checked, archive, source)
        progress(f"{source} is whole: {len(manifest.tables)} tables, {manifest.rows} rows")
        secret = archive.read(SECRET, LARGEST_SECRET) if SECRET in manifest.sha256 else b""
        async with _connected(database_url) as db:
            tool = await asyncio.to_thread(restorer, db.get_server_version().major, manifest.pg_dump)
            await _make_room(db, data, secret, force)
            progress(f"restoring with {tool.path.name} {tool.version}")
            database = await db.fetchval("SELECT current_database()")
            await restore_dump(tool, database_url, database, archive.chunks(DUMP))
            await _verify(db, manifest, progress)
            await db.execute("ANALYZE")
    finally:
        archive.close()
    if secret:
        await asyncio.to_thread(_write_secret, data, secret)
    progress("restored and verified")
    return manifest


async def _write_dump(archive: ArchiveWriter, chunks: AsyncGenerator[bytes, None]) -> str:
    archive.begin(DUMP)
    async with aclosing(chunks) as stream:
        async for chunk in stream:
            await asyncio.to_thread(archive.write, chunk)
    return archive.finish()


def _checked(archive: ArchiveReader, source: Path) -> Manifest:
    """The manifest, after every byte it vouches for was read."""
    try:
        raw = msgspec.json.decode(archive.read(MANIFEST, LARGEST_MANIFEST))
        if isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT:
            raise BackupError(f"{source} was made by a newer version of onesocket: restore it with that one")
        manifest = msgspec.convert(raw, Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BackupError(f"{source} is damaged: its manifest cannot be read ({error})") from error
    if DUMP not in manifest.sha256 or (SECRET in archive) != (SECRET in manifest.sha256):
        raise BackupError(f"{source} is damaged: it does not hold what its manifest says")
    for name in (DUMP, SECRET):
        if name in manifest.sha256 and archive.sha256(name) != manifest.sha256[name]:
            raise BackupError(f"{source} is damaged: {name} is not what was written")
    return manifest


async def _make_room(db: Connection, data: Path, secret: bytes, force: bool) -> None:
    """See that nothing is in the way, or with `force` that nothing is any more."""
    kept = await asyncio.to_thread(_read_secret, data)
    if secret and kept and kept != secret and not force:
        raise BackupError(
            f"{data / SECRET} is another key than the backup's: move it away, or give --force to replace it"
        )
    try:
        async with db.transaction():
            if force:
                await db.execute(EMPTY_PUBLIC)
            there = await tables(db)
            if there:
                raise BackupError(
                    f"the database already has tables ({', '.join(there[:3])}{', …' if there[3:] else ''}): "
                    "restore into an empty one, or give --force to replace what is in its schema public"
                )
    except asyncpg.LockNotAvailableError as error:
        raise BackupError("the database is in use: stop the server first") from error


async def _verify(db: Connection, manifest: Manifest, progress: Progress) -> None:
    async with _snapshot(db):
        found = await sums(db, progress)
    if wrong := differences(manifest.tables, found):
        raise BackupError("the restored database is not what was backed up: " + "; ".join(wrong))


@asynccontextmanager
async def _connected(database_url: str) -> AsyncIterator[Connection]:
    """One connection, with the database's own troubles told as ours."""
    try:
        db = await asyncpg.connect(database_url, timeout=10)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise BackupError(f"cannot connect to PostgreSQL: {error}") from error
    try:
        yield db
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise BackupError(f"PostgreSQL: {error}") from error
    finally:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await db.close(timeout=10)


@asynccontextmanager
async def _snapshot(db: Connection) -> AsyncIterator[None]:
    """One view of the database, whatever others write; nothing in here can change it."""
    async with db.transaction(isolation="repeatable_read", readonly=True):
        yield


def _read_secret(data: Path) -> bytes:
    file = data / SECRET
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_SECRET:
        raise BackupError(f"{file} is too large to be a key")
    return content


def _write_secret(data: Path, secret: bytes) -> None:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(data / SECRET, secret)
    except OSError as error:
        raise BackupError(f"{data / SECRET} cannot be written: {error.strerror}") from error


def _version() -> str:
    try:
        return importlib.metadata.version("onesocket")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return "0"
