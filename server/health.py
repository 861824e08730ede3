"""Whether the server can do its work: database, redis, disk; told in /readyz and, when it changes, in the log."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.error import Refusal

if TYPE_CHECKING:
    from storage.bus import Bus
    from storage.pool import Pool

log = logging.getLogger("onesocket.health")
_MIB = 1 << 20


class Health:
    """Looks once a second; the answers are ready when somebody asks."""

    def __init__(self, pool: Pool, bus: Bus, folder: Path, disk_free_mib: int) -> None:
        self._pool, self._bus, self._folder, self._least = pool, bus, folder, disk_free_mib
        self._since: dict[str, float] = {}
        self.parts: dict[str, str] = {"database": "ok", "redis": "ok", "disk": "ok"}
        self.draining = False

    async def run(self) -> None:
        """Look, again and again."""
        while True:
            await self.look()
            await asyncio.sleep(1)

    async def look(self) -> None:
        """Look once."""
        database, redis = await asyncio.gather(self._database(), self._redis())
        self._note("database", database)
        self._note("redis", redis)
        self._note("disk", self._disk())

    @property
    def ready(self) -> bool:
        """Whether clients should come here; without Redis the server is slower, not useless."""
        self._notice()
        return not self.draining and self.parts["database"] == "ok" and self.parts["disk"] == "ok"

    def _notice(self) -> None:
        """What a request or a lost connection has noticed before we looked."""
        if self._pool.away and self.parts["database"] == "ok":
            self._note("database", "went away a moment ago")
        if not self._bus.alive and self.parts["redis"] == "ok":
            self._note("redis", "went away a moment ago")

    def report(self) -> tuple[bool, bytes]:
        """The answer to /readyz."""
        ready = self.ready
        whole = all(part == "ok" for part in self.parts.values())
        status = "draining" if self.draining else "ok" if whole else "degraded" if ready else "down"
        return ready, json.dumps({"status": status, **self.parts}).encode() + b"\n"

    def _note(self, part: str, state: str) -> None:
        before, self.parts[part] = self.parts[part], state
        now = asyncio.get_running_loop().time()
        if before == "ok" and state != "ok":
            self._since[part] = now
            log.error("%s: %s", part, state)
        elif before != "ok" and state == "ok":
            log.warning("%s is back after %.1f s", part, now - self._since.pop(part, now))

    async def _database(self) -> str:
        try:
            async with asyncio.timeout(3):
                await self._pool.fetchval("SELECT 1")
        except (Refusal, TimeoutError) as error:
            return str(error) or "does not answer"
        self._pool.away = False
        return "ok"

    async def _redis(self) -> str:
        return "ok" if await self._bus.check() else "does not answer"

    def _disk(self) -> str:
        try:
            free = shutil.disk_usage(self._folder).free // _MIB
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return "ok" if free >= self._least else f"only {free} MiB free"
