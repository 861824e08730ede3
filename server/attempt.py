"""How often somebody may try: to log in, to register, to have mails sent, to guess codes.

Rule 1: an attempt is counted before it is made, and given back when it was rightful.
Rule 2: limits know names and addresses, never whether an account exists.
Rule 3: all processes count together in Redis; without it each counts for itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from uuid import UUID

from protocol.error import RateLimited
from server import proxy
from server.limit import Limiter, Rate, as_told
from storage import throttle
from storage.bus import Bus
from storage.throttle import Attempt

_QUARTER = 900.0
_HOUR = 3600.0


class Attempts:
    """Counts attempts."""

    def __init__(self, bus: Bus, scale: float) -> None:
        self._bus, self._scale, self._own = bus, scale, Limiter()

    async def take(self, attempts: Sequence[Attempt]) -> None:
        """Count one attempt, or refuse it with the time to wait."""
        scaled = [Attempt(one.key, one.count * self._scale, one.period) for one in attempts]
        wait = await throttle.take(self._bus, scaled)
        if wait is None:
            wait = self._take_here(scaled)
        if wait > 0:
            raise RateLimited(retry_after=as_told(wait))

    def _take_here(self, attempts: Sequence[Attempt]) -> float:
        """One use from all of them or, when one is used up, from none."""
        waits = [self._own.wait(Rate(one.count, one.period), one.key, None) for one in attempts]
        if any(waits):
            self._give_back_here([one for one, wait in zip(attempts, waits, strict=True) if not wait])
        return max(waits)

    async def give_back(self, attempts: Sequence[Attempt]) -> None:
        """It was rightful."""
        scaled = [Attempt(one.key, one.count * self._scale, one.period) for one in attempts]
        await throttle.give_back(self._bus, scaled)
        self._give_back_here(scaled)

    def _give_back_here(self, attempts: Sequence[Attempt]) -> None:
        for one in attempts:
            self._own.give_back(Rate(one.count, one.period), one.key, None)


def logins(address: str, name: str) -> list[Attempt]:
    """A password guess: for this name from this address, and from this address for any name."""
    place, who = _short(proxy.group(address)), _short(name)
    return [Attempt(f"login:{place}:{who}", 5, _QUARTER), Attempt(f"login:{place}", 50, _QUARTER)]


def logins_anywhere(name: str) -> list[Attempt]:
    """A password guess for this name from addresses it has not logged in from before."""
    return [Attempt(f"login::{_short(name)}", 100, _QUARTER)]


def passwords(account: str) -> list[Attempt]:
    """A password asked for by somebody who is logged in already."""
    return [Attempt(f"password:{account}", 10, _QUARTER)]


def codes(account: str) -> list[Attempt]:
    """An authenticator's code, wherever it is given."""
    return [Attempt(f"code:{account}", 10, _QUARTER)]


def registrations(address: str) -> list[Attempt]:
    """A new account."""
    return [Attempt(f"register:{_short(proxy.group(address))}", 20, _HOUR)]


def mails(address: str, recipient: str) -> list[Attempt]:
    """A mail asked for from an address to an address."""
    return [
        Attempt(f"mail:{_short(proxy.group(address))}", 30, _HOUR),
        Attempt(f"mail::{_short(recipient.lower())}", 5, _HOUR),
    ]


def tickets(address: str) -> list[Attempt]:
    """A ticket, a refresh token or a key shown by a stranger: guessing them is hopeless, and costs us a query."""
    return [Attempt(f"ticket:{_short(proxy.group(address))}", 600, 60.0)]


def invites(account: UUID, address: str) -> list[Attempt]:
    """A code that leads into no space."""
    place = _short(proxy.group(address))
    return [Attempt(f"invite:{account}", 20, _QUARTER), Attempt(f"invite::{place}", 200, _QUARTER)]


def invitations(account: UUID) -> list[Attempt]:
    """Inviting somebody who did not ask for it."""
    return [Attempt(f"invitation:{account}", 100, _HOUR)]


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=9).hexdigest()
