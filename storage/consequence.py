"""consequence: what is to follow from what automod has found, until it was done.

Rule 1: it stands here before the author is told no, and before what they say is stored: whoever is killed then, or
        after that, leaves it to the others.
Rule 2: whoever does it takes the row away in the same transaction, so it is done once.
Rule 3: nobody else looks at a row as long as its message may still be on its way: `due.TAKEN` seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.codec import encode
from protocol.message import Message
from storage.due import TAKEN, taking, waiting
from storage.pool import Database, Transaction


class Broken(Struct, frozen=True):
    """A rule, and what is to follow."""

    name: str
    report: bool
    timeout: int


class Finding(Struct, frozen=True):
    """What automod has found. Without a message: it is stored under the nonce, or will never be."""

    id: UUID
    space: UUID
    account: UUID
    channel: UUID
    at: datetime
    rules: list[Broken]
    nonce: UUID | None = None
    message: Message | None = None

    @property
    def timeout(self) -> Broken | None:
        """The rule that says for how long, if one does."""
        longest = max(self.rules, key=lambda one: one.timeout)
        return longest if longest.timeout else None


_decode = msgspec.json.Decoder(Finding).decode


async def keep(db: Database, found: Sequence[Finding]) -> None:
    """Let these follow; whoever has found them has a while to do it."""
    await db.execute(
        f"""
        INSERT INTO consequence (id, account, body, due)
        SELECT *, now() + interval '{TAKEN} s' FROM unnest($1::uuid[], $2::uuid[], $3::text[])
        """,
        [one.id for one in found],
        [one.account for one in found],
        [encode(one).decode() for one in found],
    )


async def take(db: Database, limit: int) -> list[Finding]:
    """Some that nobody is at; for a while they are the caller's."""
    rows = await db.fetch(f"{taking('consequence', 'id', 'due')} RETURNING p.body", limit)
    return [_decode(row["body"]) for row in rows]


async def due_in(db: Database) -> float | None:
    """The seconds until the next one is due; None when there is none."""
    found: float | None = await db.fetchval(waiting("consequence", "due"))
    return found


async def put_off(db: Database, one: Finding, seconds: float) -> None:
    """Whoever has time tries again, in so many seconds."""
    await db.execute("UPDATE consequence SET due = now() + $2 WHERE id = $1", one.id, timedelta(seconds=seconds))


async def finish(tx: Transaction, id: UUID) -> bool:
    """It is done in this transaction; whether it was not yet."""
    return (await tx.execute("DELETE FROM consequence WHERE id = $1", id)).endswith("1")
