"""The sockets of the world: those that ask, those that listen, and what came to these.

A socket that was used for nothing but refusals is used again. What listeners were sent is known without asking them:
what the server writes to them is counted, and so they have heard everything once so much has come.
"""

from __future__ import annotations

import asyncio
from typing import Any

from protocol.channel import ChannelWatch
from protocol.codec import encode
from protocol.frame import Request
from protocol.session import SessionOpen, Want
from server.app import Server
from tests.authorization.channels import Channel
from tests.authorization.people import Key, Person
from tests.authorization.play import NUMBERS
from tests.raw_socket import RawSocket

PROGRAM = "a program that may read profiles"
CLOSED = b"closed: "


class Tap:
    """The server's side of a socket, which counts what is written there."""

    def __init__(self, transport: Any, count: int) -> None:
        """`count`: how much was written before."""
        self._transport, self.count = transport, count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Count, and write."""
        self.count += len(data)
        self._transport.write(data)


class Talk:
    """Opens sockets to a server, keeps them, and listens."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.people: dict[str, Person] = {}
        self.channels: dict[str, Channel] = {}
        self.keys: dict[str, Key] = {}
        self.listeners: dict[str, RawSocket] = {}
        self._taps: dict[RawSocket, Tap] = {}
        self._sockets: dict[str, RawSocket] = {}

    async def ask(self, name: str, frame: Request[Any]) -> None:
        """Have somebody do something that they may."""
        token = self.people[name].access(self.server)
        socket = await self.speaking(token)
        reply = await socket.ask(encode(frame))
        assert reply.code == "ok", reply
        self.keep(token, socket)

    async def socket(self) -> RawSocket:
        """A new one, which speaks for nobody."""
        return await RawSocket.connect(self.server.url)

    async def open(self, token: str, *, hears: bool = True) -> RawSocket:
        """A new one that speaks for somebody."""
        socket = await self.socket()
        await self._login(socket, token, hears=hears)
        return socket

    async def _login(self, socket: RawSocket, token: str, *, hears: bool) -> None:
        wants: list[Want] | None = None if hears else []
        reply = await socket.ask(encode(SessionOpen(token=token, wants=wants, id=next(NUMBERS))))
        assert reply.code == "ok", reply

    # Those that ask

    async def speaking(self, token: str | None) -> RawSocket:
        """One that speaks for the owner of a token, or for nobody; one that was used for nothing yet but refusals.

        It hears nothing but replies: what its owner hears, the one who listens for them does.
        """
        kept = self._sockets.pop(token or "", None)
        if kept is not None and not kept.over:
            return kept
        return await (self.open(token, hears=False) if token else self.socket())

    def keep(self, token: str | None, socket: RawSocket) -> None:
        """It was used for a refusal only."""
        if self._sockets.setdefault(token or "", socket) is not socket:
            socket.abort()

    def forget(self, kind: str = "") -> None:
        """Use new sockets from here on, for tokens that begin like this."""
        for token in [token for token in self._sockets if token.startswith(kind)]:
            self._sockets.pop(token).abort()

    def leave(self) -> None:
        """Let go of every socket."""
        self.forget()
        for socket in self.listeners.values():
            socket.abort()

    # Those that listen

    async def listen(self) -> None:
        """Have a socket of everybody open, and one of nobody."""
        for name, person in self.people.items():
            if name != "gone" and self._is_deaf(name):
                await self._listen(name, person.access(self.server))
                await self._watch(name)
        if self._is_deaf(PROGRAM):
            await self._listen(PROGRAM, self.keys[PROGRAM].secret)
        if self._is_deaf("nobody"):
            await self._listen("nobody", None)

    def _is_deaf(self, name: str) -> bool:
        return name not in self.listeners or self.listeners[name].over

    async def _listen(self, name: str, token: str | None) -> None:
        if name in self.listeners:
            self._taps.pop(self.listeners[name]).abort()
        socket = self.listeners[name] = await self.socket()
        port = socket.transport.get_extra_info("sockname")[1]
        side = next(one for one in self.server.gateway.sockets if one.transport.get_extra_info("peername")[1] == port)
        self._taps[socket] = tap = Tap(side.transport, socket.received)
        side.transport = tap  # type: ignore[assignment]
        if token is not None:
            await self._login(socket, token, hears=True)

    async def _watch(self, name: str) -> None:
        """Hear all that one sees of spaces, too."""
        seen = [channel.id for channel in self.channels.values() if name in channel.glimpsed]
        if seen:
            reply = await self.listeners[name].ask(encode(ChannelWatch(channels=seen, id=next(NUMBERS))))
            assert reply.code == "ok", reply

    async def heard(self) -> dict[str, list[bytes]]:
        """What came to whom since the last time; the end of a socket is told as what it was closed with."""
        while self.server.gateway._dirty:
            await asyncio.sleep(0)
        found = {name: await self._heard(socket) for name, socket in self.listeners.items()}
        return {name: messages for name, messages in found.items() if messages}

    async def _heard(self, socket: RawSocket) -> list[bytes]:
        """Everything that was written to it so far."""
        tap = self._taps[socket]
        await socket.caught_up(lambda: socket.received >= tap.count and not tap.is_closing())
        messages = [reply.data for reply in socket.rest()]
        return [*messages, CLOSED + str(socket.closed).encode()] if socket.over else messages
