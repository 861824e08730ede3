"""Fresh databases for tests: emptied and lent again where nobody can tell it from a new one, else dropped.

Copying the template costs many times as much as emptying a few small tables.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from threading import Thread
from typing import Any, TypeVar

import asyncpg

from storage.ids import new_id

T = TypeVar("T")
# All that a test could have changed but for rows.
_SHAPE = """
    SELECT string_agg(line, E'\n' ORDER BY line) FROM (
        SELECT concat_ws(' ', c.oid::regclass, c.relkind, a.attname, a.atttypid::regtype, a.attnotnull,
                         pg_get_expr(d.adbin, d.adrelid)) AS line
          FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
          LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE c.relnamespace = 'public'::regnamespace
        UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indrelid
                   WHERE c.relnamespace = 'public'::regnamespace
        UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_t%'
        UNION ALL SELECT setconfig::text FROM pg_db_role_setting
        UNION ALL SELECT to_json(m)::text FROM migration m) AS lines
"""
_TABLES = """
    SELECT oid::regclass::text AS name FROM pg_class
     WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND relname <> 'migration'
"""
# Who was changed, came or went since, among all that a test could make: quickly seen, but it differs between databases.
_MARK = " || ' ' || ".join(
    f"(SELECT concat_ws('/', count(*), max(xmin::text::bigint)) FROM {catalog}{where})"
    for catalog, where in {
        **dict.fromkeys(("pg_class", "pg_attrdef", "pg_constraint", "pg_proc", "pg_trigger"), " WHERE oid >= 16384"),
        "pg_attribute": " WHERE attrelid >= 16384",
        "pg_index": " WHERE indexrelid >= 16384",
        "pg_namespace": r" WHERE nspname NOT LIKE 'pg\_t%'",
        "pg_db_role_setting": "",
        "migration": "",
    }.items()
)
_EMPTY = """
    CREATE FUNCTION pg_temp.emptied() RETURNS text LANGUAGE plpgsql AS $$
    BEGIN {deletes}; PERFORM {sequences}; RETURN pg_temp.mark(); END $$
"""
_HANG_UP = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_SEQUENCES = "setval(oid, 1, false) FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"


class Databases:
    """The databases of one run; `template` is the URL of a migrated one that nobody uses.

    One connection to each is kept, with a thread and a loop of its own: a new one would have to find out anew about all
    tables, which takes many times as long as emptying them.
    """

    def __init__(self, template: str) -> None:
        self._template = template
        self._spare: list[str] = []
        self._kept: dict[str, asyncpg.Connection[asyncpg.Record]] = {}
        self._shape = ""
        self._marks: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="databases", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of all of them."""
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join()
        self._loop.close()

    def url(self, database: str) -> str:
        return self._template.replace("@/onesocket?", f"@/{database}?", 1)

    async def lend(self) -> str:
        """The name of a database that is as new."""
        return self._spare.pop() if self._spare else await self._there(self._new())

    async def take_back(self, name: str) -> None:
        """Nobody uses it any more."""
        await self._there(self._empty_or_drop(name))

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it in the thread that has the connections."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _stop(self) -> None:
        for connection in self._kept.values():
            connection.terminate()
        self._loop.call_soon(self._loop.stop)

    async def _new(self) -> str:
        name = f"test_{new_id().hex}"
        await self._ask(f"CREATE DATABASE {name} TEMPLATE onesocket STRATEGY file_copy")
        connection = self._kept[name] = await asyncpg.connect(self.url(name))
        tables = [row["name"] for row in await connection.fetch(_TABLES)]
        await connection.execute("SET session_replication_role = replica")
        deletes = "; ".join(f"DELETE FROM {table}" for table in tables)
        await connection.execute(f"CREATE FUNCTION pg_temp.mark() RETURNS text LANGUAGE sql AS $$ SELECT {_MARK} $$")
        await connection.execute(_EMPTY.format(deletes=deletes, sequences=_SEQUENCES))
        self._shape = self._shape or await connection.fetchval(_SHAPE)
        self._marks[name] = await connection.fetchval("SELECT pg_temp.mark()")
        return name

    async def _empty_or_drop(self, name: str) -> None:
        try:
            whole = await self._emptied(name, self._kept[name])
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # a test may have shut everybody out
            whole = False
        if whole:
            self._spare.append(name)
        else:
            self._kept.pop(name).terminate()
            await self._ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _ask(self, statement: str) -> None:
        admin = await asyncpg.connect(self.url("postgres"))
        await admin.execute(statement)
        await admin.close()

    async def _emptied(self, name: str, connection: asyncpg.Connection[asyncpg.Record]) -> bool:
        await connection.execute(_HANG_UP)
        mark = await connection.fetchval("SELECT pg_temp.emptied()")
        if mark == self._marks[name]:
            return True
        self._marks[name] = mark
        return bool(await connection.fetchval(_SHAPE) == self._shape)
