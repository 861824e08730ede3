"""Which sockets speak for whom, on this process.

Rule: nothing here awaits the database.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from protocol.error import Refusal
from server.context import Context, Session


class Hub:
    """The logged-in sockets of one process."""

    def __init__(self) -> None:
        self._by_login: dict[UUID, set[Context]] = {}

    def join(self, ctx: Context, session: Session) -> None:
        """The socket speaks for this session from now on, unless it hung up while it logged in."""
        self.leave(ctx)
        if not ctx.connected:
            return
        ctx.session = session
        self._by_login.setdefault(_login(session), set()).add(ctx)
        ctx.app.presence.came(session.account)

    def leave(self, ctx: Context) -> None:
        """The socket speaks for nobody any more."""
        ctx.app.streams.leave_all(ctx)
        ctx.app.rooms.went(ctx)
        session, ctx.session, ctx.outlines = ctx.session, None, None
        if session is None:
            return
        ctx.app.presence.went(ctx, session.account)
        contexts = self._by_login.get(_login(session))
        if contexts is not None:
            contexts.discard(ctx)
            if not contexts:
                del self._by_login[_login(session)]

    def end(self, logins: Iterable[UUID], refusal: Refusal) -> int:
        """Close all sockets of devices and API keys; how many there were."""
        ended = [ctx for login in logins for ctx in self._by_login.get(login, ())]
        for ctx in ended:
            ctx.app.rooms.quit(ctx)
            ctx.end(refusal)
            self.leave(ctx)
        return len(ended)

    @property
    def logged_in(self) -> int:
        """How many sockets are logged in."""
        return sum(len(contexts) for contexts in self._by_login.values())


def _login(session: Session) -> UUID:
    login = session.device or session.key
    assert login is not None
    return login
