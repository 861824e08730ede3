"""Downloads: files over the same port, by signed links that expire, or for everybody when that is their purpose.

Rule 1: a link proves that somebody who may read the file has asked; others are told what they are without a file.
Rule 2: a browser shows in its window only what cannot run anything: all else is saved, and nothing is guessed.
Rule 3: never a whole file in memory: the kernel copies it to the socket, or a thread reads the next piece when there is
        room; who does not read is let go, and only so many are served at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote
from uuid import UUID

from websockets.datastructures import MultipleValuesError

from protocol.error import Refusal
from server import proxy
from server.file import signed
from storage import file as rows

if TYPE_CHECKING:
    from websockets.http11 import Request

    from server.secret import Keyring
    from server.wire import Socket
    from storage.file import Content
    from storage.pool import Pool
    from storage.store import Store

log = logging.getLogger("onesocket.download")

PREFIX = "/file/"
_PIECE = 1 << 18
_SENT_AT_ONCE = 1 << 22
_OF_ONE_ADDRESS = 50
_SLOWEST = 30.0  # seconds in which the next piece must have been read
_YEAR = 31536000
# What a browser may show by itself: it runs nothing.
INLINE = frozenset(
    {
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"),
        *("audio/mpeg", "audio/ogg", "audio/wav", "audio/webm", "audio/mp4", "audio/aac", "audio/flac"),
        *("video/mp4", "video/webm", "video/ogg"),
    }
)
_HEADERS = (
    "X-Content-Type-Options: nosniff\r\n"
    "Content-Security-Policy: sandbox; default-src 'none'; img-src 'self'; media-src 'self'; frame-ancestors 'none'\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Resource-Policy: cross-origin\r\n"
    "Accept-Ranges: bytes\r\n"
    "Connection: close\r\n"
)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Refused(Exception):
    """What is answered instead of a file."""

    def __init__(self, status: int, text: str, *headers: str) -> None:
        super().__init__(text)
        self.status, self.headers = status, headers


class Downloads:
    """All downloads of this process."""

    def __init__(self, pool: Pool, store: Store, keys: Keyring, most: int, threads: int) -> None:
        self._pool, self.store, self._keys, self._most = pool, store, keys, most
        self._addresses: Counter[str] = Counter()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="download")
        self.count = self.asked = 0

    async def run(self, work: Callable[..., int], *values: object) -> int:
        """Something that waits for the disk. Who is cancelled waits, too: what it works with must stay open."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, *values)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    def stop(self) -> None:
        """There are none any more."""
        self._threads.shutdown(wait=False)

    def take(self, request: Request, address: str) -> Download:
        """Who serves this request."""
        return Download(self, request, proxy.group(address))

    def enter(self, address: str) -> None:
        """One more; refused when there are too many."""
        self.asked += 1
        if self.count >= self._most or self._addresses[address] >= _OF_ONE_ADDRESS:
            raise Refused(503, "too many downloads at the moment", "Retry-After: 2")
        self.count += 1
        self._addresses[address] += 1

    def leave(self, address: str) -> None:
        """One less."""
        self.count -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]

    async def find(self, target: str) -> tuple[Content, str]:
        """What a link stands for, and how long others may keep it."""
        path, _, query = target.partition("?")
        steps = path.removeprefix(PREFIX).split("/")
        try:
            id, variant = UUID(steps[0]), steps[1]
            given = dict(parse_qsl(query, max_num_fields=8))
        except (ValueError, IndexError):
            raise Refused(404, "not found") from None
        until = self._until(id, variant, given) if "key" in given else 0
        found = await rows.content(self._pool, id, variant)
        if found is None or not (until or found.public):
            raise Refused(404, "not found")
        if found.public:
            return found, f"public, max-age={_YEAR}, immutable"
        return found, f"private, max-age={max(0, until - int(time.time()))}, immutable"

    def _until(self, id: UUID, variant: str, given: dict[str, str]) -> int:
        """Until when the link is good; refused when it is not."""
        text = given.get("until", "")
        until = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
        if not self._keys.signed(signed(id, variant, until), given["key"]) or until < time.time():
            raise Refused(403, "this link is not good any more: ask for another")
        return until


class Download(asyncio.Protocol):
    """One request, and what is sent for it. It takes over a connection from the socket that has read the request."""

    def __init__(self, downloads: Downloads, request: Request, address: str) -> None:
        self._downloads, self._request, self._address = downloads, request, address
        self._room = asyncio.Event()
        self._room.set()
        self._task: asyncio.Task[None] | None = None

    def begin(self, socket: Socket) -> None:
        """From now on the connection is ours."""
        self._socket, self._transport = socket, socket.transport
        self._transport.set_protocol(self)
        self._transport.set_write_buffer_limits(high=1, low=0)  # so it is told when all of it is written
        self._task = asyncio.get_running_loop().create_task(self._serve(), name="download")

    # The connection

    def data_received(self, data: bytes) -> None:
        """There is nothing to say."""

    def eof_received(self) -> bool:
        """They still listen."""
        return True

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, error: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
        self._socket.gateway.lost(self._socket)

    # What is sent

    async def _serve(self) -> None:
        entered = False
        try:
            self._downloads.enter(self._address)
            entered = True
            await self._answer()
        except Refused as refused:
            await self._refuse(refused)
        except MultipleValuesError:
            await self._refuse(Refused(400, "a header is given twice"))
        except Refusal:
            await self._refuse(Refused(503, "try again in a moment", "Retry-After: 2"))
        except (TimeoutError, OSError) as error:
            log.debug("a download ends: %s", error or "who has asked for it does not read")
            self._transport.abort()
        except Exception:
            log.exception("a download failed")
            self._transport.abort()
        finally:
            if entered:
                self._downloads.leave(self._address)
            self._transport.close()

    async def _written(self) -> None:
        async with asyncio.timeout(_SLOWEST):
            await self._room.wait()

    async def _refuse(self, refused: Refused) -> None:
        body = f"{refused}\n".encode()
        if self._request.method == "HEAD":
            body = b""
        headers = ("Cache-Control: no-store", *refused.headers)
        await self._head(refused.status, "text/plain; charset=utf-8", len(body), *headers, body=body)

    async def _answer(self) -> None:
        if self._request.method not in ("GET", "HEAD"):
            raise Refused(405, "only GET and HEAD", "Allow: GET, HEAD")
        found, keeping = await self._downloads.find(self._request.path)
        tag = f'"{found.key}"'
        about = [f"ETag: {tag}", f"Cache-Control: {keeping}"]
        if tag in self._request.headers.get("If-None-Match", ""):
            await self._head(304, found.type, None, *about)
            return
        shown = disposition(found.name, found.type in INLINE)
        place = self._downloads.store.redirect(found.key, found.type, shown)
        if place is not None:
            await self._head(302, "text/plain", 0, "Cache-Control: no-store", f"Location: {place.url}")
            return
        path = self._downloads.store.path(found.key)
        if path is not None:
            await self._send(path, found, [*about, f"Content-Disposition: {shown}"])

    async def _send(self, path: Path, found: Content, about: list[str]) -> None:
        headers = self._request.headers
        asked = headers.get("Range", "") if headers.get("If-Range", f'"{found.key}"') == f'"{found.key}"' else ""
        part = span(asked, found.size)
        start, stop = part or (0, found.size)
        opened: list[int] = []
        try:
            await self._downloads.run(_open, path, opened)
            if part is not None:
                about.append(f"Content-Range: bytes {start}-{stop - 1}/{found.size}")
            await self._head(200 if part is None else 206, found.type, stop - start, *about)
            if self._request.method != "HEAD":
                await self._copy(opened[0], start, stop)
        except FileNotFoundError:
            raise Refused(404, "not found") from None
        finally:
            for handle in opened:
                os.close(handle)

    async def _head(self, status: int, kind: str, size: int | None, *more: str, body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Date: {formatdate(usegmt=True)}"]
        lines += [f"Content-Type: {kind}", *more]
        if size is not None:
            lines.append(f"Content-Length: {size}")
        self._transport.write(("\r\n".join(lines) + "\r\n" + _HEADERS + "\r\n").encode() + body)
        await self._written()

    async def _copy(self, handle: int, start: int, stop: int) -> None:
        if self._socket.secure or not hasattr(os, "sendfile"):
            await self._copy_by_hand(handle, start, stop)
        else:
            await self._copy_by_kernel(handle, start, stop)

    async def _copy_by_hand(self, handle: int, start: int, stop: int) -> None:
        """Read a piece in a thread, and the next when there is room for it."""
        while start < stop:
            piece = bytearray(min(_PIECE, stop - start))
            read = await self._downloads.run(os.preadv, handle, [piece], start)
            if not read:
                raise OSError("the file is shorter than it was")
            start += read
            self._transport.write(memoryview(piece)[:read])
            await self._written()

    async def _copy_by_kernel(self, handle: int, start: int, stop: int) -> None:
        """Straight from the disk to the socket, beside the transport, which has nothing left to write."""
        out = os.dup(self._transport.get_extra_info("socket").fileno())
        try:
            while start < stop:
                start += await self._some(out, handle, start, stop)
        finally:
            os.close(out)

    async def _some(self, out: int, handle: int, start: int, stop: int) -> int:
        try:
            sent = await self._downloads.run(os.sendfile, out, handle, start, min(_SENT_AT_ONCE, stop - start))
        except BlockingIOError:
            await _writable(out)
            return 0
        if not sent:
            raise OSError("the file is shorter than it was")
        return sent


def _open(path: Path, opened: list[int]) -> int:
    """Told by a list, so that who is cancelled meanwhile knows what to close."""
    opened.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    return 0


async def _writable(out: int) -> None:
    loop = asyncio.get_running_loop()
    free = asyncio.Event()
    loop.add_writer(out, free.set)
    try:
        async with asyncio.timeout(_SLOWEST):
            await free.wait()
    finally:
        loop.remove_writer(out)


def span(asked: str, size: int) -> tuple[int, int] | None:
    """The bytes that a Range header asks for, if it asks for one range."""
    found = _RANGE.fullmatch(asked.strip())
    if found is None or not (found[1] or found[2]):
        return None
    start = int(found[1]) if found[1] else max(0, size - int(found[2]))
    stop = min(int(found[2]) + 1, size) if found[1] and found[2] else size
    if start >= size or (found[1] and found[2] and stop <= start):
        raise Refused(416, "there are no such bytes", f"Content-Range: bytes */{size}")
    return start, stop


def disposition(name: str, inline: bool) -> str:
    """What a browser does with it, and what it calls it."""
    kind = "inline" if inline else "attachment"
    plain = re.sub(r"[^A-Za-z0-9 ._()-]", "_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
