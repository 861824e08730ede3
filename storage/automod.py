"""automod: the rules of spaces. The space's stream is held by who writes here, and `rules` moves with it."""

from __future__ import annotations

from uuid import UUID

from protocol.automod import Automod
from storage.pool import Database, Row, Transaction

_NAMES = Automod.__struct_fields__
_COLUMNS = ", ".join(f"r.{name}" for name in _NAMES)


def _rule(row: Row) -> Automod:
    return Automod(**{name: row[name] for name in _NAMES})


async def of(db: Database, space: UUID, after: UUID | None = None) -> list[Automod]:
    """The rules of a space, in the order in which they were made."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM automod r WHERE r.space = $1 AND r.id > $2 ORDER BY r.id",
        space,
        after or UUID(int=0),
    )
    return [_rule(row) for row in rows]


async def get(db: Database, space: UUID, id: UUID) -> Automod | None:
    """One of them."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM automod r WHERE r.space = $1 AND r.id = $2", space, id)
    return _rule(row) if row else None


async def made_with(db: Database, space: UUID, nonce: UUID) -> Automod | None:
    """The rule that this nonce has made."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM automod r WHERE r.space = $1 AND r.nonce = $2", space, nonce)
    return _rule(row) if row else None


async def create(tx: Transaction, space: UUID, nonce: UUID, rule: Automod) -> None:
    """A new one."""
    places = ", ".join(f"${number}" for number in range(3, len(_NAMES) + 3))
    await tx.execute(
        f"INSERT INTO automod (space, nonce, {', '.join(_NAMES)}) VALUES ($1, $2, {places})",
        space,
        nonce,
        *(getattr(rule, name) for name in _NAMES),
    )


async def update(tx: Transaction, space: UUID, rule: Automod) -> None:
    """All that can change of one."""
    changing = [name for name in _NAMES if name not in ("id", "kind")]
    places = ", ".join(f"{name} = ${number}" for number, name in enumerate(changing, 3))
    await tx.execute(
        f"UPDATE automod SET {places} WHERE space = $1 AND id = $2",
        space,
        rule.id,
        *(getattr(rule, name) for name in changing),
    )


async def delete(tx: Transaction, space: UUID, id: UUID) -> None:
    """There is none any more."""
    await tx.execute("DELETE FROM automod WHERE space = $1 AND id = $2", space, id)


async def moved(tx: Transaction, space: UUID) -> None:
    """What is looked for has changed, and is known by another number."""
    await tx.execute(
        """
        UPDATE space SET rules = CASE WHEN EXISTS (SELECT FROM automod r WHERE r.space = $1 AND r.enabled)
                                      THEN structure + 1 ELSE 0 END WHERE id = $1
        """,
        space,
    )
