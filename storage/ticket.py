"""ticket: secrets that are good once. The caller makes and hashes them; only hashes come here."""

from datetime import timedelta
from uuid import UUID

from msgspec import Struct

from storage.pool import Database


class Ticket(Struct, frozen=True):
    """What a valid ticket stands for."""

    account: UUID | None
    data: str


async def issue(
    db: Database,
    kind: str,
    digest: bytes,
    account: UUID | None,
    seconds: int,
    data: str = "",
    *,
    only: bool = True,
) -> None:
    """Store a new ticket; `only`: the account's earlier ones of this kind stop working."""
    if only and account is not None:
        await db.execute("DELETE FROM ticket WHERE account = $1 AND kind = $2", account, kind)
    await db.execute(
        "INSERT INTO ticket (hash, kind, account, data, expires_at) VALUES ($1, $2, $3, $4, now() + $5)",
        digest,
        kind,
        account,
        data,
        timedelta(seconds=seconds),
    )


async def use(db: Database, kind: str, digest: bytes) -> Ticket | None:
    """Take a ticket; only the first taker gets it."""
    row = await db.fetchrow(
        "DELETE FROM ticket WHERE hash = $1 AND kind = $2 AND expires_at > now() RETURNING account, data",
        digest,
        kind,
    )
    return Ticket(row["account"], row["data"]) if row else None


async def known(db: Database, kind: str, digest: bytes) -> bool:
    """Whether a ticket is good, for who would do something costly before using it."""
    return bool(
        await db.fetchval(
            "SELECT EXISTS (SELECT FROM ticket WHERE hash = $1 AND kind = $2 AND expires_at > now())", digest, kind
        )
    )


async def attempt(db: Database, kind: str, digest: bytes, tries: int) -> Ticket | None:
    """Look at a ticket for one of a few tries; the last try takes it away."""
    row = await db.fetchrow(
        """
        UPDATE ticket SET tries = tries + 1
         WHERE hash = $1 AND kind = $2 AND expires_at > now() AND tries < $3
        RETURNING account, data
        """,
        digest,
        kind,
        tries,
    )
    return Ticket(row["account"], row["data"]) if row else None


async def prune(db: Database) -> None:
    """Forget what has expired."""
    await db.execute("DELETE FROM ticket WHERE expires_at < now()")


async def void(db: Database, account: UUID, *kinds: str) -> None:
    """An account's tickets of these kinds are good no more."""
    await db.execute("DELETE FROM ticket WHERE account = $1 AND kind = ANY($2)", account, kinds)


async def withdraw(db: Database, kind: str) -> None:
    """No ticket of this kind is good any more."""
    await db.execute("DELETE FROM ticket WHERE kind = $1", kind)
