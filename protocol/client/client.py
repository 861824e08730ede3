"""The client itself: connecting, staying connected, calls, the session and events.

Rule 1: calls wait for a connection whose session is open; what opens it goes straight to the new connection.
Rule 2: the keeper alone reconnects, and one error of its own ends everything that waits.
Rule 3: who comes back resumes: what was missed comes from the server, in order, before anything new.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl as tls
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast
from uuid import UUID, uuid4

from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import InvalidHandshake, InvalidStatus

from protocol.account import AccountLogout, Tokens
from protocol.client.connection import Connection, Disconnected
from protocol.client.entry import Entry
from protocol.client.heartbeat import Heartbeat
from protocol.client.inbox import EventDecoder, Inbox
from protocol.client.login import Keyring, Login
from protocol.client.streams import Streams
from protocol.client.transfer import Files, heard
from protocol.error import (
    Internal,
    Overloaded,
    RateLimited,
    Refusal,
    Unauthenticated,
    Unavailable,
)
from protocol.file import FileFailed, FileStored
from protocol.frame import Event, Request
from protocol.message import MessageSend, MessageSent
from protocol.session import (
    SessionClose,
    SessionGoingAway,
    SessionHello,
    SessionOpened,
    Want,
)

R = TypeVar("R")
E = TypeVar("E", bound=Event)

log = logging.getLogger("onesocket.client")

_PATIENCE = 30.0
_STEADY = 10.0
_LONGEST_ADVICE, _LONGEST_PAUSE = 600.0, 5.0
_CALLS_MAY_END = 5.0
_TEMPORARY_STATUS = (429, 500, 502, 503, 504)
_TEMPORARY_REFUSAL = (Unavailable, Overloaded, RateLimited)


class Client(Files):
    """One program's conversation with a server."""

    hello: SessionHello

    def __init__(
        self,
        url: str,
        *,
        events: Iterable[type[Event]] = (),
        on_tokens: Callable[[Tokens], None] | None = None,
        reconnect: bool = True,
        ssl: tls.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        origin: str | None = None,
        unix_socket: Path | str | None = None,
        queue: int = 10_000,
        wants: Iterable[Want] | None = None,
    ) -> None:
        """Prepare a connection to `url`.

        `events`: kinds beside the built-in ones. `on_tokens`: called with every renewed pair, to keep it.
        `reconnect=False`: the first disconnection is the end. `queue`: how many events may wait to be taken.
        `wants`: what to be told of; without `messages` there are no facts, and nothing to resume.
        """
        self._url, self._unix_socket, self._reconnect = url, unix_socket, reconnect
        self._options: dict[str, Any] = {"origin": origin, "additional_headers": headers}
        if ssl is not None:
            self._options["ssl"] = ssl
        wanted = None if wants is None else list(wants)
        self._decoder, self._inbox, self._queue = EventDecoder(events), Inbox(queue), queue
        self._streams = Streams(self._inbox, follow=wanted is None or "messages" in wanted)
        self._keys = Keyring(on_tokens)
        self._entry = Entry(self._keys, self._streams, wanted, self._behind)
        self._up, self._over = asyncio.Event(), asyncio.Event()
        self._connection: Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._end: Exception | None = None
        self._failures, self._closing = 0, False
        self.session: SessionOpened | None = None

    @property
    def closed(self) -> tuple[int, str] | None:
        """Code and reason of the last close, None while connected."""
        return self._connection.closed if self._connection else None

    @property
    def tokens(self) -> Tokens | None:
        """The tokens in use, as last renewed."""
        return self._keys.tokens

    # Being connected

    async def __aenter__(self) -> Self:
        self._adopt(await self._connect())
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End it: calls in flight raise `Disconnected`, loops over events end."""
        self._closing = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._connection is not None:
            await self._connection.close()
        self._finish(Disconnected(1000, "this client was closed"))

    async def wait_closed(self) -> tuple[int, str]:
        """Wait until this client has ended for good; code and reason."""
        await self._over.wait()
        return self.closed or (1006, "")

    def _finish(self, error: Exception) -> None:
        if self._end is None:
            self._end = error
            self._inbox.end(error)
            self._up.set()
            self._over.set()

    async def _connect(self) -> Connection:
        options = {"compression": None, "max_size": 16 * 2**20, "close_timeout": 5.0, **self._options}
        if self._unix_socket is not None:
            socket = await unix_connect(str(self._unix_socket), self._url, **options)
        else:
            socket = await connect(self._url, **options)
        connection = Connection(socket, self)
        try:
            async with asyncio.timeout(10.0):
                self.hello = await connection.hello
        except BaseException:
            connection.abort()
            raise
        return connection

    def _adopt(self, connection: Connection) -> None:
        self._connection = connection
        if not connection.over.is_set():
            self._up.set()
        self._made_room()  # for what did not fit when the session was resumed

    async def _ready(self) -> Connection:
        """The connection for requests, as soon as there is one."""
        while not self._up.is_set():
            await self._up.wait()
        if self._end is not None:
            raise self._end.with_traceback(None)
        return cast("Connection", self._connection)

    # What connections tell

    def heard(self, connection: Connection, name: str, data: bytes) -> None:
        """An event came."""
        event = self._decoder.decode(name, data)
        if isinstance(event, FileStored | FileFailed) and heard(connection, event):
            return
        if isinstance(event, SessionHello) and not connection.hello.done():
            connection.hello.set_result(event)
            if self._connection is None:
                return
        elif isinstance(event, SessionGoingAway) and self._reconnect:
            connection.back_at = asyncio.get_running_loop().time() + min(event.reconnect_after, _LONGEST_ADVICE)
            connection.leave()
        if event is not None:
            self._entry.hear(connection, event, self._queue)

    def _behind(self, connection: Connection) -> None:
        """Something did not come or did not fit: come back for it, as soon as there is room."""
        if not self._reconnect:
            connection.abort()
        elif not self._inbox.full and not connection.over.is_set():
            log.warning("facts are missing: coming back for them")
            connection.leave(_CALLS_MAY_END)

    def left(self, connection: Connection) -> None:
        """A connection takes no more requests."""
        if connection is self._connection and self._end is None:
            self._up.clear()

    # Staying connected

    async def _keep(self) -> None:
        """Follow each connection to its end and make the next one, until there is a reason to stop."""
        try:
            while (connection := self._connection) is not None:
                if self._reconnect:
                    await Heartbeat(connection, self._streams, lambda: self._behind(connection)).watch()
                await connection.over.wait()
                await connection.close_when_idle()
                if connection.final or not self._reconnect:
                    self._finish(connection.why())
                    return
                self._adopt(await self._come_back(connection))
        except Exception as error:
            self._finish(error)

    async def _come_back(self, old: Connection) -> Connection:
        """A new connection with the session open again, after as many attempts as it takes."""
        now, not_before = asyncio.get_running_loop().time, old.back_at
        if now() - old.since >= _STEADY:
            self._failures = 0
        while True:
            pause = random.uniform(0.0, min(_LONGEST_PAUSE, 0.2 * 2**self._failures))  # noqa: S311
            self._failures = min(self._failures + 1, 10)
            await asyncio.sleep(max(pause, not_before - now()))
            try:
                return await self._connect_and_open()
            except Exception as error:
                advice = _advice(error)
                if advice is None:
                    raise
                not_before = now() + advice

    async def _connect_and_open(self) -> Connection:
        self._inbox.full = False
        connection = await self._connect()
        try:
            async with asyncio.timeout(_PATIENCE):
                if self._keys.login is not None:
                    await self._open(connection)
        except BaseException:
            connection.abort()
            raise
        return connection

    # Calls

    async def call(self, frame: Request[R], timeout: float = _PATIENCE, *, retry: bool = False) -> R:
        """Send a request; its reply, or the `Refusal` that the server answered with.

        A connection lost in between raises `Disconnected`, unless `retry` says that the request may be done
        twice: then it is sent again, also after the server asked for patience, until `timeout`.
        """
        deadline = time.monotonic() + timeout
        async with asyncio.timeout(timeout):
            while True:
                connection = await self._ready()
                try:
                    reply = await connection.ask(frame, self._streams.learner(frame))
                    break
                except Disconnected:
                    if not retry:
                        raise
                except _TEMPORARY_REFUSAL as refused:
                    wait = (refused.retry_after or 1.0) * random.uniform(1.0, 1.2)  # noqa: S311
                    if not retry or time.monotonic() + wait > deadline:
                        raise
                    await asyncio.sleep(wait)
        if isinstance(frame, SessionClose | AccountLogout):
            self._keys.login = self.session = None
            self._streams.cursors.clear()
        return reply

    async def send(
        self,
        channel: UUID,
        text: str,
        *,
        reply_to: int | None = None,
        mentions: Sequence[UUID] = (),
        silent: bool = False,
        timeout: float = _PATIENCE,
    ) -> MessageSent:
        """Say something in a channel, once, also when the connection is lost before the reply."""
        frame = MessageSend(
            channel=channel, text=text, nonce=uuid4(), reply_to=reply_to, mentions=list(mentions), silent=silent
        )
        return await self.call(frame, timeout, retry=True)

    # The session

    async def open(self, credential: Tokens | str, timeout: float = _PATIENCE) -> SessionOpened:
        """Log in with tokens, which are renewed when they are old, or with an API key; and stay logged in."""
        before, mine = (self._keys.login, self._entry.anew), Login(credential)
        self._keys.login, self._entry.anew = mine, True
        try:
            async with asyncio.timeout(timeout):
                connection = await self._ready()
                try:
                    return await self._open(connection)
                except Disconnected:
                    await self._ready()  # the next connection opens the session first of all
        except BaseException:
            if self._keys.login is mine:
                self._keys.login, self._entry.anew = before
            raise
        return cast("SessionOpened", self.session)

    async def refresh(self) -> Tokens:
        """Renew the tokens now."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                connection = await self._ready()
                if self.tokens is None:
                    raise Unauthenticated("there are no tokens to renew: open a session first")
                with suppress(Disconnected):
                    await self._keys.renew(connection)
                    return self.tokens

    async def _open(self, connection: Connection) -> SessionOpened:
        self.session = await self._entry.open(connection, again=self._reconnect)
        return self.session

    # Events

    async def events(self) -> AsyncIterator[Event]:
        """Every event, once, in the order they came; ends when this client is closed.

        A `SessionHello` among them tells of a new connection: of what happened in between the facts follow,
        while passing events were not heard. A `StreamReset` tells of facts that nobody has any more.
        Until this is called for the first time only the newest events are kept.
        """
        while True:
            try:
                event = await self._inbox.take(Event)
            except Disconnected:
                if self._closing:
                    return
                raise
            self._made_room()
            yield event

    async def wait_for(self, kind: type[E], timeout: float = _PATIENCE) -> E:
        """The first event of a kind that came or comes; it is taken out of `events()`."""
        async with asyncio.timeout(timeout):
            event = await self._inbox.take(kind)
        self._made_room()
        return event

    def _made_room(self) -> None:
        """Facts that had no room are asked for once half of it is free."""
        connection = self._connection
        if self._inbox.full and self._inbox.roomy and connection is not None and not connection.over.is_set():
            self._failures = 0
            connection.leave(_CALLS_MAY_END)


def _advice(error: Exception) -> float | None:
    """Seconds to wait at least before coming back, None when it is no use."""
    if isinstance(error, InvalidStatus):
        text = error.response.headers.get("Retry-After", "")
        seconds = float(text) if text.isdecimal() else 0.0
        return min(seconds, _LONGEST_ADVICE) if error.response.status_code in _TEMPORARY_STATUS else None
    if isinstance(error, Refusal):
        temporary = isinstance(error, (*_TEMPORARY_REFUSAL, Internal))
        return min(error.retry_after or 0.0, _LONGEST_ADVICE) if temporary else None
    return 0.0 if isinstance(error, OSError | EOFError | InvalidHandshake | Disconnected) else None
