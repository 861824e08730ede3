"""What tests hand to each other: a database is lent again only if nobody can tell it from a new one."""

import asyncpg
import pytest

from tests.conftest import Storage

CHANGES = (
    "CREATE TABLE other (id int)",
    "DROP TABLE draft",
    "ALTER TABLE draft ADD COLUMN other int",
    "ALTER TABLE draft DROP COLUMN text",
    "ALTER TABLE draft ALTER COLUMN text DROP NOT NULL",
    "ALTER TABLE draft ALTER COLUMN text SET DEFAULT 'other'",
    "CREATE INDEX other ON draft (text)",
    "ALTER TABLE draft ADD CHECK (text <> 'other')",
    "CREATE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DROP FUNCTION message_append",
    "CREATE SCHEMA other",
    "DELETE FROM migration",
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 1234', current_database()); END $$",
)


async def told(storage: Storage, name: str, sql: str) -> None:
    db = await asyncpg.connect(storage.url(name))
    await db.execute(sql)
    await db.close()


@pytest.mark.parametrize("change", CHANGES)
async def test_a_database_that_is_another_now_is_not_lent_again(storage: Storage, change: str) -> None:
    name = await storage.databases.lend()
    await told(storage, name, change)
    await storage.databases.take_back(name)
    again = await storage.databases.lend()
    assert again != name
    await storage.databases.take_back(again)


async def test_rows_are_gone_and_numbers_begin_anew(storage: Storage) -> None:
    name = await storage.databases.lend()
    insert = "INSERT INTO stream (id) VALUES (gen_random_uuid())"
    await told(storage, name, insert)
    await storage.databases.take_back(name)
    assert await storage.databases.lend() == name
    db = await asyncpg.connect(storage.url(name))
    assert await db.fetchval("SELECT count(*) FROM stream") == 0
    for row in await db.fetch("SELECT last_value FROM pg_sequences WHERE schemaname = 'public'"):
        assert row["last_value"] is None
    await db.close()
    await storage.databases.take_back(name)


async def test_who_is_still_connected_is_let_go(storage: Storage) -> None:
    name = await storage.databases.lend()
    db = await asyncpg.connect(storage.url(name))
    await db.execute("BEGIN; LOCK TABLE stream")
    await storage.databases.take_back(name)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await db.fetchval("SELECT 1")
    db.terminate()
