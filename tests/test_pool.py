"""storage.pool: connections that know what those before them have learned."""

from typing import Any
from unittest.mock import patch

import asyncpg

from storage.pool import Pool


async def test_arrays_of_postgresqls_own_types_are_asked_about_once_a_process(database: str) -> None:
    asked: list[frozenset[int]] = []
    asks = asyncpg.Connection._introspect_types

    async def heard(self: Any, kinds: Any, timeout: Any) -> Any:
        asked.append(frozenset(kinds))
        return await asks(self, kinds, timeout)

    with patch.object(asyncpg.Connection, "_introspect_types", heard):
        for _ in range(3):
            pool = Pool(database, size=1, acquire_timeout=5, query_timeout=5)
            await pool.start()
            assert await pool.fetchval("SELECT $1::macaddr[] || $2::macaddr[]", ["08:00:2b:01:02:03"], []) == [
                "08:00:2b:01:02:03"
            ]
            await pool.stop()
    assert len(asked) == 1


async def test_types_of_a_databases_own_are_asked_about_in_each(database: str) -> None:
    for fields, values in (("a int", (1,)), ("a text, b int", ("x", 2))):
        pool = Pool(database, size=1, acquire_timeout=5, query_timeout=5)
        await pool.start()
        await pool.execute("DROP TYPE IF EXISTS pair")
        await pool.execute(f"CREATE TYPE pair AS ({fields})")
        row = await pool.fetchval(f"SELECT ROW({', '.join(map(repr, values))})::pair")
        assert tuple(row) == values
        await pool.stop()
