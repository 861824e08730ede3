"""A connection to Redis that comes back by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from storage.redis_address import Address
from storage.redis_wire import Wire, connect

log = logging.getLogger("onesocket.bus")
W = TypeVar("W", bound=Wire)

_SOONEST, _LATEST = 0.1, 1.0
_STABLE = 5.0
_PATIENCE = 1.0


class Line(Generic[W]):
    """Keeps a wire open; `up` and `down` are told when there is a new one and when it is gone."""

    def __init__(
        self, address: Address, make: Callable[[], W], up: Callable[[], None], down: Callable[[W], None]
    ) -> None:
        self._address, self._make, self._up, self._down = address, make, up, down
        self._task: asyncio.Task[None] | None = None
        self._said = False
        self.wire: W | None = None
        self.tried = asyncio.Event()

    def start(self) -> None:
        """Connect, and again whenever the connection is lost."""
        self._task = asyncio.create_task(self._run(), name="redis line")

    async def stop(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop, pause = asyncio.get_running_loop(), _SOONEST
        while True:
            started = loop.time()
            try:
                await self._live()
            except Exception as error:  # whatever it is, the next connection may not have it
                self._say(str(error) or type(error).__name__)
                self.tried.set()
            if loop.time() - started > _STABLE:
                pause = _SOONEST
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LATEST)

    def _say(self, error: str) -> None:
        """Once for each time that it is away."""
        if not self._said:
            log.warning("redis cannot be reached: %s", error)
        self._said = True

    async def _live(self) -> None:
        async with asyncio.timeout(_PATIENCE):
            wire = await connect(self._address, self._make)
        self.wire, self._said = wire, False
        try:
            self._up()
            self.tried.set()
            await wire.watch()
            wire.abort()
        finally:
            self.wire = None
            self._down(wire)
            await wire.close()
