"""The whole database as rows that can be compared, and its way back to where it was."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
    "emoji": ("t.space",),
    "fact": ("t.stream",),
    "file": ("t.owner",),
    "file_loose": ("(SELECT f.owner FROM file f WHERE f.id = t.file)",),
    "file_use": (_MESSAGE,),
    "blob": ("t.owner",),
    "variant": ("(SELECT b.owner FROM blob b WHERE b.id = t.blob)",),
    "upload": ("(SELECT f.owner FROM file f WHERE f.id = t.file)",),
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
    "sticker": ("t.space",),
    "stream": ("t.id",),
    "summons": ("t.space", _MESSAGE),
    "thread": ("t.id", "t.parent"),
    "vote": ("t.account", _MESSAGE),
}
# Whose rows of a table are depends on what stands in another.
LOOKS_INTO = {"mail": "account", "ring": "call", "file_loose": "file", "variant": "blob", "upload": "file"}
# What a refused try may leave: when somebody was last here, and up to where they have looked.
COUNTERS = {("device", "seen_at"), ("api_key", "used_at"), ("presence", "seen_at"), ("space_member", "summons")}
TRIES = {"audit": "t.action NOT IN ('password.wrong', 'login.failed', 'code.wrong')"}


class Row(NamedTuple):
    """One row: its table, whose it is (None: nobody's), and what stands in it."""

    table: str
    owners: tuple[str | None, ...]
    text: str

    def of(self, some: Collection[str | None]) -> bool:
        """Whether nobody else owns it."""
        return all(owner in some for owner in self.owners)


Rows = Mapping[str, frozenset[Row]]


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
    """Reads every table of the database, and restores what has changed."""

    def __init__(self, db: asyncpg.Connection[Any]) -> None:
        self._db = db
        self._tables: dict[str, list[str]] = {}
        self._known: Rows = {}
        self._places: dict[Row, str] = {}
        self._counts: dict[str, int] = {}
        self._written = 0
        self._learnt_places: dict[Row, str] = {}
        self._restored: dict[str, int] = {}
        self.learnt: Rows = {}

    async def learn(self) -> None:
        """Find out which tables and columns there are, and remember what is in them."""
        rows = await self._db.fetch("""
            SELECT c.table_name AS table, c.column_name AS column FROM information_schema.columns c
              JOIN information_schema.tables t USING (table_schema, table_name)
             WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.is_generated = 'NEVER'
             ORDER BY c.table_name, c.ordinal_position
        """)
        for row in rows:
            self._tables.setdefault(row["table"], []).append(row["column"])
        await self._db.execute("SET synchronous_commit = off; CREATE SCHEMA baseline")
        await self._db.execute(_NOTICE)
        for table, columns in self._tables.items():
            await self._db.execute(f'CREATE TABLE baseline."{table}" AS TABLE "{table}"')
            found = await self._db.fetch(_reading(table, columns, "baseline."))
            self._learnt_places |= {_row(one): one["place"] for one in found}
            await self._db.execute(_noticing(table, columns))
        self.learnt = await self.read((await self.look())[1])
        self._restored = dict(self._counts)

    async def look(self) -> tuple[bool, int]:
        """Whether everything that was to go is gone, and how much was written so far."""
        found = await self._db.fetchrow(_LOOK)
        assert found is not None
        return found[0], found[1]

    async def read(self, written: int) -> Rows:
        """Everything, but for counters; of what was not written since it was read before, as it was read then."""
        if written != self._written:
            counts = dict(await self._db.fetch(_COUNTS, list(self._tables)))
            stale = {table for table in self._tables if counts[table] != self._counts.get(table, -1)}
            stale |= {table for table, other in LOOKS_INTO.items() if other in stale}
            known = dict(self._known)
            for table in stale:
                found = await self._db.fetch(_reading(table, self._tables[table]))
                places = {_row(one): one["place"] for one in found}
                known[table] = frozenset(places)
                self._places |= places
            self._known, self._written, self._counts = known, written, counts
        return self._known

    async def restore(self, written: int) -> None:
        """Everything as it was learnt; what is there now was read when so much was written."""
        changed = change(self.learnt, await self.read(written))
        whole = {table for table in TRIES if self._counts[table] != self._restored[table]}
        whole |= changed.tables & {table for table, _ in COUNTERS}
        texts = [self._restoring(table, "true", "true") for table in whole]
        for table in changed.tables - whole:
            new = [self._places[row] for row in changed.new if row.table == table]
            gone = [self._learnt_places[row] for row in changed.gone if row.table == table]
            texts.append(self._restoring(table, _at(new), _at(gone)))
        if texts:
            await self._db.execute(f"SET LOCAL session_replication_role = replica; {''.join(texts)}")
        self._known, self._restored = self.learnt, self._counts

    def _restoring(self, table: str, new: str, gone: str) -> str:
        """SQL that puts back rows of a table that are gone, and takes away those that are new."""
        columns = ", ".join(self._tables[table])
        return (
            f'DELETE FROM "{table}" WHERE {new}; INSERT INTO "{table}" ({columns}) OVERRIDING SYSTEM VALUE '
            f'SELECT {columns} FROM baseline."{table}" WHERE {gone};'
        )


def _row(found: Any) -> Row:
    return Row(found["table"], tuple(found["owners"]), found["text"])


def _at(places: Collection[str]) -> str:
    """Where rows stand, as a condition."""
    listed = ", ".join(f"'{place}'" for place in places)
    return f"ctid = ANY (ARRAY[{listed}]::tid[])"


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
_COUNTS = """
    SELECT name, pg_sequence_last_value(format('baseline.%I', 'of: ' || name)::regclass) FROM unnest($1::text[]) name
"""


def _noticing(table: str, columns: list[str]) -> str:
    kept = ", ".join(column for column in columns if (table, column) not in COUNTERS)
    return f"""
        CREATE SEQUENCE baseline."of: {table}" MINVALUE 0;
        CREATE TRIGGER notice AFTER INSERT OR DELETE OR UPDATE OF {kept} ON "{table}"
        FOR EACH STATEMENT EXECUTE FUNCTION baseline.notice('baseline."of: {table}"')
    """


def _reading(table: str, columns: list[str], schema: str = "") -> str:
    owners = OWNERS.get(table, ("t.account",) if "account" in columns else ())
    assert owners, f"whose are the rows of {table}? Say so in OWNERS of tests/authorization/ledger.py"
    kept = ", ".join(f"t.{column}" for column in columns if (table, column) not in COUNTERS)
    whose = ", ".join(f"({owner})::text" for owner in owners)
    where = f" WHERE {TRIES[table]}" if table in TRIES else ""
    return (
        f"SELECT '{table}' AS table, ARRAY[{whose}] AS owners, ROW({kept})::text AS text, t.ctid::text AS place "
        f'FROM {schema}"{table}" t{where}'
    )


def change(before: Rows, after: Rows) -> Change:
    """The difference; tables that nothing was written to are the same object."""
    tables = [table for table, rows in after.items() if rows is not before.get(table)]
    return Change(
        frozenset().union(*(before[table] - after[table] for table in tables)),
        frozenset().union(*(after[table] - before[table] for table in tables)),
    )
