"""session: who a socket speaks for."""

from datetime import UTC, datetime

from protocol.account import Account
from protocol.error import SessionRevoked, Unauthenticated
from protocol.frame import Nothing
from protocol.session import (
    Description,
    Pong,
    SessionClose,
    SessionDescribe,
    SessionOpen,
    SessionOpened,
    SessionPing,
)
from server import attempt
from server.access import LOGGED_IN, PUBLIC
from server.context import Context, Session
from server.router import op
from server.secret import digest, is_api_key
from storage import account, api_key


@op(access=PUBLIC, alone=True)
async def open_(ctx: Context, frame: SessionOpen) -> SessionOpened:
    """Check the token, then count this socket among those of its account."""
    by = _by_api_key if is_api_key(frame.token) else _by_access_token
    session, me = await by(ctx, frame.token)
    ctx.app.hub.join(ctx, session)
    ctx.app.gateway.logged_in(ctx.socket)
    shown = me if session.allows("account.get") else None
    return SessionOpened(account=me.id, me=shown, device=session.device, scopes=sorted(session.scopes))


async def _by_access_token(ctx: Context, token: str) -> tuple[Session, Account]:
    claims = ctx.app.keys.read_access(token)
    me = await account.of_device(ctx.db, claims.account, claims.device)
    if me is None:
        raise SessionRevoked
    return Session(account=claims.account, device=claims.device), me


async def _by_api_key(ctx: Context, token: str) -> tuple[Session, Account]:
    await ctx.app.attempts.take(attempt.tickets(ctx.address))
    grant = await api_key.use(ctx.db, digest(token))
    me = await account.get(ctx.db, grant.account) if grant else None
    if grant is None or me is None:
        raise Unauthenticated("this API key does not exist, has expired or was revoked")
    return Session(account=grant.account, key=grant.id, scopes=frozenset(grant.scopes)), me


@op(access=LOGGED_IN, alone=True)
def close(ctx: Context, frame: SessionClose) -> Nothing:
    """The socket stays open for another login."""
    ctx.leave()
    return Nothing()


@op(access=PUBLIC)
def ping(ctx: Context, frame: SessionPing) -> Pong:
    """Nothing is asked of anybody."""
    return Pong(time=datetime.now(UTC))


@op(access=PUBLIC, limit="30/m")
async def describe(ctx: Context, frame: SessionDescribe) -> Description:
    """Made when it is first asked for, beside the event loop."""
    return await ctx.app.description(frame.domain)
