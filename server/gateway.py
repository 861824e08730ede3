"""Where sockets come in: listening, who may connect, deadlines, and leaving in good order.

Rule 1: one sweep a second serves every deadline and heartbeat; nothing here is per socket but a place in a dictionary.
Rule 2: an address can hold only so many sockets, and fewer still that have not logged in.
Rule 3: a socket that must go is told why, with a code that says whether to come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections import Counter
from collections.abc import Callable
from itertools import takewhile
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from websockets.datastructures import MultipleValuesError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

from server import proxy
from server.http import Answer
from server.metric import Histogram
from server.wire import Conversation, Socket, frame

if TYPE_CHECKING:
    from websockets.http11 import Request

    from server.config import Config
    from server.http import Site

log = logging.getLogger("onesocket.gateway")

_REFUSED_PERIOD = 600
_REFUSED_LIMIT = 1000
_CLOSE_WITHIN = 5
_RECONNECTS_PER_SECOND = 200
SOCKET_PATHS = ("/", "/socket")


class Gateway:
    """All sockets of one process."""

    def __init__(self, config: Config, site: Site | None, converse: Callable[[Socket], Conversation]) -> None:
        self.config, self.site, self.converse = config, site, converse
        self.loop = asyncio.get_running_loop()
        self.tick, self.lag = 1, Histogram()
        self.sockets: set[Socket] = set()
        self.closes: Counter[int] = Counter()
        self.draining = False
        self.proxied = config.proxy_protocol
        self.extensions = [ServerPerMessageDeflateFactory()] if config.compression else None
        self.frame_interval = 1.0 / config.frames_per_second
        self.frame_burst = config.frames_in_burst * self.frame_interval
        self._trusted = proxy.networks(config.trusted_proxies)
        self._origins = frozenset(config.origins)
        self._number = 0
        self._hello = b""
        self._servers: list[asyncio.Server] = []
        self._tls: ssl.SSLContext | None = None
        self._beats: list[set[Socket]] = [set() for _ in range(config.heartbeat)]
        self._handshakes: dict[Socket, int] = {}
        self._logins: dict[Socket, int] = {}
        self._closing: dict[Socket, int] = {}
        self._full: dict[Socket, int] = {}
        self._dirty: list[Socket] = []
        self._counted: dict[Socket, str] = {}
        self._open: Counter[str] = Counter()
        self._pending: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._sweeper: asyncio.TimerHandle | None = None

    # Listening

    async def listen(self, hello: bytes) -> int:
        """Open the port (or the Unix socket) and return its number (0 for a Unix socket)."""
        self._hello = frame(1, hello)
        self._sweeper = self.loop.call_later(1.0, self._sweep, self.loop.time() + 1.0)
        self._tls = self._tls_context()
        if self.config.unix_socket is not None:
            return await self._listen_unix(self.config.unix_socket)
        server = await self.loop.create_server(
            self._socket, self.config.host, self.config.port, backlog=4096, reuse_port=True, ssl=self._tls
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _listen_unix(self, path: Path) -> int:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._servers.append(await self.loop.create_unix_server(self._socket, str(path), backlog=4096))
        path.chmod(0o660)
        return 0

    def _socket(self) -> Socket:
        return Socket(self)

    def _tls_context(self) -> ssl.SSLContext | None:
        if self.config.tls_certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.config.tls_certificate, self.config.tls_key)
        return context

    def reload_certificate(self) -> None:
        """Take the certificate files as they are now, for handshakes from here on."""
        if self._tls is None or self.config.tls_certificate is None:
            return
        try:
            self._tls.load_cert_chain(self.config.tls_certificate, self.config.tls_key)
            log.info("certificate reloaded")
        except (OSError, ssl.SSLError):
            log.exception("the new certificate cannot be used; the old one stays")

    # What sockets report

    def next_number(self) -> int:
        """A number for a new socket, for logs."""
        self._number += 1
        return self._number

    def connected(self, socket: Socket) -> None:
        """Bytes may come now."""
        self.sockets.add(socket)
        self._handshakes[socket] = self.tick + ceil(self.config.handshake_timeout)
        if len(self.sockets) > self.config.connections or (not self.proxied and not proxy.trusted(socket.address, self._trusted) and not self._count(socket)):
            socket.abort()

    def _count(self, socket: Socket) -> bool:
        """Give the socket a place under its address; False when there is none left."""
        group = proxy.group(socket.address)
        if (
            self._open[group] >= self.config.connections_per_address
            or self._pending[group] >= self.config.pending_per_address
        ):
            return False
        self._counted[socket] = group
        self._open[group] += 1
        self._pending[group] += 1
        return True

    def answer(self, socket: Socket, request: Request) -> Answer | None:
        """A plain answer to a request, or None to let it become a WebSocket."""
        try:
            return self._answer(socket, request)
        except MultipleValuesError:
            return Answer(400, b"a header is given twice\n")

    def _answer(self, socket: Socket, request: Request) -> Answer | None:
        headers = request.headers
        values = headers.get_all("X-Forwarded-For")
        if values and proxy.trusted(socket.address, self._trusted):
            socket.address = proxy.forwarded(socket.address, values, self._trusted)
        if "Upgrade" not in headers:
            if self.site is None:
                return Answer(404, b"not found\n")
            return self.site.answer(request, socket.address, bool(values or "Forwarded" in headers))
        if request.path.partition("?")[0] not in SOCKET_PATHS:
            return Answer(404, b"the socket is at /\n")
        if self.draining:
            return Answer(503, b"restarting, come back in a moment\n", headers=(("Retry-After", "2"),))
        if not self._origin_allowed(headers.get("Origin"), headers.get("Host", "")):
            return Answer(403, b"this origin may not connect; the operator can allow it in `origins`\n")
        return self._room(socket)

    def _room(self, socket: Socket) -> Answer | None:
        if self._refused[proxy.group(socket.address)] >= _REFUSED_LIMIT:
            return Answer(429, b"too many refused frames from here\n", headers=(("Retry-After", str(_REFUSED_PERIOD)),))
        if socket not in self._counted and not self._count(socket):
            return Answer(429, b"too many sockets from here\n", headers=(("Retry-After", "10"),))
        return None

    def _origin_allowed(self, origin: str | None, host: str) -> bool:
        if origin is None or origin in self._origins:
            return True
        return origin.partition("://")[2].lower() == host.lower()

    def opened(self, socket: Socket) -> Conversation:
        """The handshake is done: say hello and wait for a login."""
        self._handshakes.pop(socket, None)
        self._logins[socket] = self.tick + ceil(self.config.login_timeout)
        self._beats[socket.number % len(self._beats)].add(socket)
        socket.transport.write(self._hello)
        return self.converse(socket)

    def logged_in(self, socket: Socket) -> None:
        """A session was opened: the login deadline is met, larger frames are welcome."""
        if self._logins.pop(socket, None) is not None and socket in self._counted:
            self._pending[self._counted[socket]] -= 1
        socket.protocol.max_message_size = self.config.frame_bytes

    def logged_out(self, socket: Socket) -> None:
        """The session was closed: back to the limits of strangers."""
        if socket in self.sockets and socket not in self._logins:
            self._logins[socket] = self.tick + ceil(self.config.login_timeout)
            if socket in self._counted:
                self._pending[self._counted[socket]] += 1
        socket.protocol.max_message_size = self.config.frame_bytes_before_login

    def closing(self, socket: Socket) -> None:
        """A close frame was sent: the other side has a moment to answer it."""
        self._closing[socket] = self.tick + _CLOSE_WITHIN

    def full(self, socket: Socket) -> None:
        """Its write buffer has filled: it has a moment to read."""
        self._full[socket] = self.tick + ceil(self.config.write_timeout)

    def not_full(self, socket: Socket) -> None:
        """It has read."""
        self._full.pop(socket, None)

    def lost(self, socket: Socket) -> None:
        """The connection is gone."""
        self.sockets.discard(socket)
        self._beats[socket.number % len(self._beats)].discard(socket)
        pending = self._handshakes.pop(socket, None) is not None
        pending = self._logins.pop(socket, None) is not None or pending
        self._closing.pop(socket, None)
        self._full.pop(socket, None)
        group = self._counted.pop(socket, None)
        if group is not None:
            _less(self._open, group)
            if pending:
                _less(self._pending, group)
        if socket.conversation is not None:
            received = socket.protocol.close_rcvd
            self.closes[socket.close_code or (received.code if received else 1006)] += 1

    def count_refused(self, socket: Socket) -> None:
        """A frame had to be refused unseen; an address that does it again and again is shut out for a while."""
        self._refused[proxy.group(socket.address)] += 1

    # Output

    def flush_soon(self, socket: Socket) -> None:
        """Write this socket's messages at the end of this turn of the loop."""
        if not self._dirty:
            self.loop.call_soon(self._flush_dirty)
        self._dirty.append(socket)

    def _flush_dirty(self) -> None:
        dirty, self._dirty = self._dirty, []
        for socket in dirty:
            socket.flush()

    # Time

    def _sweep(self, due: float) -> None:
        self.lag.observe(max(0.0, self.loop.time() - due))
        self.tick += 1
        self._expire(self._handshakes, Socket.abort)
        self._expire(self._logins, _too_late)
        self._expire(self._full, Socket.too_slow)
        self._expire(self._closing, Socket.abort)
        self._heartbeat(self._beats[self.tick % len(self._beats)])
        if self.tick % _REFUSED_PERIOD == 0:
            self._refused.clear()
        due = max(due + 1.0, self.loop.time())
        self._sweeper = self.loop.call_at(due, self._sweep, due)

    def _expire(self, deadlines: dict[Socket, int], end: Callable[[Socket], None]) -> None:
        """End the sockets whose time is up; deadlines of one kind stand in the order of their time."""
        late = list(takewhile(lambda socket: deadlines[socket] <= self.tick, deadlines))
        for socket in late:
            end(socket)

    def _heartbeat(self, sockets: set[Socket]) -> None:
        heartbeat = self.config.heartbeat
        for socket in list(sockets):
            if self.tick - socket.heard >= 2 * heartbeat and not socket.paused:
                socket.close(4408, "no sign of life")
            elif self.tick - socket.heard >= heartbeat - 1:
                socket.ping()

    # Leaving

    async def stop_listening(self) -> None:
        """Accept nobody any more."""
        self.draining = True
        for server in self._servers:
            server.close()

    def farewell(self) -> float:
        """A reconnect delay for one socket, spread so that all of them do not come back at once."""
        return round(random.uniform(0.2, 0.2 + max(1.0, len(self.sockets) / _RECONNECTS_PER_SECOND)), 2)  # noqa: S311

    async def close(self, code: int, reason: str) -> None:
        """Close every socket, and wait a little until they have read what they were sent."""
        for socket in list(self.sockets):
            socket.close(code, reason)
        end = self.loop.time() + 2.0
        while self.sockets and self.loop.time() < end:
            await asyncio.sleep(0.02)
        for socket in list(self.sockets):
            socket.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self.config.unix_socket is not None:
            self.config.unix_socket.unlink(missing_ok=True)
        await asyncio.sleep(0)


def _too_late(socket: Socket) -> None:
    socket.close(4408, "log in sooner: open a session right after connecting")


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
