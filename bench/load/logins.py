"""Logins from the first byte to the last: connect, prove the password, open a session, close."""

import asyncio
import itertools
import time

import msgspec

from bench.load.cast import Cast
from bench.load.plan import LogIn, Seat
from bench.wire import RawSocket, connected, masked, request
from protocol.account import AccountLogin
from protocol.session import SessionOpen


class _Tokens(msgspec.Struct):
    access: str


class _Reply(msgspec.Struct):
    ok: _Tokens


_reply = msgspec.json.Decoder(_Reply).decode


async def play(cast: Cast, order: LogIn) -> None:
    """So many people log in side by side, one after the other."""
    end = time.monotonic() + order.seconds
    turns = itertools.cycle(cast.plan.seats)

    async def queue() -> None:
        while time.monotonic() < end and not cast.stopping.is_set():
            since = time.monotonic_ns()
            try:
                await _log_in(cast.plan.url, next(turns))
            except (OSError, TimeoutError) as error:
                cast.tally.refuse(str(error) or "a login took too long")
                return
            cast.tally.now = time.monotonic_ns()
            cast.tally.said(since)

    await asyncio.gather(*[queue() for _ in range(order.depth)])


async def _log_in(url: str, seat: Seat) -> None:
    first = request(AccountLogin(login=seat.username, password=seat.password, device="bench"))
    socket, body = await connected(url, first, RawSocket)
    opened: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    socket.heard = lambda _, reply: None if opened.done() else opened.set_result(reply)
    socket.send(request(SessionOpen(id=1, token=_reply(body).ok.access)))
    async with asyncio.timeout(60):
        reply = await opened
    if not reply.startswith(b'{"re":1,"ok"'):
        raise ConnectionError(reply.decode())
    socket.send(masked(b"\x03\xe8", 8))
