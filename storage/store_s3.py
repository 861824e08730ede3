"""The store that is a bucket: parts are gathered on disk, then sent; readers are sent there with a signed address.

Rule 1: what the bucket has of an upload is noted with its row, part by part: another node goes on behind the last one.
Rule 2: who has been taken over changes nothing: what is put together are the parts that are noted, by their tags.
Rule 3: what did not come through this process as a whole is read once to be compared with its hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

from storage.s3 import Bucket, Signer, check
from storage.store import Lost, Opening, Redirect, Wrong

_PART = 8 << 20  # at least 5 MiB, but for the last
_PARTS = 9000  # at most 10,000
_READABLE = 300  # seconds
_OLD = 86400
_UPLOAD_ID = re.compile(rb"<UploadId>([^<]+)</UploadId>")


class S3:
    """A bucket, and a folder for parts on their way."""

    def __init__(
        self, endpoint: str, bucket: str, region: str, key: tuple[str, str], folder: Path, threads: int
    ) -> None:
        self.signer = Signer(endpoint, bucket, region, key)
        self.bucket = Bucket(self.signer)
        self._folder = folder
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="file")

    async def run(self, work: Callable[..., object], *values: object) -> None:
        """Do something that waits for the disk. Who is cancelled waits, too: what it works with must stay open."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, *values)
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    async def open(self, opening: Opening) -> S3Sink:
        """Begin, or go on behind the last part."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return S3Sink(self, opening, self._folder / f"{opening.key}.{uuid4().hex}")

    def path(self, key: str) -> Path | None:
        """It is elsewhere."""
        return None

    def redirect(self, key: str, type: str, disposition: str) -> Redirect | None:
        """To where it is, with what a browser must know."""
        about = {"response-content-type": type, "response-content-disposition": disposition}
        return Redirect(self.signer.presigned(key, _READABLE, about))

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        """A copy, for a while."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{key}.{uuid4().hex}"
        try:
            with path.open("wb") as file:
                async for part in self.bucket.read(key):
                    await self.run(file.write, part)
            yield path
        finally:
            path.unlink(missing_ok=True)

    async def put(self, key: str, path: Path) -> None:
        """In one request."""
        found = await asyncio.to_thread(_hash, path)
        check(await self.bucket.ask("PUT", key, body=path, hash=found), "a file")

    async def remove(self, key: str) -> None:
        """It is no more."""
        reply = await self.bucket.ask("DELETE", key)
        if not reply.missing:
            check(reply, "to remove a file")

    async def abort(self, key: UUID, place: str) -> None:
        """Its parts, and what was made of them."""
        if place:
            reply = await self.bucket.ask("DELETE", str(key), {"uploadId": place})
            if not reply.missing:
                check(reply, "to give up a file")
        await self.remove(str(key))

    async def free(self) -> int | None:
        """A bucket has no end."""
        return None

    async def tidy(self) -> None:
        """Parts of processes that were killed."""
        await self.run(self._tidy)

    def _tidy(self) -> None:
        for path in self._folder.glob("*") if self._folder.exists() else ():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _OLD:
                    path.unlink()

    async def stop(self) -> None:
        """Let go of the connections."""
        await self.bucket.stop()
        await asyncio.to_thread(self._threads.shutdown)


class S3Sink:
    """One file on its way."""

    def __init__(self, store: S3, opening: Opening, path: Path) -> None:
        self._store, self._opening, self._path = store, opening, path
        self._key, self._place = str(opening.key), opening.place
        self._parts = list(opening.parts)
        self._part = max(_PART, -(-opening.size // _PARTS))
        self.stored = min(sum(int(part.partition(" ")[0]) for part in self._parts), opening.size)
        self._hash = hashlib.sha256() if not self.stored else None
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._gathered, self._part_hash = 0, hashlib.sha256()

    async def write(self, parts: Sequence[bytes]) -> None:
        """The next bytes; a part that is full is sent."""
        await self._store.run(self._gather, parts)
        if self._gathered >= self._part and self.stored < self._opening.size:
            await self._send_part()

    def _gather(self, parts: Sequence[bytes]) -> None:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(self._handle, view) :]
            self._part_hash.update(part)
            if self._hash is not None:
                self._hash.update(part)
            self._gathered += len(part)
            self.stored += len(part)

    async def _send_part(self) -> None:
        bucket = self._store.bucket
        if not self._place:
            reply = check(await bucket.ask("POST", self._key, {"uploads": ""}), "to begin a file")
            found = _UPLOAD_ID.search(reply.body)
            assert found is not None
            self._place = html.unescape(found[1].decode())
            await self._note()
        query = {"partNumber": str(len(self._parts) + 1), "uploadId": self._place}
        reply = await bucket.ask("PUT", self._key, query, self._path, self._part_hash.hexdigest())
        tag = check(reply, "a part").headers["ETag"]
        self._parts.append(f"{self._gathered} {tag}")
        await self._note()
        await self._store.run(self._begin_part)

    def _begin_part(self) -> None:
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        self._gathered, self._part_hash = 0, hashlib.sha256()

    async def _note(self) -> None:
        if not await self._opening.note(self._place, self._parts):
            raise Lost

    async def finish(self) -> None:
        """Put together what is noted."""
        if self._hash is not None and self._hash.digest() != self._opening.hash:
            raise Wrong
        if not self._place:
            hash = self._part_hash.hexdigest()
            check(await self._store.bucket.ask("PUT", self._key, body=self._path, hash=hash), "a file")
            return
        if self._gathered:
            await self._send_part()
        await self._put_together()
        if self._hash is None and await self._digest() != self._opening.hash:
            await self._store.remove(self._key)
            raise Wrong

    async def _put_together(self) -> None:
        tags = [html.escape(part.partition(" ")[2], quote=False) for part in self._parts]
        inner = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>" for number, tag in enumerate(tags, 1)
        )
        body = f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()
        reply = await self._store.bucket.ask("POST", self._key, {"uploadId": self._place}, body)
        if reply.missing:  # it was done before, by somebody who was killed then
            reply = await self._store.bucket.ask("HEAD", self._key)
            self._hash = None
        check(reply, "to finish a file")

    async def _digest(self) -> bytes:
        found = hashlib.sha256()
        async for part in self._store.bucket.read(self._key):
            await self._store.run(found.update, part)
        return found.digest()

    async def close(self) -> None:
        """What was gathered and not sent is forgotten: it comes again."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            self._path.unlink(missing_ok=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
