"""The whole database as rows that can be compared, and its way back to where it was."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import asyncpg

# Whose a row is, where no column `account` alone says so (SQL expressions that give ids of accounts, of streams and,
# as "<channel> <seq>", of messages): a row is theirs together.
_MESSAGE = "t.channel::text || ' ' || t.seq"
OWNERS: dict[str, tuple[str, ...]] = {
    "account": ("t.id",),
    "call": ("t.channel",),
    "channel": ("t.id",),
    "automod": ("t.space",),
    "ban": ("t.account", "t.space"),
    "deed": ("t.space",),
    "departed": ("t.account", "t.channel"),
    "direct": ("t.channel",),
    "draft": ("t.account", "t.channel"),
    "due": ("t.stream", "t.stream::text || ' ' || t.seq"),
    "fact": ("t.stream",),
    "grave": ("t.channel",),
    "hidden": ("t.account", _MESSAGE),
    "hush": ("t.account", "t.space"),
    "invite": ("t.space", "t.by"),
    "mail": ("(SELECT a.id FROM account a WHERE a.email = t.recipient)",),
    "mark": ("t.account", "t.channel"),
    "member": ("t.account", "t.channel"),
    "mention": ("t.account", _MESSAGE),
    "message": (_MESSAGE,),
    "migration": ("NULL",),
    "instance": ("NULL",),
    "notification": ("t.account",),
    "notification_level": ("t.account",),
    "overwrite": ("t.channel",),
    "pace": ("t.account", "t.channel"),
    "purge": ("t.account", "t.space"),
    "reaction": ("t.account", _MESSAGE),
    "report": ("t.reporter", "coalesce(t.space, t.reporter)"),
    "revision": (_MESSAGE,),
    "ring": ("t.account", "(SELECT c.channel FROM call c WHERE c.id = t.call)"),
    "role": ("t.space", "t.id"),
    "ruin": ("t.space",),
    "scheduled": ("t.account", "t.channel"),
    "search": (_MESSAGE,),
    "search_backlog": ("t.channel",),
    "search_word": ("NULL",),
    "stats": ("t.space",),
    "stats_active": ("t.account", "t.space"),
    "stats_member": ("t.space",),
    "stats_server": ("NULL",),
    "tail": ("t.channel",),
    "follow": ("t.account", "t.thread"),
    "space": ("t.id",),
    "space_member": ("t.account", "t.space"),
    "stream": ("t.id",),
    "thread": ("t.id", "t.parent"),
    "vote": ("t.account", _MESSAGE),
}
# Whose rows of a table are depends on what stands in another.
LOOKS_INTO = {"mail": "account", "ring": "call"}
# What a refused try may leave: when somebody was last here, and that something was tried.
COUNTERS = {("device", "seen_at"), ("api_key", "used_at"), ("presence", "seen_at")}
TRIES = {"audit": "t.action NOT IN ('password.wrong', 'login.failed', 'code.wrong')"}


class Row(NamedTuple):
    """One row: its table, whose it is (None: nobody's), and what stands in it."""

    table: str
    owners: tuple[str | None, ...]
    text: str

    def of(self, some: Collection[str | None]) -> bool:
        """Whether nobody else owns it."""
        return all(owner in some for owner in self.owners)


class Change(NamedTuple):
    """What is different now."""

    gone: frozenset[Row]
    new: frozenset[Row]

    @property
    def tables(self) -> set[str]:
        return {row.table for row in self.gone | self.new}

    def __str__(self) -> str:
        rows = [f"- {row.table} {row.text}" for row in self.gone] + [f"+ {row.table} {row.text}" for row in self.new]
        return "; ".join(rows)[:500]


class Ledger:
    """Reads and restores every table of the database."""

    def __init__(self, db: asyncpg.Connection[Any]) -> None:
        self._db = db
        self._read: dict[str, str] = {}
        self._restore: dict[str, str] = {}
        self._known: dict[str, frozenset[Row]] = {}
        self._known_at: tuple[int, dict[str, int]] = (0, {})
        self._learnt: dict[str, frozenset[Row]] = {}
        self.learnt: frozenset[Row] = frozenset()

    async def learn(self) -> None:
        """Find out which tables and columns there are, and remember what is in them."""
        rows = await self._db.fetch("""
            SELECT c.table_name AS table, c.column_name AS column FROM information_schema.columns c
              JOIN information_schema.tables t USING (table_schema, table_name)
             WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.is_generated = 'NEVER'
             ORDER BY c.table_name, c.ordinal_position
        """)
        tables: dict[str, list[str]] = {}
        for row in rows:
            tables.setdefault(row["table"], []).append(row["column"])
        self._read = {table: _reading(table, columns) for table, columns in tables.items()}
        self._restore = {
            table: f'DELETE FROM "{table}"; INSERT INTO "{table}" ({", ".join(columns)}) OVERRIDING SYSTEM VALUE '
            f'SELECT {", ".join(columns)} FROM baseline."{table}";'
            for table, columns in tables.items()
        }
        await self._db.execute("SET synchronous_commit = off; CREATE SCHEMA baseline")
        await self._db.execute(_NOTICE)
        for table in tables:
            await self._db.execute(f'CREATE TABLE baseline."{table}" AS TABLE "{table}"')
        for table, columns in tables.items():
            await self._db.execute(_noticing(table, columns))
        self.learnt = await self.read((await self.look())[1])
        self._learnt = dict(self._known)

    async def look(self) -> tuple[bool, int]:
        """Whether everything that was to go is gone, and how much was written so far."""
        found = await self._db.fetchrow(_LOOK)
        assert found is not None
        return found[0], found[1]

    async def read(self, written: int) -> frozenset[Row]:
        """Everything, but for counters; of what was not written since it was read before, as it was read then."""
        if written != self._known_at[0]:
            counts = dict(await self._db.fetch(_COUNTS))
            stale = {table for table in self._read if counts[table] != self._known_at[1].get(table, -1)}
            stale |= {table for table, other in LOOKS_INTO.items() if other in stale}
            found = await self._db.fetch(" UNION ALL ".join(self._read[one] for one in sorted(stale)))
            rows = [Row(table, tuple(owners), text) for table, owners, text in found]
            self._known |= {table: frozenset(row for row in rows if row.table == table) for table in stale}
            self._known_at = (written, counts)
        return frozenset().union(*self._known.values())

    async def restore(self, written: int) -> None:
        """Everything as it was learnt; what is there now was read when so much was written."""
        tables = change(self.learnt, await self.read(written)).tables | TRIES.keys()
        async with self._db.transaction():
            await self._db.execute("SET LOCAL session_replication_role = replica")
            await self._db.execute("".join(self._restore[table] for table in tables))
        self._known = dict(self._learnt)


# Counts whatever is written, but by who plays a replica: that is restore().
_NOTICE = """
    CREATE SEQUENCE baseline.written;
    CREATE FUNCTION baseline.notice() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN PERFORM nextval('baseline.written'), nextval(TG_ARGV[0]); RETURN NULL; END $$;
"""
_LOOK = """
    SELECT NOT EXISTS (SELECT channel FROM grave UNION ALL SELECT space FROM ruin UNION ALL SELECT id FROM purge),
           last_value FROM baseline.written
"""
_COUNTS = "SELECT substr(sequencename, 5), last_value FROM pg_sequences WHERE sequencename LIKE 'of: %'"


def _noticing(table: str, columns: list[str]) -> str:
    kept = ", ".join(column for column in columns if (table, column) not in COUNTERS)
    return f"""
        CREATE SEQUENCE baseline."of: {table}" MINVALUE 0;
        CREATE TRIGGER notice AFTER INSERT OR DELETE OR UPDATE OF {kept} ON "{table}"
        FOR EACH STATEMENT EXECUTE FUNCTION baseline.notice('baseline."of: {table}"')
    """


def _reading(table: str, columns: list[str]) -> str:
    owners = OWNERS.get(table, ("t.account",) if "account" in columns else ())
    assert owners, f"whose are the rows of {table}? Say so in OWNERS of tests/authorization/ledger.py"
    kept = ", ".join(f"t.{column}" for column in columns if (table, column) not in COUNTERS)
    whose = ", ".join(f"({owner})::text" for owner in owners)
    where = f" WHERE {TRIES[table]}" if table in TRIES else ""
    return f"SELECT '{table}' AS table, ARRAY[{whose}] AS owners, ROW({kept})::text AS text FROM \"{table}\" t{where}"


def change(before: frozenset[Row], after: frozenset[Row]) -> Change:
    """The difference."""
    return Change(before - after, after - before)
