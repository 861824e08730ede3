"""Files on their way: up over the socket, down over HTTP.

Rule: what was lost with a connection is taken up where the server says, over the next one.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import mimetypes
import os
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError
from uuid import UUID

from protocol.client.connection import Connection, Disconnected, Sending
from protocol.error import Missing, Overloaded, RateLimited, Unavailable, refusal
from protocol.file import (
    ORIGINAL,
    Begun,
    File,
    FileBegin,
    FileFailed,
    FileFinish,
    FileLink,
    FileStored,
    Link,
    Purpose,
)
from protocol.frame import Failure, Request

R = TypeVar("R")

_TEMPORARY = (Overloaded, RateLimited, Unavailable)
_TRIES, _PAUSE = 10, 0.5
_READ = 1 << 20
_PATIENCE = 30.0


class Files:
    """What a client does with files."""

    _reconnect: bool

    async def _ready(self) -> Connection:
        raise NotImplementedError

    async def call(self, frame: Request[R], timeout: float = _PATIENCE, *, retry: bool = False) -> R:
        """Send a request."""
        raise NotImplementedError

    async def upload(
        self,
        path: Path | str,
        purpose: Purpose = "attachment",
        *,
        name: str | None = None,
        type: str | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> File:
        """Upload a file, also over several connections: it goes on where it was. `on_progress`: so much is written."""
        return await upload(self._ready, Path(path), purpose, name, type, on_progress, self._reconnect)

    async def download(
        self,
        file: UUID,
        path: Path | str,
        *,
        channel: UUID | None = None,
        seq: int | None = None,
        variant: str = ORIGINAL,
    ) -> None:
        """Get a file of one's own, or of a message; it goes on where it was when a connection is lost."""
        frame = FileLink(file=file, channel=channel, seq=seq, variant=variant)
        await download(lambda: self.call(frame, retry=True), Path(path))


def heard(connection: Connection, event: FileStored | FileFailed) -> bool:
    """Whether it is about a file that this client sends."""
    sending = connection.sending.get(event.number)
    if sending is None:
        return False
    if isinstance(event, FileStored):
        sending.move(event.offset)
    else:
        sending.fail(refusal(Failure(code=event.code, message=event.message)))
    return True


async def upload(
    ready: Callable[[], Awaitable[Connection]],
    path: Path,
    purpose: Purpose,
    name: str | None,
    type: str | None,
    on_progress: Callable[[int], None] | None,
    again: bool,
) -> File:
    """All of a file; `again`: also over the connections after this one."""
    size, digest = await asyncio.to_thread(_look, path)
    guessed = type or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    frame = FileBegin(purpose=purpose, name=name or path.name, size=size, hash=digest, type=guessed)
    tries = 0
    while True:
        connection = await ready()
        try:
            return await _over(connection, frame, path, on_progress)
        except Disconnected:
            if not again:
                raise
        except _TEMPORARY as refused:
            tries += 1
            if tries == _TRIES:
                raise
            await asyncio.sleep(refused.retry_after or 1.0)


def _look(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()


async def _over(
    connection: Connection, frame: FileBegin, path: Path, on_progress: Callable[[int], None] | None
) -> File:
    """As much of it as this connection takes; the file when that is all."""

    def register(begun: Begun) -> None:
        if begun.number is not None:
            connection.sending[begun.number] = Sending(begun.offset)

    begun = await asyncio.wait_for(connection.ask(frame, register), _PATIENCE)
    if begun.number is None:
        return begun.file
    try:
        await _send(connection, begun, path, on_progress or (lambda _: None))
    finally:
        del connection.sending[begun.number]
    while True:
        try:
            return await connection.ask(FileFinish(file=begun.file.id))
        except Overloaded as refused:  # it takes long: it is asked for again
            await asyncio.sleep(refused.retry_after or 1.0)


async def _send(connection: Connection, begun: Begun, path: Path, on_progress: Callable[[int], None]) -> None:
    assert begun.number is not None
    sending, head, at = connection.sending[begun.number], begun.number.to_bytes(4, "big"), begun.offset
    with path.open("rb") as file:
        while sending.stored < begun.file.size:
            while at < begun.file.size and (room := sending.stored + begun.window - at) > 0:
                data = await asyncio.to_thread(os.pread, file.fileno(), min(begun.part, room), at)
                if not data:
                    raise Missing("the file is shorter than it was")
                await connection.send(head + at.to_bytes(8, "big") + data)
                at += len(data)
            await sending.moved()
            on_progress(sending.stored)


async def download(link: Callable[[], Awaitable[Link]], path: Path) -> None:
    """Into a file that appears when all of it is there; what has come of it before is gone on with."""
    partial = path.with_name(path.name + ".part")
    for left in reversed(range(_TRIES)):
        found = await link()
        try:
            await asyncio.to_thread(_fetch, found.url, partial)
            break
        except (OSError, http.client.HTTPException):
            if not left:
                raise
            await asyncio.sleep(_PAUSE)
    partial.replace(path)


def _fetch(url: str, partial: Path) -> None:
    tag = partial.with_name(partial.name + ".tag")
    have = partial.stat().st_size if partial.exists() and tag.exists() else 0
    headers = {"Range": f"bytes={have}-", "If-Range": tag.read_text()} if have else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - it is the server that we talk to
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as reply:  # noqa: S310
            tag.write_text(reply.headers["ETag"])
            with partial.open("ab" if reply.status == 206 else "wb") as file:
                _copy(reply, file)
    except HTTPError as error:
        if error.code != 416:  # there is nothing behind what we have
            raise
    with suppress(FileNotFoundError):
        tag.unlink()


def _copy(reply: http.client.HTTPResponse, file: object) -> None:
    while data := reply.read(_READ):
        file.write(data)  # type: ignore[attr-defined]
    if reply.length:  # it ended before its end
        raise http.client.IncompleteRead(b"", reply.length)
