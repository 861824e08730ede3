"""chore: work that any process does, bit by bit, also when the one that began it is gone.

A row in a table of chores says that something may be left to do; `taken_until` says until when a process is at it.
"""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from storage.pool import Database

_SECONDS = 10


class Chores(Struct, frozen=True):
    """A table of chores, and the column that tells what each is about."""

    table: str
    key: str

    async def take(self, db: Database) -> UUID | None:
        """One that nobody is at, the one that has waited longest; for a while it is the caller's."""
        found: UUID | None = await db.fetchval(
            f"""
            UPDATE {self.table} SET taken_until = now() + interval '{_SECONDS} s' WHERE {self.key} =
                   (SELECT {self.key} FROM {self.table} WHERE taken_until <= now()
                     ORDER BY taken_until LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING {self.key}
            """
        )
        return found

    async def hold(self, db: Database, one: UUID) -> None:
        """Still at it."""
        await db.execute(
            f"UPDATE {self.table} SET taken_until = now() + interval '{_SECONDS} s' WHERE {self.key} = $1", one
        )

    async def leave(self, db: Database, one: UUID) -> None:
        """Whoever has time goes on with it, after the others."""
        await db.execute(f"UPDATE {self.table} SET taken_until = now() WHERE {self.key} = $1", one)
