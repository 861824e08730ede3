"""hush: who is silenced in the voice channels of a space, or hears nothing there."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from storage.pool import Database, Transaction


class Hush(Struct, frozen=True):
    """What moderators have done to somebody."""

    muted: bool = False
    deafened: bool = False


async def of(db: Database, space: UUID, account: UUID) -> Hush:
    """What holds for somebody in a space."""
    row = await db.fetchrow("SELECT muted, deafened FROM hush WHERE space = $1 AND account = $2", space, account)
    return Hush(*row) if row else Hush()


async def put(tx: Transaction, space: UUID, account: UUID, now: Hush) -> None:
    """From now on, also when they come back."""
    if now == Hush():
        await tx.execute("DELETE FROM hush WHERE space = $1 AND account = $2", space, account)
        return
    await tx.execute(
        """
        INSERT INTO hush (space, account, muted, deafened) VALUES ($1, $2, $3, $4)
        ON CONFLICT (space, account) DO UPDATE SET muted = $3, deafened = $4
        """,
        space,
        account,
        now.muted,
        now.deafened,
    )
