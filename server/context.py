"""What a handler is given: who asks, over which socket, and the server's parts.

Rule: a context belongs to one socket and lives as long; it holds no copy of anything that the database knows better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.error import Unauthenticated
from storage.audit import Origin

if TYPE_CHECKING:
    from protocol.channel import Membership
    from protocol.error import Refusal
    from server.app import Server
    from server.audience import Stream
    from server.outline import Outline
    from server.upload import Transfer
    from server.wire import Socket
    from storage.pool import Pool
    from storage.standing import Standing


class Session(Struct, frozen=True):
    """Whom a logged-in socket speaks for: an account, on a device or with an API key."""

    account: UUID
    device: UUID | None = None
    key: UUID | None = None
    scopes: frozenset[str] = frozenset("*")

    @property
    def unlimited(self) -> bool:
        """Whether it may do everything: only then it hears what concerns the account alone."""
        return "*" in self.scopes

    def allows(self, op: str) -> bool:
        """Whether the scopes contain this op, its domain, or everything."""
        return "*" in self.scopes or op in self.scopes or op.partition(".")[0] in self.scopes


class Context:
    """One socket's conversation."""

    __slots__ = (
        "alone",
        "app",
        "backlog",
        "in_flight",
        "numbers",
        "outlines",
        "session",
        "socket",
        "streams",
        "transfers",
        "wants",
    )

    def __init__(self, app: Server, socket: Socket) -> None:
        self.app, self.socket = app, socket
        self.session: Session | None = None
        self.in_flight: set[int] | None = None
        self.backlog: list[bytes] | None = None
        self.alone = False
        self.streams: set[Stream] = set()
        self.wants: frozenset[str] = frozenset()
        self.outlines: dict[UUID, Outline] | None = None
        self.transfers: dict[int, Transfer] | None = None
        self.numbers = 0  # of transfers that have begun here

    @property
    def db(self) -> Pool:
        """The database."""
        return self.app.pool

    @property
    def user(self) -> UUID:
        """The account that asks."""
        if self.session is None:
            raise Unauthenticated
        return self.session.account

    @property
    def device(self) -> UUID | None:
        """The device that asks, None for an API key."""
        return self.session.device if self.session else None

    def shown(self, membership: Membership, standing: Standing | None = None) -> Membership:
        """As it is told here: who may read no messages, or none in this channel, reads none with it either."""
        heard = standing is None or standing.reads
        if heard and (self.session is None or self.session.allows("message.history")):
            return membership
        return msgspec.structs.replace(membership, last=None)

    @property
    def connected(self) -> bool:
        """Whether somebody is still there to hear an answer."""
        return self.socket.conversation is self and not self.socket.close_code

    @property
    def origin(self) -> Origin:
        """Where the request came from, for the audit log."""
        return Origin(self.socket.address, self.device)

    @property
    def address(self) -> str:
        """The network address of the client."""
        return self.socket.address

    def text(self, data: bytes) -> None:
        """A text message came in."""
        self.app.router.receive(self, data)

    def binary(self, data: bytes) -> None:
        """A binary message came in: bytes of a file."""
        self.app.files.uploads.take(self, data)

    def flooded(self, data: bytes, retry_after: float) -> None:
        """A frame came that was one too many."""
        self.app.router.refuse_flood(self, data, retry_after)

    def closed(self) -> None:
        """The socket is gone."""
        self.app.files.uploads.leave(self)
        self.app.hub.leave(self)

    def leave(self) -> None:
        """Speak for nobody any more; the socket stays open for another login."""
        self.app.files.uploads.leave(self)
        self.app.hub.leave(self)
        self.app.gateway.logged_out(self.socket)

    def end(self, refusal: Refusal) -> None:
        """Close the socket for a reason."""
        self.socket.close(refusal.close or 4500, str(refusal))
