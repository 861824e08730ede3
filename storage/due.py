"""due: what is to be done at a time, by whichever process has time.

Rule 1: who takes a row has it for a while (`TAKEN`); who is killed in the middle leaves it to others after that.
Rule 2: whoever has done it says so in the transaction that takes the row away, or sets its next time: so it is done
        once, also when two are at it.
Rule 3: time is the database's, so that processes whose clocks differ agree on what is due.
Rule 4: rows of `due` are written and taken away only while their stream is held; for a while they are taken without.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from msgspec import Struct

from storage.pool import Database, Transaction

Kind = Literal["poll", "disappearing", "retention", "call"]
TAKEN = 15  # seconds: longer than the journal tries to store a message


def taking(table: str, key: str, when: str, *, only: str = "true", also: str = "") -> str:
    """SQL that takes at most $1 rows of a table, those first that have been due for longest; `also` is set of them.

    They are chosen once, whatever the plan: chosen again, those that were just taken would be skipped for others.
    """
    same = " AND ".join(f"p.{one} = d.{one}" for one in key.split(", "))
    return f"""
        WITH d AS MATERIALIZED (SELECT {key} FROM {table} WHERE {only} AND {when} <= now()
                                 ORDER BY {when} LIMIT $1 FOR UPDATE SKIP LOCKED)
        UPDATE {table} p SET {when} = now() + interval '{TAKEN} s'{also} FROM d WHERE {same}
    """


def waiting(table: str, when: str, only: str = "true") -> str:
    """SQL that tells the seconds until the next row of a table is due; null when there is none."""
    return f"SELECT extract(epoch FROM min({when}) - now())::float8 FROM {table} WHERE {only}"


class Due(Struct, frozen=True):
    """Something whose time has come, of a stream; `seq` tells which, where there may be several."""

    kind: Kind
    stream: UUID
    seq: int


async def take(db: Database, limit: int) -> list[Due]:
    """Some that are due and that no process is at; for a while they are the caller's."""
    rows = await db.fetch(f"{taking('due', 'kind, stream, seq', 'at')} RETURNING p.kind, p.stream, p.seq", limit)
    return [Due(*row) for row in rows]


async def due_in(db: Database) -> float | None:
    """The seconds until the next one is due; None when there is none."""
    found: float | None = await db.fetchval(waiting("due", "at"))
    return found


async def put_off(db: Database, one: Due, seconds: float) -> None:
    """Whoever has time tries again, in so many seconds."""
    await db.execute(
        "UPDATE due SET at = now() + $4 WHERE kind = $1 AND stream = $2 AND seq = $3",
        one.kind,
        one.stream,
        one.seq,
        timedelta(seconds=seconds),
    )


# The stream is locked


async def finish(tx: Transaction, kind: Kind, stream: UUID, seq: int = 0) -> bool:
    """It is done, or need not be; whether that was not known yet."""
    tag = await tx.execute("DELETE FROM due WHERE kind = $1 AND stream = $2 AND seq = $3", kind, stream, seq)
    return tag.endswith("1")


async def set_next(tx: Transaction, kind: Kind, stream: UUID, at: datetime | None) -> None:
    """When there is something to do again; None when there is nothing, as far as is known."""
    if at is None:
        await finish(tx, kind, stream)
        return
    await tx.execute(
        """
        INSERT INTO due (kind, stream, at) VALUES ($1, $2, $3)
        ON CONFLICT (kind, stream, seq) DO UPDATE SET at = excluded.at
        """,
        kind,
        stream,
        at,
    )
