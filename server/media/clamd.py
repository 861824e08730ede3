"""Asks clamd whether a file is a known virus: its INSTREAM command, over TCP or a Unix socket, piece by piece.

Rule 1: a file that clamd found something in is refused; one that it could not look at is refused, too, unless the
operator has said otherwise (`required`).
Rule 2: what clamd answers is bounded, and so is the time that it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

from server.media.job import Rejected

log = logging.getLogger("onesocket.clamd")

_PIECE = 64 * 1024
_ANSWER = 4096
_AT_ONCE = 4
_FOUND = re.compile(rb"^stream: (.{1,200}) FOUND$", re.S)
_PORT = 3310


class _AwayError(Exception):
    """clamd did not say whether the file is clean."""


class Scanner:
    """Scans files. `url` is tcp://host:port or unix:///path; ValueError when it is neither."""

    def __init__(self, url: str, *, required: bool = True, connect: float = 5.0, patience: float = 60.0) -> None:
        parts = urlsplit(url)
        if not (parts.scheme == "tcp" and parts.hostname) and not (parts.scheme == "unix" and parts.path):
            raise ValueError(f"clamd_url is tcp://host:port or unix:///path, not {url!r}")
        self._path = parts.path if parts.scheme == "unix" else ""
        self._host, self._port = parts.hostname or "", parts.port or _PORT
        self._required, self._connect, self._patience = required, connect, patience
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def scan(self, source: Path) -> None:
        """Return when the file is clean; `Rejected` when it is not, or when nobody knows."""
        try:
            async with self._turns, asyncio.timeout(self._patience):
                answer = await self._ask(source)
        except (_AwayError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            log.warning("clamd did not look at a file: %s", error or type(error).__name__)
            if self._required:
                raise Rejected("unscanned", "clamd did not look at it") from None
            return
        if answer is not None:
            raise Rejected("infected", answer)

    async def answers(self) -> bool:
        """Whether somebody is there."""
        with contextlib.suppress(OSError, TimeoutError, RuntimeError):
            async with asyncio.timeout(self._connect), self._opened() as (reader, writer):
                writer.write(b"zPING\0")
                return await _until_zero(reader) == b"PONG"
        return False

    async def _ask(self, source: Path) -> str | None:
        """The name of what was found, None for nothing."""
        async with self._opened() as (reader, writer):
            answer = asyncio.ensure_future(_until_zero(reader))
            try:
                # it may have said why it went; uvloop says by RuntimeError that a connection is closed
                with contextlib.suppress(ConnectionError, RuntimeError):
                    await self._stream(source, writer, answer.done)
                said = await answer
            finally:
                answer.cancel()
        if said == b"stream: OK":
            return None
        found = _FOUND.match(said)
        if found is None:
            raise _AwayError(re.sub(r"[^ -~]", "?", said.decode("latin-1"))[:100] or "no answer")
        return re.sub(r"[^ -~]", "?", found[1].decode("latin-1"))

    async def _stream(self, source: Path, writer: asyncio.StreamWriter, answered: Callable[[], bool]) -> None:
        """Send it piece by piece; who answers before its end has seen enough."""
        writer.write(b"zINSTREAM\0")
        with source.open("rb") as file:
            while not answered() and (piece := await asyncio.to_thread(file.read, _PIECE)):
                writer.write(len(piece).to_bytes(4, "big") + piece)
                await writer.drain()
        writer.write(bytes(4))
        await writer.drain()

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with asyncio.timeout(self._connect):
            if self._path:
                reader, writer = await asyncio.open_unix_connection(self._path)
            else:
                reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def _until_zero(reader: asyncio.StreamReader) -> bytes:
    """One answer, which ends with a zero byte or with the connection."""
    said = b""
    while b"\0" not in said and len(said) < _ANSWER:
        piece = await reader.read(_ANSWER)
        if not piece:
            break
        said += piece
    return said.partition(b"\0")[0]
