"""What a database holds, in numbers that can be compared: rows and a checksum per table.

A checksum is the sum of one 64-bit hash per row, so it does not depend on where or in which order rows lie,
and two equal rows count twice. Rows are hashed as text, which is the same everywhere if these settings are.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from storage.pool import Database

STABLE_TEXT = """
    SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL timezone = 'UTC';
    SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL search_path = pg_catalog;
    SET LOCAL row_security = off
"""
# Counting takes as long as it takes; which of these limits there are depends on the version.
NO_LIMITS = """
    SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN
        ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
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

COUNT = """
    SELECT count(*) AS rows,
           coalesce(sum(hashtextextended("the row"::text COLLATE "C", 0)), 0)::text AS checksum
      FROM ONLY {} AS "the row"
"""


class TableSum(msgspec.Struct, frozen=True):
    """One table's content."""

    rows: int
    checksum: str


async def tables(db: Database) -> list[str]:
    """The names of all tables of ours, quoted."""
    return [row[0] for row in await db.fetch(TABLES)]


async def sums(db: Database, progress: Callable[[str], None]) -> dict[str, TableSum]:
    """Count and hash every table as the current transaction sees it."""
    await db.execute(STABLE_TEXT)
    await db.execute(NO_LIMITS)
    found = {}
    for table in await tables(db):
        row = await db.fetchrow(COUNT.format(table))  # a name that format('%I') has quoted
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
