"""pg_dump and pg_restore: choosing them, and passing bytes through them.

Rule 1: how to connect goes into their environment, and nothing of it into arguments, which anyone can read.
Rule 2: they are children of the one call that needs them: however it ends, they have ended with it.
"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from storage.archive import CHUNK, BackupError
from storage.binary import Program, postgres_clients

KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "TMPDIR",
)  # and PG*: DATABASE_URL is nobody else's business
SETTINGS = {  # the parameters of a connection URL that both sides know, as libpq's variables
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "dbname": "PGDATABASE",
    "database": "PGDATABASE",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
NEW_SETTINGS = 17  # since then pg_restore sets a parameter first that older servers refuse


def environment(database_url: str) -> dict[str, str]:
    """What libpq needs to know to connect as asyncpg does."""
    inherited = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("PG")}
    parts = urlsplit(database_url)
    login, _, places = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    hosts = [_host_and_port(place) for place in places.split(",")]
    ports = [port for _, port in hosts]
    found = {
        "PGUSER": unquote(user),
        "PGPASSWORD": unquote(password),
        "PGHOST": ",".join(unquote(host) for host, _ in hosts),
        "PGPORT": ",".join(ports) if any(ports) else "",
        "PGDATABASE": unquote(parts.path.lstrip("/")),
    }
    found |= {SETTINGS[name]: value for name, value in parse_qsl(parts.query) if name in SETTINGS}
    return inherited | {name: value for name, value in found.items() if value}


def dumper(server: int) -> Program:
    """The pg_dump for a server of this major version: the same if there is one, else the next newer."""
    fit = [tool for tool in postgres_clients() if tool.major >= server]
    if not fit:
        raise BackupError(f"pg_dump {server} or newer is needed: install postgresql-client-{server}")
    return min(fit, key=lambda tool: tool.major)


def restorer(server: int, dumped_with: int) -> Program:
    """The pg_restore that reads what that pg_dump wrote, and that this server understands."""
    if server < NEW_SETTINGS <= dumped_with:
        raise BackupError(
            f"a backup made with pg_dump {dumped_with} needs PostgreSQL {NEW_SETTINGS} or newer, not {server}"
        )
    fit = [
        tool
        for tool in postgres_clients()
        if tool.major >= dumped_with and (tool.major < NEW_SETTINGS or server >= NEW_SETTINGS)
    ]
    if not fit:
        raise BackupError(f"pg_restore {dumped_with} is needed: install postgresql-client-{dumped_with}")
    best = min(fit, key=lambda tool: abs(tool.major - server))
    return Program(best.path.with_name("pg_restore"), best.title, best.version)


async def dump(tool: Program, database_url: str, snapshot: str) -> AsyncGenerator[bytes, None]:
    """The bytes of a dump of the database as that snapshot sees it."""
    options = ["--format=custom", "--compress=1", "--no-password", f"--snapshot={snapshot}"]
    async with _running(tool.path, options, database_url, stdout=PIPE) as process:
        assert process.stdout
        while chunk := await process.stdout.read(CHUNK):
            yield chunk


async def restore_dump(tool: Program, database_url: str, database: str, chunks: Iterator[bytes]) -> None:
    """Feed a dump to a database: all of it, or nothing."""
    name = database.replace("\\", "\\\\").replace("'", "\\'")
    options = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", "--no-password"]
    async with _running(tool.path, [*options, f"--dbname=dbname='{name}'"], database_url, stdin=PIPE) as process:
        assert process.stdin
        with suppress(BrokenPipeError, ConnectionResetError):  # when it has ended early, it says why
            while chunk := await asyncio.to_thread(next, chunks, b""):
                process.stdin.write(chunk)
                await process.stdin.drain()
        process.stdin.close()


@asynccontextmanager
async def _running(
    program: Path, options: list[str], database_url: str, *, stdin: int = DEVNULL, stdout: int = DEVNULL
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A client program; leaving the block waits for its end, and fails when it failed."""
    settings = environment(database_url)
    try:
        process = await asyncio.create_subprocess_exec(
            program, *options, env=settings, stdin=stdin, stdout=stdout, stderr=PIPE, limit=CHUNK
        )
    except OSError as error:
        raise BackupError(f"{program} cannot be run: {error.strerror}") from error
    assert process.stderr
    complaints = asyncio.create_task(_last_words(process.stderr))
    try:
        yield process
        said = await complaints
        if code := await process.wait():
            raise BackupError(f"{program.name} failed (exit {code}): {said}")
    finally:
        complaints.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _last_words(stream: asyncio.StreamReader, limit: int = 4000) -> str:
    """The end of what a program complains about; all of it is read, so that it never waits for us."""
    said = b""
    while chunk := await stream.read(CHUNK):
        said = (said + chunk)[-limit:]
    return said.decode(errors="replace").strip()


def _host_and_port(place: str) -> tuple[str, str]:
    """`host`, `host:port`, `[::1]:port`."""
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = place.partition(":")
    return host, port
