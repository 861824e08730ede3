"""Fresh databases for tests: emptied and lent again where nobody can tell it from a new one, else dropped.

Copying the template costs many times as much as emptying a few small tables.
"""

import asyncpg

from storage.ids import new_id

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
_HANG_UP = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_SEQUENCES = "SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"


class Databases:
    """The databases of one run; `template` is the URL of a migrated one that nobody uses."""

    def __init__(self, template: str) -> None:
        self._template = template
        self._spare: list[str] = []
        self._shape = ""

    def url(self, database: str) -> str:
        return self._template.replace("@/onesocket?", f"@/{database}?", 1)

    async def lend(self) -> str:
        """The name of a database that is as new."""
        if self._spare:
            return self._spare.pop()
        name = f"test_{new_id().hex}"
        await self._ask(f"CREATE DATABASE {name} TEMPLATE onesocket STRATEGY file_copy")
        if not self._shape:
            connection = await asyncpg.connect(self.url(name))
            self._shape = await connection.fetchval(_SHAPE)
            await connection.close()
        return name

    async def take_back(self, name: str) -> None:
        """Nobody uses it any more."""
        if await self._emptied(name):
            self._spare.append(name)
        else:
            await self._ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _ask(self, statement: str) -> None:
        admin = await asyncpg.connect(self.url("postgres"))
        await admin.execute(statement)
        await admin.close()

    async def _emptied(self, name: str) -> bool:
        try:
            connection = await asyncpg.connect(self.url(name))
        except asyncpg.PostgresError:
            return False
        try:
            await connection.execute(_HANG_UP)
            tables = [row["name"] for row in await connection.fetch(_TABLES)]
            deletes = "; ".join(f"DELETE FROM {table}" for table in tables)
            await connection.execute(f"SET session_replication_role = replica; {deletes}")
            await connection.execute(_SEQUENCES)
            return bool(await connection.fetchval(_SHAPE) == self._shape)
        finally:
            await connection.close()
