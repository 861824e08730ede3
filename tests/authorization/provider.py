"""An outside service to log in with, as small as OAuth 2 allows: the code is the subject's name. It has a page, too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

NAME = "outside"
PAGE = b"<title>A page outside</title>"


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
    kind = "application/json"
    if head.startswith("GET /page"):
        kind, reply = "text/html", None
    elif head.startswith("POST /token"):
        code = form["code"][0]
        reply = {"error": "bad_code"} if code == "refused" else {"access_token": code, "token_type": "bearer"}
    else:
        subject = headers["authorization"].removeprefix("Bearer ")
        reply = {"id": subject, "login": f"out{subject[:9]}"}
    body = PAGE if reply is None else json.dumps(reply).encode()
    told = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
    writer.write(told % (kind.encode(), len(body), body))
    writer.close()
