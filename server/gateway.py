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
from server.config import ConfigError
from server.conversation import Conversation
from server.core import frame
from server.door import Door
from server.http import Answer
from server.metric import Histogram
from server.wire import Socket

if TYPE_CHECKING:
    from websockets.http11 import Request

    from server.config import Config
    from server.http import Site, Streamed

log = logging.getLogger("onesocket.gateway")

_REFUSED_PERIOD = 600
_REFUSED_LIMIT = 1000
_CLOSE_WITHIN = 5
_RECONNECTS_PER_SECOND = 200
BINARY_HEAD = 12  # bytes of a binary frame before those of the file
SOCKET_PATHS = ("/", "/socket")


class Gateway:
    """All sockets of one process."""

    def __init__(self, config: Config, site: Site | None, converse: Callable[[Socket], Conversation]) -> None:
        self.config, self.site, self.converse = config, site, converse
        self.loop = asyncio.get_running_loop()
        self.tick, self.lag = 1, Histogram()
        self.sockets: set[Socket] = set()
        self.door = Door()
        self.closes: Counter[int] = Counter()
        self.draining = False
        self.proxied = config.proxy_protocol
        self.extensions = [ServerPerMessageDeflateFactory()] if config.compression else None
        self.frame_interval = 1.0 / config.frames_per_second
        self.frame_burst = config.frames_in_burst * self.frame_interval + 1e-6  # what rounding must not take away
        self._trusted = _networks(config)
        self._origins = frozenset(_origin(text) for text in (*config.origins, config.public_url) if text)
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
        self._empty = asyncio.Event()

    # Listening

    async def listen(self, hello: bytes = b"") -> int:
        """Open the port (or the Unix socket) and return its number (0 for a Unix socket)."""
        self._hello = frame(1, hello) if hello else b""
        self._tls = self._tls_context()
        port = await self._listen()
        self._sweeper = self.loop.call_later(1.0, self._sweep, self.loop.time() + 1.0)
        return port

    async def _listen(self) -> int:
        if self.config.unix_socket is not None:
            return await self._listen_unix(self.config.unix_socket)
        server = await self.loop.create_server(
            self._socket,
            self.config.host,
            self.config.port,
            backlog=4096,
            reuse_port=True,
            ssl=self._tls,
            ssl_handshake_timeout=self.config.handshake_timeout if self._tls else None,
            ssl_shutdown_timeout=_CLOSE_WITHIN if self._tls else None,
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
        try:
            context = self._load_certificate(self.config.tls_certificate)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"tls_certificate: {self.config.tls_certificate} cannot be used: {error}") from None
        context.sni_callback = self._newest_certificate
        return context

    def _load_certificate(self, file: Path) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(file, self.config.tls_key, password="")  # a key with a password must not ask for it
        return context

    def _newest_certificate(self, connection: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
        if self._tls is not None:
            connection.context = self._tls

    def reload_certificate(self) -> None:
        """Take the certificate files as they are now, for handshakes from here on."""
        if self.config.tls_certificate is None:
            return
        try:
            # A context of its own: a file that turns out to be broken half-way would break the one in use.
            self._tls = self._load_certificate(self.config.tls_certificate)
            log.info("certificate reloaded")
        except (OSError, ssl.SSLError) as error:
            log.error("the new certificate cannot be used, the old one stays: %s", error)  # noqa: TRY400

    # What sockets report

    def next_number(self) -> int:
        """A number for a new socket, for logs."""
        self._number += 1
        return self._number

    def connected(self, socket: Socket) -> None:
        """Bytes may come now."""
        self.sockets.add(socket)
        self._handshakes[socket] = self._in(self.config.handshake_timeout)
        if not self._welcome(socket):
            socket.abort()

    def _welcome(self, socket: Socket) -> bool:
        """Who is trusted to speak for others is counted under their addresses, once they are known."""
        if len(self.sockets) > self.config.connections:
            return False
        if proxy.trusted(socket.address, self._trusted):
            return True
        return not self.proxied and self._count(socket)

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

    def answer(self, socket: Socket, request: Request) -> Answer | Streamed | None:
        """A plain answer to a request, or None to let it become a WebSocket."""
        try:
            return self._answer(socket, request)
        except MultipleValuesError:
            return Answer(400, b"a header is given twice\n")

    def _answer(self, socket: Socket, request: Request) -> Answer | Streamed | None:
        headers = request.headers
        values = headers.get_all("X-Forwarded-For")
        if values and proxy.trusted(socket.address, self._trusted):
            socket.address = proxy.forwarded(socket.address, values, self._trusted)
        if "websocket" not in headers.get("Upgrade", "").lower():
            return Answer(404, b"not found\n") if self.site is None else self.site.answer(request, socket.address)
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
        if origin is None or _origin(origin) in self._origins:
            return True
        return bool(host) and origin.partition("://")[2].lower() == host.lower()

    def streamed(self, socket: Socket) -> None:
        """It was no handshake, and what is answered takes its time."""
        self._handshakes.pop(socket, None)
        if socket in self._counted:
            _less(self._pending, self._counted[socket])

    def opened(self, socket: Socket) -> Conversation:
        """The handshake is done: say hello and wait for a login."""
        self._handshakes.pop(socket, None)
        self._logins[socket] = self._in(self.config.login_timeout)
        self._beats[socket.number % len(self._beats)].add(socket)
        socket.transport.write(self._hello)
        return self.converse(socket)

    def logged_in(self, socket: Socket) -> None:
        """A session was opened: the login deadline is met, larger frames are welcome."""
        if self._logins.pop(socket, None) is not None and socket in self._counted:
            _less(self._pending, self._counted[socket])
        socket.protocol.limit(self.config.frame_bytes, (self.config.file_part_kib << 10) + BINARY_HEAD)

    def logged_out(self, socket: Socket) -> None:
        """The session was closed: back to the limits of strangers."""
        if socket in self.sockets and socket not in self._logins:
            self._logins[socket] = self._in(self.config.login_timeout)
            if socket in self._counted:
                self._pending[self._counted[socket]] += 1
        socket.protocol.limit(self.config.frame_bytes_before_login, 0)

    def closing(self, socket: Socket) -> None:
        """The last word was sent: the other side has a moment to read it."""
        self._closing.setdefault(socket, self._in(_CLOSE_WITHIN))

    def full(self, socket: Socket) -> None:
        """Its write buffer has filled: it has a moment to read."""
        self._full[socket] = self._in(self.config.write_timeout)

    def not_full(self, socket: Socket) -> None:
        """It has read."""
        self._full.pop(socket, None)

    def lost(self, socket: Socket) -> None:
        """The connection is gone."""
        self.sockets.discard(socket)
        if self.draining and not self.sockets:
            self._empty.set()
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
            self.closes[socket.close_code or 1006] += 1

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

    def _in(self, seconds: float) -> int:
        """The tick when so many seconds have passed for certain."""
        return self.tick + ceil(seconds) + 1

    def _sweep(self, due: float) -> None:
        now = self.loop.time()
        self.lag.observe(max(0.0, now - due))
        due = max(due + 1.0, now)
        self._sweeper = self.loop.call_at(due, self._sweep, due)  # first of all: no error below ends the sweeps
        self.tick += 1
        self._expire(self._handshakes, Socket.abort)
        self._expire(self._logins, _too_late)
        self._expire(self._full, Socket.too_slow)
        self._expire(self._closing, Socket.abort)
        self._heartbeat(self._beats[self.tick % len(self._beats)])
        if self.tick % _REFUSED_PERIOD == 0:
            self._forget_refused()

    def _forget_refused(self) -> None:
        self._refused.clear()
        for socket in self.sockets:
            socket.refused = 0

    def _expire(self, deadlines: dict[Socket, int], end: Callable[[Socket], None]) -> None:
        """End the sockets whose time is up; deadlines of one kind stand in the order of their time."""
        late = list(takewhile(lambda socket: deadlines[socket] <= self.tick, deadlines))
        for socket in late:
            end(socket)

    def _heartbeat(self, sockets: set[Socket]) -> None:
        heartbeat = self.config.heartbeat
        for socket in list(sockets):
            if self.tick - socket.heard >= 2 * heartbeat and not socket.paused:
                socket.close(4504, "no sign of life for two heartbeats: come back")
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
        if self.sockets:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), 2.0)
        for socket in list(self.sockets):
            socket.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self.config.unix_socket is not None:
            self.config.unix_socket.unlink(missing_ok=True)
        await asyncio.sleep(0)


def _too_late(socket: Socket) -> None:
    socket.close(4408, "log in sooner: open a session right after connecting")


def _networks(config: Config) -> tuple[proxy.Network, ...]:
    try:
        trusted = proxy.networks(config.trusted_proxies)
    except ValueError as error:
        raise ConfigError(f"trusted_proxies: {error}") from None
    if config.proxy_protocol and not trusted and config.unix_socket is None:
        raise ConfigError("proxy_protocol: nobody could connect, name the proxies in trusted_proxies")
    return trusted


def _origin(text: str) -> str:
    """An origin as browsers write it, whatever an operator wrote behind or above it."""
    scheme, _, rest = text.lower().partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
