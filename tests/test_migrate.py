"""schema.sql is today's truth, migrations are the way there: both give the same database."""

import asyncio
import os
import subprocess
from pathlib import Path

import asyncpg
import pytest

from storage import migrate
from storage.binary import postgres_clients
from storage.ids import new_id
from storage.pool import StorageError
from tests.conftest import Storage


@pytest.fixture
async def empty(storage: Storage) -> str:
    name = f"empty_{new_id().hex}"
    admin = await asyncpg.connect(storage.url("postgres"))
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    await admin.close()
    return storage.url(name)


def dump(url: str) -> str:
    """The schema as pg_dump writes it."""
    program = max(postgres_clients(), key=lambda found: found.major).path
    argv = [str(program), "--schema-only", "--no-owner", "--restrict-key=x", "--dbname", url]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"})
    return done.stdout


async def test_schema_and_migrations_give_the_same_database(empty: str, database: str) -> None:
    connection = await asyncpg.connect(empty)
    await connection.execute(migrate.schema())
    await connection.close()
    assert await asyncio.to_thread(dump, empty) == await asyncio.to_thread(dump, database)


async def test_migrating_twice_does_nothing_the_second_time(empty: str) -> None:
    assert await migrate.migrate(empty) == [one.name for one in migrate.migrations()]
    assert await migrate.migrate(empty) == []
    assert await migrate.pending(empty) == []


async def test_ten_at_once_apply_each_step_once(empty: str) -> None:
    results = await asyncio.gather(*(migrate.migrate(empty) for _ in range(10)))
    assert sorted(results, key=len)[-1] == [one.name for one in migrate.migrations()]
    assert sum(map(len, results)) == len(migrate.migrations())


async def test_an_edited_migration_is_refused(empty: str, tmp_path: Path) -> None:
    step = tmp_path / "0001_first.sql"
    step.write_text("CREATE TABLE a (b int)")
    await migrate.migrate(empty, tmp_path)
    step.write_text("CREATE TABLE a (b bigint)")
    with pytest.raises(StorageError, match=r"0001_first.sql was changed"):
        await migrate.migrate(empty, tmp_path)


async def test_a_newer_database_is_refused(empty: str, tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1")
    (tmp_path / "0002_b.sql").write_text("SELECT 1")
    await migrate.migrate(empty, tmp_path)
    (tmp_path / "0002_b.sql").unlink()
    with pytest.raises(StorageError, match="newer than this server"):
        await migrate.migrate(empty, tmp_path)


async def test_a_failing_step_leaves_nothing_behind(empty: str, tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE a (b int); SELECT broken")
    with pytest.raises(asyncpg.PostgresError):
        await migrate.migrate(empty, tmp_path)
    connection = await asyncpg.connect(empty)
    assert await connection.fetchval("SELECT to_regclass('a')") is None
    await connection.close()


def test_a_gap_in_the_numbers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0002_b.sql").write_text("SELECT 1")
    with pytest.raises(StorageError, match="without a gap"):
        migrate.migrations(tmp_path)
