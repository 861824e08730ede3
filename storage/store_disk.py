"""The store that is a folder: `partial/` holds what is on its way, the other folders what is kept.

Rule 1: a partial file is locked by who writes it: the lock goes with the process, so nobody who was killed keeps it,
and nobody writes behind the back of who has taken over.
Rule 2: what is kept was written to the disk, then renamed, then the folder was written to the disk: it is whole.
Rule 3: names come from ids alone, never from what people call their files.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from storage.store import Busy, Opening, Redirect, Wrong

T = TypeVar("T")
_READ = 1 << 20
_SYNC_EVERY = 64 << 20
_VECTORS = 512


class Disk:
    """A folder, and the few threads that touch it."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder, self._partial = folder, folder / "partial"
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="file")

    async def run(self, work: Callable[..., T], *values: object) -> T:
        """Do something that waits for the disk. Who is cancelled waits, too: what it works with must stay open."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, *values)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    async def open(self, opening: Opening) -> DiskSink:
        """Begin, or go on with what is there."""
        opened: list[DiskSink] = []
        try:
            await self.run(lambda: opened.append(self._open(opening)))
        except asyncio.CancelledError:
            for one in opened:
                await one.close()
            raise
        return opened[0]

    def _open(self, opening: Opening) -> DiskSink:
        self._partial.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial, final = self._partial / str(opening.key), self.path(str(opening.key))
        with suppress(FileNotFoundError):  # it was kept, and then its process died before that was noted
            final.rename(partial)
        handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not partial.exists() or os.fstat(handle).st_ino != partial.stat().st_ino:
                raise BlockingIOError
            return DiskSink(self, opening, handle, partial, final)
        except BlockingIOError:
            os.close(handle)
            raise Busy from None

    def path(self, key: str) -> Path:
        """Where it is kept, by the end of its id: that is random."""
        id = key.partition(".")[0]
        return self._folder / id[-2:] / id[-4:-2] / key

    def redirect(self, key: str, type: str, disposition: str) -> Redirect | None:
        """Nobody else has it."""
        return None

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        """Where it is."""
        yield self.path(key)

    async def put(self, key: str, path: Path) -> None:
        """Keep a copy of a file."""
        await self.run(self._put, key, path)

    def _put(self, key: str, path: Path) -> None:
        self._partial.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self._partial / key
        shutil.copyfile(path, partial)
        with partial.open("rb+") as file:
            keep(file.fileno(), partial, self.path(key))

    async def remove(self, key: str) -> None:
        """The file goes; its folder stays."""
        await self.run(lambda: self.path(key).unlink(missing_ok=True))

    async def abort(self, key: UUID, place: str) -> None:
        """Both of what may be there."""
        await self.run(lambda: (self._partial / str(key)).unlink(missing_ok=True))
        await self.remove(str(key))

    async def free(self) -> int | None:
        """Of the disk that the folder is on."""
        return await self.run(self._free)

    def _free(self) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return shutil.disk_usage(self._folder).free

    async def tidy(self) -> None:
        """Nothing is here that no row leads to."""

    async def stop(self) -> None:
        """What is being written is finished."""
        await asyncio.to_thread(self._threads.shutdown)


class DiskSink:
    """One file on its way."""

    def __init__(self, disk: Disk, opening: Opening, handle: int, partial: Path, final: Path) -> None:
        self._disk, self._opening, self._handle = disk, opening, handle
        self._partial, self._final = partial, final
        self.stored = min(os.fstat(handle).st_size, opening.size)
        self._hash = hashlib.sha256() if self.stored == 0 else None
        self._unsynced = 0

    async def write(self, parts: Sequence[bytes]) -> None:
        """The next bytes."""
        await self._disk.run(self._write, parts)

    def _write(self, parts: Sequence[bytes]) -> None:
        for at in range(0, len(parts), _VECTORS):
            self._write_some(list(parts[at : at + _VECTORS]))
        if self._unsynced >= _SYNC_EVERY:  # so that the last of it does not wait for all of it
            os.fdatasync(self._handle)
            self._unsynced = 0

    def _write_some(self, parts: Sequence[bytes]) -> None:
        size = sum(map(len, parts))
        written = os.pwritev(self._handle, parts, self.stored)
        if written < size:  # a disk that is full takes a part, and then refuses
            rest = memoryview(b"".join(parts))[written:]
            while rest:
                more = os.pwrite(self._handle, rest, self.stored + size - len(rest))
                rest = rest[more:]
        for part in parts if self._hash is not None else ():
            self._hash.update(part)  # type: ignore[union-attr]
        self.stored += size
        self._unsynced += size

    async def finish(self) -> None:
        """Look at the hash of what came through here as it came, at that of the rest by reading it."""
        await self._disk.run(self._finish)

    def _finish(self) -> None:
        os.ftruncate(self._handle, self._opening.size)
        found = self._hash.digest() if self._hash is not None else digest(self._handle)
        if found != self._opening.hash:
            raise Wrong
        keep(self._handle, self._partial, self._final)

    async def close(self) -> None:
        """Let go of the lock."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            await self._disk.run(os.close, handle)


def digest(handle: int) -> bytes:
    """The hash of a file, read in pieces."""
    found, buffer, at = hashlib.sha256(), bytearray(_READ), 0
    view = memoryview(buffer)
    while count := os.preadv(handle, [buffer], at):
        found.update(view[:count])
        at += count
    return found.digest()


def keep(handle: int, partial: Path, final: Path) -> None:
    """Rename what is written, so that it is there whole, also after a power cut."""
    os.fsync(handle)
    final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial.rename(final)
    for folder in (final.parent, final.parent.parent):
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
