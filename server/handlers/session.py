"""session: who a socket speaks for, and what it hears."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from protocol.account import Account
from protocol.channel import Memberships
from protocol.error import RateLimited, SessionRevoked, Unauthenticated
from protocol.frame import Nothing
from protocol.session import (
    Description,
    Head,
    Pong,
    SessionClose,
    SessionDescribe,
    SessionOpen,
    SessionOpened,
    SessionPing,
    SessionResume,
    SessionResumed,
)
from server import attempt
from server.context import Context, Session
from server.limit import Rate, as_told
from server.outline import Seen
from server.router import op
from server.rule import LOGGED_IN, PUBLIC
from server.secret import digest, is_api_key
from storage import account, api_key
from storage import membership as memberships
from storage.stream import Place

_CHANNELS, _WATCHED = 200, 1000
_OPENED = Rate.parse("300/m")  # by one account
_EVERYTHING = ("messages", "receipts", "typing", "presence", "voice")


@op(access=PUBLIC, alone=True)
async def open_(ctx: Context, frame: SessionOpen) -> SessionOpened:
    """Check the token, then count this socket among those of its account, and let it hear what that account hears."""
    async with ctx.app.entrance:
        opened, places = await _enter(ctx, frame.token, frame.wants, ())
    await _hear(ctx, places, {})
    return _still(ctx, opened)


@op(access=PUBLIC, alone=True)
async def resume(ctx: Context, frame: SessionResume) -> SessionResumed:
    """The same, but for what was missed, which comes first."""
    async with ctx.app.entrance:
        cursors = {cursor.stream: cursor.seq for cursor in frame.cursors}
        opened, places = await _enter(ctx, frame.token, frame.wants, cursors)
    if ctx.session is not None and not ctx.session.unlimited:
        cursors.pop(ctx.session.account, None)  # it does not hear that
    reset = await _hear(ctx, places, cursors)
    opened = _still(ctx, opened)
    return SessionResumed(
        account=opened.account,
        me=opened.me,
        device=opened.device,
        scopes=opened.scopes,
        head=opened.head,
        channels=opened.channels,
        next=opened.next,
        spaces=opened.spaces,
        next_space=opened.next_space,
        reset=reset,
    )


async def _identify(ctx: Context, token: str) -> tuple[Session, Account]:
    by = _by_api_key if is_api_key(token) else _by_access_token
    session, me = await by(ctx, token)
    wait = ctx.app.limiter.wait(_OPENED, "session.open", me.id)
    if wait > 0:
        raise RateLimited(retry_after=as_told(wait))
    return session, me


async def _enter(
    ctx: Context, token: str, wants: Sequence[str] | None, watched: Collection[UUID]
) -> tuple[SessionOpened, list[Place]]:
    session, me = await _identify(ctx, token)
    places = await ctx.app.reach.places(ctx.db, me.id, list(watched)[:_WATCHED])
    page = Memberships(channels=[], next=None)
    if session.allows("channel.list"):
        page = await memberships.page(ctx.db, me.id, None, _CHANNELS)
    seen = await ctx.app.outlines.seen(me.id) if session.allows("space.list") else Seen([], [], None)
    ctx.app.hub.join(ctx, session)
    ctx.app.gateway.logged_in(ctx.socket)
    ctx.app.outlines.note(ctx, seen.outlines)
    ctx.wants = frozenset(_EVERYTHING if wants is None else wants)
    told = {one.channel.id: one.head for one in page.channels}
    return SessionOpened(
        account=me.id,
        me=me if session.allows("account.get") else None,
        device=session.device,
        scopes=sorted(session.scopes),
        head=places[0].head if session.unlimited else 0,
        channels=[ctx.shown(one) for one in page.channels],
        next=page.next,
        spaces=seen.briefs,
        next_space=seen.next,
    ), [msgspec.structs.replace(place, head=max(place.head, told.get(place.id, 0))) for place in places]


async def _hear(ctx: Context, places: Sequence[Place], cursors: dict[UUID, int]) -> list[UUID]:
    """Which of the cursors can't be served."""
    if "messages" not in ctx.wants or ctx.session is None or not ctx.session.allows("message.history"):
        known = {place.id for place in places}
        return [stream for stream in cursors if stream not in known]
    account = ctx.session.account
    try:
        reset = await ctx.app.streams.join(ctx, places, cursors)
    except BaseException:
        ctx.leave()  # who is told no is not half in
        raise
    ctx.app.summonses.come(account)  # now that it hears of what is new from now on
    return reset


def _still(ctx: Context, opened: SessionOpened) -> SessionOpened:
    """Without the channels that the account has left meanwhile: the socket was told so before this reply."""
    if not ctx.streams:
        return opened
    heard = {stream.id for stream in ctx.streams}
    here = [one for one in opened.channels if one.channel.id in heard]
    return opened if len(here) == len(opened.channels) else msgspec.structs.replace(opened, channels=here)


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
    """Nothing is asked of anybody about streams that this socket hears: their heads are what it was sent."""
    if not frame.heads:
        return Pong(time=datetime.now(UTC))
    heads = {stream.id: stream.head for stream in ctx.streams if ctx not in stream.silent}
    if "messages" in ctx.wants and any(one.stream not in heads for one in frame.heads):
        return _ping(ctx, frame, heads)  # type: ignore[return-value]
    return _pong(frame, heads)


async def _ping(ctx: Context, frame: SessionPing, heads: dict[UUID, int]) -> Pong:
    """Of what it should hear, and does not, the database knows."""
    session = ctx.session
    if session is not None and session.allows("message.history"):
        others = [one.stream for one in frame.heads if one.stream not in heads]
        others = [one for one in others if one != session.account or session.unlimited]
        heads |= {place.id: place.head for place in await ctx.app.reach.among(ctx.db, session.account, others)}
    return _pong(frame, heads)


def _pong(frame: SessionPing, heads: dict[UUID, int]) -> Pong:
    behind = [
        Head(stream=one.stream, seq=heads[one.stream]) for one in frame.heads if heads.get(one.stream, 0) > one.seq
    ]
    return Pong(time=datetime.now(UTC), behind=behind)


@op(access=PUBLIC, limit="30/m")
async def describe(ctx: Context, frame: SessionDescribe) -> Description:
    """Made when it is first asked for, beside the event loop."""
    return await ctx.app.description(frame.domain)
