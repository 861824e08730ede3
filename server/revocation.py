"""Logins that ended: their sockets close on every process within a second.

Who ends a login tells the others by the bus, at once; besides, every process asks the database, so that a message
that was lost costs less than a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.error import Refusal, SessionRevoked
from storage import device

if TYPE_CHECKING:
    from server.hub import Hub
    from storage.bus import Bus
    from storage.pool import Pool

_CHANNEL = "revoked"
_EVERY = 0.7
_OVERLAP = timedelta(seconds=15)


class Revocations:
    """Hears of ended logins and closes their sockets."""

    def __init__(self, pool: Pool, bus: Bus, hub: Hub) -> None:
        self._pool, self._bus, self._hub = pool, bus, hub
        self._since: datetime | None = None
        bus.subscribe(_CHANNEL, self._heard)

    async def end(self, logins: Sequence[UUID]) -> None:
        """These logins were revoked (and committed): close them here and tell the others."""
        self._hub.end(logins, SessionRevoked())
        if logins:
            await self._bus.publish(_CHANNEL, b"".join(login.bytes for login in logins))

    def _heard(self, data: bytes) -> None:
        self._hub.end((UUID(bytes=data[at : at + 16]) for at in range(0, len(data), 16)), SessionRevoked())

    async def run(self) -> None:
        """Ask the database, again and again."""
        while True:
            # Away, says health; what is missed meanwhile is asked for when the database is back.
            with contextlib.suppress(Refusal):
                await self._ask()
            await asyncio.sleep(_EVERY)

    async def _ask(self) -> None:
        at, logins = await device.revoked_since(self._pool, self._since and self._since - _OVERLAP)
        self._since = at
        self._hub.end(logins, SessionRevoked())
