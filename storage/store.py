"""Stores: where the bytes of files are. One interface; a folder on disk, or a bucket that speaks S3.

Rule 1: nothing takes a whole file into memory.
Rule 2: `finish` returns when the bytes would survive a power cut, under their key, and are what they were said to be.
Rule 3: what was begun can be gone on with from `Sink.stored`, also by another process.
Rule 4: one sink writes: who opens a second one waits until the first has let go, or changes nothing by what it does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol
from uuid import UUID

from msgspec import Struct

Note = Callable[[str, Sequence[str]], Awaitable[bool]]


class Busy(Exception):
    """Somebody else writes this at the moment."""


class Wrong(Exception):
    """The bytes are not those that were announced."""


class Lost(Exception):
    """Another transfer writes this by now."""


class Opening(Struct, frozen=True):
    """What is to be written: `place` and `parts` are what `note` was told of it last."""

    key: UUID
    size: int
    hash: bytes
    place: str
    parts: Sequence[str]
    note: Note


class Sink(Protocol):
    """Bytes on their way into a store; one call at a time."""

    stored: int

    async def write(self, parts: Sequence[bytes]) -> None:
        """The next bytes."""

    async def finish(self) -> None:
        """All are there: keep them under their key; `Wrong` when their hash is another."""

    async def close(self) -> None:
        """Let go; it can be gone on with."""


class Redirect(Struct, frozen=True):
    """Where somebody else serves it."""

    url: str


class Store(Protocol):
    """Where bytes are kept."""

    async def open(self, opening: Opening) -> Sink:
        """Begin, or go on; `Busy` while another process writes it."""

    def path(self, key: str) -> Path | None:
        """The file on this machine's disk, if that is where it is."""

    def redirect(self, key: str, type: str, disposition: str) -> Redirect | None:
        """Where a reader is sent instead, if it is not."""

    def local(self, key: str) -> AbstractAsyncContextManager[Path]:
        """It, as a file on disk for a while: for those who have to look into it."""

    async def put(self, key: str, path: Path) -> None:
        """Keep a file under a key."""

    async def remove(self, key: str) -> None:
        """It is no more; no error when it was not."""

    async def abort(self, key: UUID, place: str) -> None:
        """What has come of an upload is no more."""

    async def free(self) -> int | None:
        """How many bytes there is room for; None when nobody knows."""

    async def tidy(self) -> None:
        """Remove what processes that were killed have left on this machine's disk."""

    async def stop(self) -> None:
        """Let go of everything."""
