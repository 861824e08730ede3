"""What a database holds, in numbers that can be compared: rows and a checksum per table.

A checksum is the sum of one 64-bit hash per row, so it does not depend on where or in which order rows lie, and
two equal rows count twice. Rows are hashed as text, which is the same everywhere if these settings are.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import asyncpg

STABLE_TEXT = """
    SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL timezone = 'UTC';
    SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL search_path = pg_catalog;
    SET LOCAL row_security = off; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0
"""

# Tables that hold rows of ours: partitions rather than their parents; not the system's, not an extension's.
TABLES = """
    SELECT format('%I.%I', n.nspname, c.relname)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND c.relpersistence <> 't'
       AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                          AND d.objid = c.oid AND d.deptype = 'e')
     ORDER BY 1
"""


class TableSum(msgspec.Struct, frozen=True):
    """One table's content."""

    rows: int
    checksum: str


async def tables(db: "asyncpg.Connection[asyncpg.Record]") -> list[str]:
    """The names of all tables of ours, quoted."""
    return [row[0] for row in await db.fetch(TABLES)]


async def sums(
    db: "asyncpg.Connection[asyncpg.Record]", progress: Callable[[str], None]
) -> dict[str, TableSum]:
    """Count and hash every table as the current transaction sees it."""
    await db.execute(STABLE_TEXT)
    found = {}
    for table in await tables(db):
        row = await db.fetchrow(
            'SELECT count(*) AS rows, coalesce(sum(hashtextextended("the row"::text COLLATE "C", 0)), 0)::text'
            f' AS checksum FROM ONLY {table} AS "the row"'  # noqa: S608  (quoted by format('%I') above)
        )
        assert row is not None
        found[table] = TableSum(**row)
        progress(f"counted {table}: {found[table].rows} rows")
    return found


def differences(expected: dict[str, TableSum], found: dict[str, TableSum]) -> list[str]:
    """What is not the same, one line per table."""
    lines = []
    for table in sorted(expected.keys() | found.keys()):
        wanted, got = expected.get(table), found.get(table)
        if wanted is None:
            lines.append(f"{table} is not in the backup")
        elif got is None:
            lines.append(f"{table} is missing")
        elif wanted.rows != got.rows:
            lines.append(f"{table} has {got.rows} rows instead of {wanted.rows}")
        elif wanted != got:
            lines.append(f"{table} has other content")
    return lines
