"""An outside service to log in with, as small as OAuth 2 allows: the code is the subject's name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

NAME = "outside"


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """Its address while it runs."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A code (unless it is `refused`) becomes a token, and the token's user has it for an id."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])}
    form = parse_qs((await reader.readexactly(int(headers.get("content-length", "0")))).decode())
    if head.startswith("POST /token"):
        code = form["code"][0]
        reply = {"error": "bad_code"} if code == "refused" else {"access_token": code, "token_type": "bearer"}
    else:
        subject = headers["authorization"].removeprefix("Bearer ")
        reply = {"id": subject, "login": f"out{subject[:9]}"}
    body = json.dumps(reply).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    writer.close()
