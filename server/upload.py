"""Uploads as they come: binary frames of sockets into the store.

Rule 1: who sends more than the window beyond what was told to be written is refused, and memory is bounded by that:
        sockets share one sum. Reading is never stopped: messages come over the same socket.
Rule 2: bytes come in order; what is not the next ends the transfer, not the socket, and it can be gone on with.
Rule 3: writing and hashing is done in a few threads; the loop only takes and hands on.
Rule 4: one transfer writes a file: who begins again takes over, from a socket of this process or of another.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.codec import encode
from protocol.error import Conflict, Damaged, Full, Internal, Invalid, Missing, Overloaded, Refusal, Unauthenticated
from protocol.file import FileFailed, FileStored
from storage import upload as rows
from storage.store import Lost, Wrong

if TYPE_CHECKING:
    from server.context import Context
    from storage.pool import Pool
    from storage.store import Sink
    from storage.upload import Upload

log = logging.getLogger("onesocket.file")

HEAD = 12  # bytes before the data: the transfer's number and the offset
_EACH = 4  # of one socket
_LEAST = 2  # parts: a window smaller than that stops at each
_OF_ONE = 8  # of one account in this process
_EVERY = 1.0
_PATIENCE = 60.0


class Transfer:
    """A file that comes over a socket."""

    def __init__(self, uploads: Uploads, ctx: Context, upload: Upload, file: UUID, size: int, sink: Sink) -> None:
        self._uploads, self.ctx, self.upload, self.sink = uploads, ctx, upload, sink
        self.file, self.size, self.number = file, size, 0
        self.account, self.window = ctx.user, 0
        self.received = sink.stored
        self.over = False
        self.moved = asyncio.get_running_loop().time()
        self._waiting: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self._finishing: asyncio.Task[None] | None = None

    def take(self, offset: int, data: bytes) -> None:
        """Some bytes; a `Refusal` ends it."""
        if offset != self.received:
            raise Invalid(f"the next bytes are those at {self.received}, not at {offset}")
        if not data or offset + len(data) > self.size:
            raise Invalid(f"the file ends at {self.size}")
        if offset + len(data) - self.sink.stored > self.window:
            raise Invalid("this is more than may be under way: wait for `file.stored`")
        self.moved = asyncio.get_running_loop().time()
        self._waiting.append(data)
        self.received += len(data)
        self._uploads.bytes += len(data)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write(), name="upload")

    async def _write(self) -> None:
        """All that waits, and then what has come meanwhile."""
        try:
            while self._waiting and not self.over:
                parts, self._waiting = self._waiting, []
                await self.sink.write(parts)
                self._tell()
        except Lost:
            self._uploads.fail(self, Conflict("this goes on over another socket, or was cancelled"))
        except OSError as error:
            self._uploads.fail(self, _no_room(error))
        except Refusal as refusal:
            self._uploads.fail(self, refusal)
        except Exception:
            log.exception("an upload failed")
            self._uploads.fail(self, Internal())
        finally:
            self._task = None

    def _tell(self) -> None:
        if not self.over:
            event = FileStored(number=self.number, file=self.file, offset=self.sink.stored)
            self.ctx.socket.send(encode(event))

    @property
    def idle(self) -> bool:
        """Whether nothing is being done with it."""
        return self._task is None and self._finishing is None

    async def finish(self) -> None:
        """Everything that was sent is written, and is what it was said to be."""
        while (task := self._task) is not None:
            await asyncio.wait([task])
        if self.over:
            raise Conflict("this transfer is over: begin it again")
        if self.sink.stored < self.size:
            raise Conflict(f"{self.size - self.sink.stored} bytes are missing")
        if self._finishing is None:  # who asks again, because it took too long, waits for the same
            self._finishing = asyncio.get_running_loop().create_task(self._finish(), name="upload, finish")
        await asyncio.shield(self._finishing)

    async def _finish(self) -> None:
        try:
            await self.sink.finish()
        except Wrong:
            raise Damaged from None
        except Lost:
            raise Conflict("this goes on over another socket, or was cancelled") from None
        except OSError as error:
            raise _no_room(error) from None

    async def close(self) -> None:
        """What is being written is written; then others may go on."""
        self.over = True
        self._waiting.clear()
        for task in (self._task, self._finishing):
            if task is not None:
                await asyncio.wait([task])
        await self.sink.close()


def _no_room(error: OSError) -> Refusal:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Full("the server's disk is full: come back later")
    log.error("an upload could not be written: %s", error)
    return Internal()


class Uploads:
    """All transfers of this process."""

    def __init__(self, pool: Pool, *, part: int, window: int, memory: int) -> None:
        self._pool, self.part, self._window, self._memory = pool, part, window, memory
        self._by_file: dict[UUID, Transfer] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.granted = self.bytes = 0

    def __len__(self) -> int:
        return len(self._by_file)

    # Beginning and ending

    def check_room(self, ctx: Context) -> None:
        """That another one may begin here."""
        if ctx.transfers and len(ctx.transfers) >= _EACH:
            raise Conflict("four files are being uploaded over this socket: finish one first")
        if sum(one.account == ctx.user for one in self._by_file.values()) >= _OF_ONE:
            raise Conflict("eight of your files are being uploaded here: finish one first")
        if self._memory - self.granted < _LEAST * self.part:
            raise Overloaded("too many files are being uploaded at the moment", retry_after=2)

    def add(self, transfer: Transfer) -> None:
        """It begins: give it a number, and room."""
        ctx = transfer.ctx
        self.check_room(ctx)
        if not ctx.connected or ctx.session is None:
            raise Unauthenticated
        left = self._memory - self.granted
        transfer.window = max(min(self._window, left // 4), _LEAST * self.part)
        self.granted += transfer.window
        if ctx.transfers is None:
            ctx.transfers = {}
        ctx.numbers += 1
        transfer.number = ctx.numbers
        ctx.transfers[transfer.number] = transfer
        self._by_file[transfer.file] = transfer

    def of(self, ctx: Context, file: UUID) -> Transfer | None:
        """The transfer of a file over this socket."""
        found = self._by_file.get(file)
        return found if found is not None and found.ctx is ctx else None

    async def end(self, transfer: Transfer) -> None:
        """It is over, and others may go on with it."""
        self._forget(transfer)
        await transfer.close()

    def _forget(self, transfer: Transfer) -> None:
        transfer.over = True
        if self._by_file.get(transfer.file) is transfer:
            del self._by_file[transfer.file]
        transfers = transfer.ctx.transfers
        if transfers is not None and transfers.pop(transfer.number, None) is not None:
            self.granted -= transfer.window

    def _end_soon(self, transfer: Transfer) -> None:
        self._forget(transfer)
        task = asyncio.get_running_loop().create_task(self._close(transfer), name="upload, end")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    @staticmethod
    async def _close(transfer: Transfer) -> None:
        try:
            await transfer.close()
        except Exception:
            log.exception("an upload was not closed")

    def fail(self, transfer: Transfer, refusal: Refusal) -> None:
        """Take no more of it, and say why."""
        if not transfer.over:
            self._end_soon(transfer)
            _tell_failed(transfer.ctx, transfer.number, transfer.file, refusal)

    async def take_over(self, file: UUID) -> None:
        """Whoever here was at it is told that another one goes on."""
        before = self._by_file.get(file)
        if before is not None:
            self._forget(before)
            await before.close()
            _tell_failed(before.ctx, before.number, file, Conflict("this goes on over another socket"))

    def leave(self, ctx: Context) -> None:
        """The socket, or who spoke over it, is gone."""
        for transfer in list((ctx.transfers or {}).values()):
            self._end_soon(transfer)

    # What comes

    def take(self, ctx: Context, data: bytes) -> None:
        """A binary message."""
        number, offset = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:HEAD], "big")
        transfer = (ctx.transfers or {}).get(number)
        try:
            if ctx.session is None:
                raise Unauthenticated
            if transfer is None or len(data) < HEAD:
                raise Missing
            transfer.take(offset, data[HEAD:])
        except Refusal as refusal:
            self._refuse(ctx, number, transfer, refusal)

    def _refuse(self, ctx: Context, number: int, transfer: Transfer | None, refusal: Refusal) -> None:
        """One who goes on and on with it is closed; of what is over, the rest of the window may still come."""
        if transfer is not None:
            self.fail(transfer, refusal)
            return
        ctx.app.router.count_unreadable(ctx, refusal)
        if not 0 < number <= ctx.numbers:
            _tell_failed(ctx, number, None, refusal)

    # Together with others

    async def run(self) -> None:
        """See which of these transfers another process has taken over, or somebody has cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            before = asyncio.get_running_loop().time() - _PATIENCE
            for one in [one for one in self._by_file.values() if one.moved < before and one.idle]:
                self.fail(one, Conflict("nothing has come for a minute: begin again when there is something to send"))
            transfers = list(self._by_file.values())
            if transfers:
                with suppress(Refusal):
                    self._look(transfers, await rows.writing(self._pool, [one.upload.key for one in transfers]))

    def _look(self, transfers: list[Transfer], writers: dict[UUID, UUID]) -> None:
        for one in transfers:
            if writers.get(one.upload.key) != one.upload.writer:
                self.fail(one, Conflict("this goes on over another socket, or was cancelled"))

    async def stop(self) -> None:
        """Let go of all of them: they are gone on with elsewhere."""
        for transfer in list(self._by_file.values()):
            self._end_soon(transfer)
        if self._closing:
            await asyncio.wait(self._closing, timeout=10)


def _tell_failed(ctx: Context, number: int, file: UUID | None, refusal: Refusal) -> None:
    ctx.socket.send(encode(FileFailed(number=number, file=file, code=refusal.code, message=str(refusal))))
