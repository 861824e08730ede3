"""The mails that the server writes, from the change they tell of to the outbox.

Rule: a mail is stored in the transaction of its change, sealed, and sent after the commit.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from msgspec import Struct

from protocol.error import Expired
from server.secret import Keyring, digest, ticket
from storage import mail
from storage import ticket as tickets
from storage.pool import Database, Pool

_DAY, _HOUR = 86400, 3600
_PURPOSE = "mail"


class Letter(Struct, frozen=True):
    """One mail on its way out."""

    id: UUID
    to: str
    subject: str
    text: str
    attempts: int


class Letters:
    """Writes mails, and hands them to the outbox."""

    def __init__(self, pool: Pool, keys: Keyring, public_url: Callable[[], str]) -> None:
        self._pool, self._keys, self._url = pool, keys, public_url
        self.wake: Callable[[], None] = lambda: None

    # What is written

    async def verify(self, db: Database, account: UUID, email: str) -> None:
        """Confirm an address."""
        link = await self._link(db, "verify", account, _DAY, email)
        await self._put(
            db,
            email,
            "Confirm your address",
            f"Somebody, hopefully you, gave this address to onesocket. To confirm it, open\n\n{link}\n\n"
            "The link is good for a day. If it was not you, do nothing: unconfirmed, the address counts for nothing.",
        )

    async def reset(self, db: Database, account: UUID, email: str) -> None:
        """Set a new password."""
        link = await self._link(db, "reset", account, _HOUR, "")
        await self._put(
            db,
            email,
            "Set a new password",
            f"To set a new password for your onesocket account, open\n\n{link}\n\n"
            "The link is good for an hour. If you did not ask for it, do nothing: your password stays as it is.",
        )

    async def taken(self, db: Database, email: str) -> None:
        """Tell the owner of an address that somebody tried to use it once more."""
        await self._put(
            db,
            email,
            "You have an account already",
            "Somebody, perhaps you, gave this address to a new onesocket account, but it belongs to yours. Nothing has "
            f"changed. If you forgot your password, you can set a new one:\n\n{self._url()}/reset",
        )

    async def notice(self, db: Database, email: str, what: str) -> None:
        """Tell somebody about a change that matters for their security."""
        await self._put(
            db,
            email,
            "Your account was changed",
            f"{what}\n\nIf it was not you, set a new password now: {self._url()}/reset",
        )

    async def _link(self, db: Database, page: str, account: UUID, seconds: int, data: str) -> str:
        secret = ticket()
        await tickets.issue(db, page, digest(secret), account, seconds, data)
        return f"{self._url()}/{page}#{secret}"

    async def _put(self, db: Database, to: str, subject: str, text: str) -> None:
        await mail.put(db, to, subject, self._keys.seal(text.encode(), _PURPOSE))

    # What the outbox takes

    async def claim(self, limit: int) -> list[Letter]:
        """Mails that are due; what cannot be read any more is dropped."""
        found = []
        for stored in await mail.claim(self._pool, limit):
            try:
                text = self._keys.unseal(stored.sealed, _PURPOSE).decode()
            except Expired:
                await mail.done(self._pool, stored.id)
                continue
            found.append(Letter(stored.id, stored.to, stored.subject, text, stored.attempts))
        return found

    async def done(self, one: UUID) -> None:
        """It was sent."""
        await mail.done(self._pool, one)

    async def retry(self, one: UUID, delay: float, error: str) -> None:
        """It was not."""
        await mail.retry(self._pool, one, delay)
