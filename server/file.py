"""Files: how an upload begins and ends, who may read what, and what goes by itself.

Rule 1: a file can be read by its owner, by whoever can read a message that carries it, and by everybody when that is
        its purpose; this is looked at when a link is made, and a link is good for a while.
Rule 2: what is begun is a row before the first byte, and bytes go before their last row does: so nothing is ever left
        that no row leads to.
Rule 3: what looks into a finished file is `process`, and nothing else here does. While there is none, a finished file
        is ready at once; what it was said to be is then believed, and never shown by a browser as a page.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import UUID, uuid4

from msgspec import Struct, structs

from protocol.codec import encode
from protocol.error import Conflict, Damaged, Full, Missing, Overloaded, Refusal, SessionRevoked, TooLarge
from protocol.file import ORIGINAL, Begun, Details, File, FileBegin, FileChanged, Link, State
from server.upload import Transfer, Uploads
from storage import file as rows
from storage import upload as uploads
from storage.ids import new_id
from storage.store import Busy, Opening, Sink, Store
from storage.store_disk import Disk

if TYPE_CHECKING:
    from pathlib import Path

    from server.app import Server
    from server.config import Config
    from server.context import Context
    from storage.pool import Transaction
    from storage.upload import Upload

log = logging.getLogger("onesocket.file")

MIB = 1 << 20
_UNFINISHED = 50  # of one account
_BUSY_TRIES, _BUSY_WAIT = 60, 0.05
_SWEEP_EVERY, _AT_ONCE = 60.0, 100
_NOBODY = UUID(int=0)
_DAY = 24.0  # hours: after that what was not gone on with, or not sent, is forgotten


class Looked(Struct, frozen=True):
    """What was found out about a file; `type`: what it is, where that is not what it was said to be."""

    state: State
    details: Details | None = None
    type: str | None = None


Keep = Callable[[str, str, "Path"], Awaitable[None]]
# What looks into a finished file. It is given the file, where its bytes are, and how to keep what it makes of them: by
# a name, a type and where that is; what is kept as `original` is read instead of what was uploaded.
Process = Callable[[File, "Path", Keep], Awaitable[Looked]]


class Files:
    """Everything about files of one process."""

    def __init__(self, server: Server, store: Store) -> None:
        config = server.config
        self._server, self.store = server, store
        self.uploads = Uploads(
            server.pool,
            part=config.file_part_kib << 10,
            window=config.file_window_kib << 10,
            memory=config.file_memory_mib << 20,
        )
        self.quota = config.file_quota_mib * MIB
        picture = config.file_picture_mib * MIB
        self._largest = {
            "attachment": config.file_attachment_mib * MIB,
            "voice": config.file_voice_mib * MIB,
            "avatar": picture,
            "emoji": picture,
            "sticker": picture,
            "backup": config.file_backup_mib * MIB,
        }
        self.process: Process | None = None
        self._wake = asyncio.Event()

    # Beginning

    async def begin(self, ctx: Context, frame: FileBegin) -> Begun:
        """A new one, one that goes on, or one that is there already."""
        await self._check(ctx, frame)
        writer = uuid4()
        async with ctx.db.transaction() as tx:
            if not await rows.hold(tx, ctx.user):
                raise SessionRevoked
            one = await self._finished_before(tx, ctx.user, frame)
            if one is not None:
                return Begun(file=one, number=None, offset=one.size, window=0, part=0)
            one = await self._unfinished(tx, ctx.user, frame)
            upload = await uploads.begin(tx, new_id(), one.id, writer)
        await self.uploads.take_over(one.id)
        sink = await self._open(one, upload)
        transfer = Transfer(self.uploads, ctx, upload, one.id, one.size, sink)
        try:
            self.uploads.add(transfer)
        except BaseException:
            await transfer.close()
            raise
        return Begun(
            file=one, number=transfer.number, offset=sink.stored, window=transfer.window, part=self.uploads.part
        )

    async def _check(self, ctx: Context, frame: FileBegin) -> None:
        most = self._largest[frame.purpose]
        if frame.size > most:
            raise TooLarge(f"at most {most // MIB} MiB for this purpose", field="size")
        self.uploads.check_room(ctx)
        free = await self.store.free()
        least = self._server.config.disk_free_mib * MIB
        if free is not None and free - frame.size < least:
            log.error("an upload was refused: only %d MiB are free", free // MIB)
            raise Full("the server's disk is full: come back later")

    async def _finished_before(self, tx: Transaction, account: UUID, frame: FileBegin) -> File | None:
        """The same bytes need not come again: another file has them, or this very one."""
        blob = await rows.kept_blob(tx, account, frame.hash, frame.size)
        if blob is None:
            return None
        one = await rows.finished(tx, account, blob, frame.purpose, frame.name)
        if one is None:
            one = _new(frame, "ready")
            await rows.add(tx, account, one, blob)
            one = await rows.own(tx, account, one.id)
            assert one is not None
        if one.purpose in rows.CARRIED:
            await rows.loosen(tx, one.id, _DAY)
        return one

    async def _unfinished(self, tx: Transaction, account: UUID, frame: FileBegin) -> File:
        one = await rows.unfinished(tx, account, frame.purpose, frame.hash, frame.size)
        if one is not None:
            if (one.name, one.type) != (frame.name, frame.type):
                await rows.rename(tx, one.id, frame.name, frame.type)
            return structs.replace(one, name=frame.name, type=frame.type)
        if await uploads.count(tx, account) >= _UNFINISHED:
            raise Conflict(f"you have begun {_UNFINISHED} files: finish or cancel one first")
        if await rows.used(tx, account) + frame.size > self.quota:
            raise Full(f"your files may take {self.quota // MIB} MiB: delete some", field="size")
        one = _new(frame, "uploading")
        await rows.add(tx, account, one, None)
        return one

    async def _open(self, one: File, upload: Upload) -> Sink:
        """Another process that is still at it learns within a second that it is not."""

        async def note(place: str, parts: object) -> bool:
            return await uploads.note(self._server.pool, upload.key, upload.writer, place, parts)  # type: ignore[arg-type]

        opening = Opening(upload.key, one.size, bytes.fromhex(one.hash), upload.place, upload.parts, note)
        for _ in range(_BUSY_TRIES):
            try:
                return await self.store.open(opening)
            except Busy:
                await asyncio.sleep(_BUSY_WAIT)
        raise Overloaded("another process is still at this file", retry_after=1)

    # Ending

    async def finish(self, ctx: Context, one: File) -> File:
        """Keep it; again is no error."""
        if one.state != "uploading":
            return one
        transfer = self.uploads.of(ctx, one.id)
        if transfer is None:
            raise Conflict("begin it over this socket first")
        try:
            await transfer.finish()
        except Damaged:
            await self.drop(ctx, one)
            raise
        state: State = "ready" if self.process is None else "processing"
        async with ctx.db.transaction() as tx:
            await self._keep(tx, ctx.user, one, transfer.upload, state)
        await self.uploads.end(transfer)
        found = await rows.own(ctx.db, ctx.user, one.id)
        if found is None:
            raise Missing
        if self.process is not None:
            self._server.later(self._look_into(ctx.user, found))
        return found

    async def _keep(self, tx: Transaction, account: UUID, one: File, upload: Upload, state: State) -> None:
        if not await rows.hold(tx, account):
            raise SessionRevoked
        if not await uploads.hold(tx, upload.key, upload.writer):
            raise Conflict("this goes on over another socket, or was cancelled")
        blob = await rows.kept_blob(tx, account, one.hash, one.size)
        if blob is None:
            blob = upload.key
            await rows.keep_blob(tx, blob, account, one)
            await uploads.finish(tx, upload.key)
        else:
            await uploads.let_go(tx, upload.key)
            self._wake.set()
        await rows.settle(tx, one.id, state, blob)
        if one.purpose in rows.CARRIED:
            await rows.loosen(tx, one.id, _DAY)

    async def _look_into(self, account: UUID, one: File) -> None:
        """The seam to what looks into files."""
        assert self.process is not None
        blob = await rows.content_of(self._server.pool, one.id)
        if blob is None:
            return

        async def keep(name: str, type: str, path: Path) -> None:
            await self.store.put(f"{blob}.{name}", path)
            await rows.add_variant(self._server.pool, blob, name, type, path.stat().st_size)

        async with self.store.local(str(blob)) as path:
            looked = await self.process(one, path, keep)
        await self.settle(account, one.id, looked)

    async def settle(self, account: UUID, id: UUID, looked: Looked) -> None:
        """Note and tell what has become of a file that was looked into."""
        await rows.settle(self._server.pool, id, looked.state, None, looked.details, looked.type)
        found = await rows.own(self._server.pool, account, id)
        if found is not None:
            self._server.streams.tell(account, "messages", _NOBODY, encode(FileChanged(file=found)))

    async def drop(self, ctx: Context, one: File) -> None:
        """Nothing is kept of it."""
        transfer = self.uploads.of(ctx, one.id)
        await rows.delete(ctx.db, ctx.user, [one.id])
        if transfer is not None:
            await self.uploads.end(transfer)
        self._wake.set()

    async def delete(self, ctx: Context, one: File) -> None:
        """Unless a message carries it."""
        async with ctx.db.transaction() as tx:
            await rows.hold(tx, ctx.user)
            if await rows.is_used(tx, one.id):
                raise Conflict("a message carries this: take that back first")
            await rows.delete(tx, ctx.user, [one.id])
        transfer = self.uploads.of(ctx, one.id)
        if transfer is not None:
            await self.uploads.end(transfer)
        self._wake.set()

    # Reading

    def link(self, one: File, variant: str) -> Link:
        """Where it can be read by whoever knows this."""
        if one.state != "ready":
            raise Conflict("this file is not ready")
        if variant != ORIGINAL and (one.details is None or variant not in one.details.variants):
            raise Missing(field="variant")
        path = f"/file/{one.id}/{variant}"
        base = self._server.public_url
        if one.purpose in rows.PUBLIC:
            return Link(url=base + path, until=None)
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=self._server.config.file_link_minutes)
        stamp = int(until.timestamp())
        key = self._server.keys.sign(signed(one.id, variant, stamp))
        return Link(url=f"{base}{path}/{quote(one.name, safe='')}?until={stamp}&key={key}", until=until)

    # What goes by itself

    def wake(self) -> None:
        """There is something to remove."""
        self._wake.set()

    async def run(self) -> None:
        """Remove what nobody needs, again and again."""
        while True:
            try:
                await self.sweep()
            except (Refusal, OSError) as error:
                log.warning("what is left of files is not removed: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _SWEEP_EVERY)
            self._wake.clear()

    async def sweep(self) -> None:
        """What was not gone on with, what no message carries any more, and bytes that no file has."""
        pool = self._server.pool
        await uploads.abandon(pool, _DAY, _AT_ONCE)
        while await rows.let_go(pool, _AT_ONCE) == _AT_ONCE:
            pass
        while some := await uploads.left_over(pool, _AT_ONCE):
            for upload in some:
                await self.store.abort(upload.key, upload.place)
                await uploads.forget(pool, upload.key)
        while blobs := await rows.forsake(pool, _AT_ONCE):
            for blob in blobs:
                await self._remove(blob)
        for account, one in await rows.unsettled(pool, _AT_ONCE) if self.process is not None else ():
            await self._look_into(account, one)
        await self.store.tidy()

    async def _remove(self, blob: UUID) -> None:
        for variant in await rows.variants(self._server.pool, blob):
            await self.store.remove(f"{blob}.{variant}")
        await self.store.remove(str(blob))
        await rows.forget_blob(self._server.pool, blob)

    async def stop(self) -> None:
        """Uploads are gone on with elsewhere."""
        await self.uploads.stop()
        await self.store.stop()


def signed(id: UUID, variant: str, until: int) -> bytes:
    """What the key of a link proves."""
    return f"{id}/{variant}/{until}".encode()


def _new(frame: FileBegin, state: State) -> File:
    return File(
        id=new_id(),
        purpose=frame.purpose,
        name=frame.name,
        type=frame.type,
        size=frame.size,
        hash=frame.hash,
        state=state,
        created_at=datetime.now(UTC),
        details=None,
        url=None,
    )


def store(config: Config) -> Store:
    """Where this server keeps files."""
    folder = config.files or config.folder / "files"
    if not config.s3_endpoint:
        return Disk(folder, config.file_threads)
    from storage.store_s3 import S3  # brings an HTTP client along, which costs memory

    key = config.s3_access_key, config.s3_secret_key
    return S3(config.s3_endpoint, config.s3_bucket, config.s3_region, key, folder / "parts", config.file_threads)
