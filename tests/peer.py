"""A server that behaves as a test says: newer than the client, failing, or gone."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from websockets.asyncio.server import Server as PeerServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from protocol.account import Tokens
from protocol.frame import Body
from protocol.session import Pong, SessionOpened, SessionResumed

Answer = Callable[[dict[str, Any]], "Awaitable[dict[str, Any] | None] | dict[str, Any] | None"]

HELLO = {
    "ev": "session.hello",
    "protocol": "1.7",
    "server": "9.9",
    "node": "n",
    "heartbeat": 30,
    "login_within": 10,
    "limits": {
        "frame_bytes": 65536,
        "frame_bytes_before_login": 4096,
        "frames_per_second": 50,
        "frames_in_burst": 100,
        "requests_in_flight": 32,
    },
    "said_by_newer_servers": True,
}
ACCOUNT = uuid4()
OPENED = SessionOpened(account=ACCOUNT, me=None, device=None, scopes=["*"])
RESUMED = SessionResumed(account=ACCOUNT, me=None, device=None, scopes=["*"])


class Peer:
    """A server whose every answer is given by its test."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.sockets: list[ServerConnection] = []
        self.statuses: list[tuple[int, dict[str, str]]] = []
        self.connected = asyncio.Condition()
        self.answers: dict[str, Answer] = {
            "session.ping": lambda _: ok(Pong(time=datetime.now(UTC))),
            "session.open": lambda _: ok(OPENED),
            "session.resume": lambda _: ok(RESUMED),
            "account.refresh": self.renew,
        }
        self.renewed = 0
        self.hello: dict[str, Any] = HELLO
        self.server: PeerServer

    def renew(self, _: dict[str, Any]) -> dict[str, Any]:
        self.renewed += 1
        return ok(tokens(f"access-{self.renewed}", f"refresh-{self.renewed}"))

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    @property
    def socket(self) -> ServerConnection:
        return self.sockets[-1]

    def asked(self, op: str) -> list[dict[str, Any]]:
        return [request for request in self.requests if request["op"] == op]

    async def sockets_made(self, count: int) -> None:
        async with self.connected, asyncio.timeout(10):
            await self.connected.wait_for(lambda: len(self.sockets) >= count)

    def gate(self, connection: ServerConnection, _: HttpRequest) -> Response | None:
        if not self.statuses:
            return None
        status, headers = self.statuses.pop(0)
        response = connection.respond(status, "")
        response.headers.update(headers)
        return response

    async def talk(self, socket: ServerConnection) -> None:
        await socket.send(json.dumps(self.hello))
        self.sockets.append(socket)
        async with self.connected:
            self.connected.notify_all()
        async for data in socket:
            request = json.loads(data)
            self.requests.append(request)
            reply = self.answers[request["op"]](request)
            if isinstance(reply, Awaitable):
                reply = await reply
            if reply is not None:
                await socket.send(json.dumps({"re": request["id"], **reply}))


def ok(body: Body) -> dict[str, Any]:
    return {"ok": msgspec.to_builtins(body)}


def no(code: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": "no", **more}}


def tokens(access: str = "access-0", refresh: str = "refresh-0", lasting: int = 900) -> Tokens:
    return Tokens(
        account=ACCOUNT,
        device=uuid4(),
        access=access,
        access_expires_in=lasting,
        refresh=refresh,
        refresh_expires_in=86400,
    )


@asynccontextmanager
async def a_peer() -> AsyncIterator[Peer]:
    peer = Peer()
    async with serve(peer.talk, "127.0.0.1", 0, process_request=peer.gate, compression=None) as peer.server:
        yield peer
