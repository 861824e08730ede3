"""Uploads by hand: short words for tests of files."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from protocol.client import Client
from protocol.file import Begun, File, FileBegin, FileFinish, FileLink, FileStored
from protocol.message import MessageSend
from server import Server


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def begin(person: Client, data: bytes, name: str = "a.txt", **fields: Any) -> Begun:
    values = {"purpose": "attachment", "size": len(data), "hash": digest(data), **fields}
    return await person.call(FileBegin(name=name, **values))


async def put(person: Client, number: int, offset: int, data: bytes) -> None:
    """One binary frame, whatever the server thinks of it."""
    connection = person._connection
    assert connection is not None
    await connection.send(number.to_bytes(4, "big") + offset.to_bytes(8, "big") + data)


async def pour(person: Client, begun: Begun, data: bytes, upto: int | None = None) -> None:
    """What is left of it, within the window, until it is written."""
    assert begun.number is not None
    at = stored = begun.offset
    end = len(data) if upto is None else upto
    while stored < end:
        while at < end and at < stored + begun.window:
            part = data[at : min(at + begun.part, end, stored + begun.window)]
            await put(person, begun.number, at, part)
            at += len(part)
        stored = (await person.wait_for(FileStored, 10)).offset


async def upload(person: Client, data: bytes, name: str = "a.txt", **fields: Any) -> File:
    begun = await begin(person, data, name, **fields)
    if begun.number is not None:
        await pour(person, begun, data)
        return await person.call(FileFinish(file=begun.file.id))
    return begun.file


async def say_with(person: Client, channel: UUID, *files: File, text: str = "") -> int:
    frame = MessageSend(channel=channel, text=text, nonce=uuid4(), files=[one.id for one in files])
    return (await person.call(frame)).seq


async def address(person: Client, file: File | UUID, channel: UUID | None = None, seq: int | None = None) -> str:
    id = file if isinstance(file, UUID) else file.id
    return (await person.call(FileLink(file=id, channel=channel, seq=seq))).url


class Got:
    """An HTTP reply."""

    def __init__(self, reply: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = reply.status, reply.headers, reply.read()


async def get(url: str, method: str = "GET", **headers: str) -> Got:
    return await asyncio.to_thread(
        _get, url, method, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def _get(url: str, method: str, headers: dict[str, str]) -> Got:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request(method, f"{parts.path}{'?' if parts.query else ''}{parts.query}", headers=headers)
        return Got(connection.getresponse())
    finally:
        connection.close()


def kept(server: Server) -> list[Path]:
    """All that is in the store."""
    return sorted(path for path in (server.config.folder / "files").rglob("*") if path.is_file())
