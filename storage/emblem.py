"""emblem: the emoji and stickers of spaces. The space's stream is held by who writes here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

from protocol.emoji import Emoji
from protocol.sticker import Sticker
from storage.pool import Database, Row, Transaction

E = TypeVar("E", Emoji, Sticker)


class Emblems(Generic[E]):
    """Those of one kind, each kind in a table of its own."""

    def __init__(self, table: str, kind: type[E]) -> None:
        self._table, self._names = table, kind.__struct_fields__
        self._kind: type[E] = kind
        self._columns = ", ".join(f"e.{name}" for name in self._names)
        # Of a space `p`: all of them, for one query together with what else decides there.
        self.rows = f"ARRAY(SELECT ({self._columns}) FROM {table} e WHERE e.space = p.id ORDER BY e.name) AS {table}"

    def made_of(self, rows: Sequence[Sequence[Any]]) -> list[E]:
        """Those in a column `rows`."""
        return [self._kind(**dict(zip(self._names, one, strict=True))) for one in rows]

    def _one(self, row: Row | None) -> E | None:
        return self._kind(**{name: row[name] for name in self._names}) if row is not None else None

    async def of(self, db: Database, space: UUID) -> list[E]:
        """All of a space."""
        rows = await db.fetch(f"SELECT {self._columns} FROM {self._table} e WHERE e.space = $1 ORDER BY e.name", space)
        return [one for row in rows if (one := self._one(row)) is not None]

    async def get(self, db: Database, space: UUID, id: UUID) -> E | None:
        """One of a space."""
        query = f"SELECT {self._columns} FROM {self._table} e WHERE e.space = $1 AND e.id = $2"
        return self._one(await db.fetchrow(query, space, id))

    async def made_with(self, db: Database, space: UUID, nonce: UUID) -> E | None:
        """The one that this nonce has made there."""
        query = f"SELECT {self._columns} FROM {self._table} e WHERE e.space = $1 AND e.nonce = $2"
        return self._one(await db.fetchrow(query, space, nonce))

    async def create(self, tx: Transaction, space: UUID, nonce: UUID, one: E) -> None:
        """A new one."""
        places = ", ".join(f"${number}" for number in range(3, len(self._names) + 3))
        await tx.execute(
            f"INSERT INTO {self._table} (space, nonce, {', '.join(self._names)}) VALUES ($1, $2, {places})",
            space,
            nonce,
            *(getattr(one, name) for name in self._names),
        )

    async def update(self, tx: Transaction, space: UUID, one: E) -> None:
        """What can change of one."""
        names = [name for name in self._names if name not in ("id", "file")]
        places = ", ".join(f"{name} = ${number}" for number, name in enumerate(names, 3))
        await tx.execute(
            f"UPDATE {self._table} SET {places} WHERE space = $1 AND id = $2",
            space,
            one.id,
            *(getattr(one, name) for name in names),
        )

    async def delete(self, tx: Transaction, space: UUID, id: UUID) -> None:
        """There is none any more."""
        await tx.execute(f"DELETE FROM {self._table} WHERE space = $1 AND id = $2", space, id)
