"""The heartbeat: following a connection to its end, and asking in between whether everything came.

Rule: a loss that nobody noticed is found within one heartbeat, however quiet the streams are.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

from protocol.client.connection import Connection, Disconnected
from protocol.client.streams import Streams
from protocol.codec import encode
from protocol.error import Refusal
from protocol.session import Head, SessionPing

_ANSWERED_WITHIN = 10.0
_ON_THEIR_WAY = 3.0


class Heartbeat:
    """Compares heads with the server, over one connection."""

    def __init__(self, connection: Connection, streams: Streams, behind: Callable[[], None]) -> None:
        """`behind`: called when the server has facts that did not come."""
        self._connection, self._streams, self._behind = connection, streams, behind
        self._hello = connection.hello.result()

    async def watch(self) -> None:
        """Go on until the connection is over; streams in doubt are asked about at once."""
        pause = 0.0 if self._streams.cursors.doubts else self._pause()
        while not await self._over(pause):
            with suppress(Refusal, Disconnected, TimeoutError):
                await self._beat()
            pause = self._pause()

    def _pause(self) -> float:
        """A little less than the server's, and not at the same time as everybody."""
        return max(self._hello.heartbeat, 1) * random.uniform(0.8, 1.0)  # noqa: S311

    async def _over(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._connection.over.wait()
        return self._connection.over.is_set()

    async def _beat(self) -> None:
        lacking = await self._compare()
        if lacking and not await self._over(_ON_THEIR_WAY) and any(map(self._streams.lacks, lacking)):
            self._behind()

    async def _compare(self) -> list[Head]:
        """The facts that the server has and we don't, as of now; asked in as many frames as doubts take."""
        cursors, lacking, doubts = self._streams.cursors, list[Head](), None
        room = self._hello.limits.frame_bytes - len(encode(SessionPing(id=2**53 - 1)))
        while cursors and cursors.doubts != doubts:
            doubts = cursors.doubts
            heads = cursors.heads(room)
            async with asyncio.timeout(_ANSWERED_WITHIN):
                pong = await self._connection.ask(SessionPing(heads=heads))
            lacking += self._streams.compared(heads, pong.behind)
            if not cursors.doubts:
                break
        return lacking
