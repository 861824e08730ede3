"""two_factor: authenticator secrets (sealed by the caller) and recovery codes (hashed by the caller)."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from storage.pool import Database


class TwoFactor(Struct, frozen=True):
    """An account's authenticator."""

    sealed: bytes
    confirmed: bool
    last_step: int


async def get(db: Database, account: UUID, *, lock: bool = False) -> TwoFactor | None:
    """The authenticator, if there is one."""
    row = await db.fetchrow(
        "SELECT secret, confirmed_at IS NOT NULL AS confirmed, last_step FROM two_factor WHERE account = $1"
        + (" FOR UPDATE" if lock else ""),
        account,
    )
    return TwoFactor(row["secret"], row["confirmed"], row["last_step"]) if row else None


async def begin(db: Database, account: UUID, sealed: bytes) -> bool:
    """Store a secret to be confirmed; False when one is in use already."""
    tag = await db.execute(
        """
        INSERT INTO two_factor (account, secret) VALUES ($1, $2)
            ON CONFLICT (account) DO UPDATE SET secret = $2, last_step = 0 WHERE two_factor.confirmed_at IS NULL
        """,
        account,
        sealed,
    )
    return tag.endswith(" 1")


async def confirm(db: Database, account: UUID, step: int) -> None:
    """From now on logins ask for it."""
    await db.execute("UPDATE two_factor SET confirmed_at = now(), last_step = $2 WHERE account = $1", account, step)


async def use_step(db: Database, account: UUID, step: int) -> None:
    """This code, and those before it, are used up."""
    await db.execute("UPDATE two_factor SET last_step = $2 WHERE account = $1", account, step)


async def sealed_before(db: Database, key_id: str) -> list[tuple[UUID, bytes]]:
    """The secrets that are sealed with another key than this one."""
    rows = await db.fetch(
        "SELECT account, secret FROM two_factor WHERE encode(substr(secret, 1, 6), 'hex') <> $1", key_id
    )
    return [(row["account"], row["secret"]) for row in rows]


async def reseal(db: Database, account: UUID, before: bytes, after: bytes) -> None:
    """The same secret in another box."""
    await db.execute("UPDATE two_factor SET secret = $3 WHERE account = $1 AND secret = $2", account, before, after)


async def disable(db: Database, account: UUID) -> None:
    """Forget the authenticator and its recovery codes."""
    await db.execute("DELETE FROM two_factor WHERE account = $1", account)
    await db.execute("DELETE FROM recovery_code WHERE account = $1", account)


async def set_recovery(db: Database, account: UUID, hashes: Sequence[bytes]) -> None:
    """Replace all recovery codes."""
    await db.execute("DELETE FROM recovery_code WHERE account = $1", account)
    await db.execute("INSERT INTO recovery_code SELECT $1, unnest($2::bytea[])", account, list(hashes))


async def use_recovery(db: Database, account: UUID, digest: bytes) -> bool:
    """Take one recovery code; whether it was there."""
    return (
        await db.execute("DELETE FROM recovery_code WHERE account = $1 AND hash = $2", account, digest)
    ) == "DELETE 1"
