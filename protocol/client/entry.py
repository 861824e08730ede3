"""Opening sessions: anew, or where the connection before left off.

Rule: events that come while a session opens are held until the reply says where their streams start.
"""

from collections.abc import Callable

from msgspec import structs

from protocol.client.connection import Connection
from protocol.client.login import Keyring
from protocol.client.streams import Streams
from protocol.codec import encode
from protocol.error import SessionRevoked, Unauthenticated
from protocol.frame import Event
from protocol.session import SessionOpen, SessionOpened, SessionResume, SessionResumed, Want


class Entry:
    """What stands between a connection and its session."""

    def __init__(
        self,
        keys: Keyring,
        streams: Streams,
        wants: list[Want] | None,
        behind: Callable[[Connection], None],
    ) -> None:
        """`behind`: called when facts are missing that another connection would bring."""
        self._keys, self._streams, self._wants, self._behind = keys, streams, wants, behind
        self.anew = True

    def hear(self, connection: Connection, event: Event, room: int) -> None:
        """An event came; of those that are held there may be `room`."""
        if connection.held is None:
            if not self._streams.hear(event):
                self._behind(connection)
        elif len(connection.held) < room:
            connection.held.append(event)
        else:
            connection.abort()

    async def open(self, connection: Connection, *, again: bool) -> SessionOpened:
        """Log in; `again`: also once more with renewed tokens, when these turn out to be old."""
        login = await self._keys.good(connection)
        enter = self._start if self.anew or not self._streams.cursors else self._resume
        try:
            return await enter(connection, login.access)
        except (Unauthenticated, SessionRevoked) as refused:
            if not again or not login.doubt():
                raise
            if isinstance(refused, SessionRevoked):  # which closes the socket as well
                connection.forgiven = True
                await connection.close()
                raise connection.why() from refused
            return await self.open(connection, again=again)

    async def _start(self, connection: Connection, token: str) -> SessionOpened:
        def opened(reply: SessionOpened) -> None:
            self.anew = False
            self._streams.opened(reply)
            self._release(connection)

        connection.held = []
        try:
            return await connection.ask(SessionOpen(token=token, wants=self._wants), opened)
        finally:
            self._release(connection)

    def _release(self, connection: Connection) -> None:
        held, connection.held = connection.held or (), None
        if connection.closed is not None:  # what comes next begins somewhere else
            return
        for event in held:
            if not self._streams.hear(event):
                self._behind(connection)

    async def _resume(self, connection: Connection, token: str) -> SessionResumed:
        def resumed(reply: SessionResumed) -> None:
            if not self._streams.resumed(reply):
                self._behind(connection)

        frame = SessionResume(id=2**53 - 1, token=token, cursors=[], wants=self._wants)
        limits, size = connection.hello.result().limits, len(encode(frame))
        cursors = self._streams.resume(min(limits.frame_bytes_before_login, limits.frame_bytes) - size)
        if len(cursors) < len(self._streams.cursors):  # a socket that is logged in may say more at once
            await connection.ask(SessionOpen(token=token, wants=[]))
            cursors = self._streams.resume(limits.frame_bytes - size)
        return await connection.ask(structs.replace(frame, cursors=cursors), resumed)
