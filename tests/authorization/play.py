"""One frame, and everything that came of it."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec

from protocol.codec import encode
from protocol.frame import Request
from protocol.session import SessionOpen, SessionPing
from tests.raw_socket import RawSocket, Reply

NUMBERS = count(1)


class Played(msgspec.Struct, frozen=True):
    """What became of one frame: its reply, whether it came at once, and what else came meanwhile."""

    code: str
    reply: Reply | None
    at_once: bool
    others: tuple[Reply, ...]
    opened: str = "ok"

    @property
    def data(self) -> bytes:
        """Every byte that came."""
        return b"\n".join(one.data for one in (*self.others, *([self.reply] if self.reply else [])))


async def play(socket: RawSocket, frame: Request[Any], token: str | None = None) -> Played:
    """Send a frame and a ping behind it in one write (and a login before both), and take what comes.

    What a gate refuses is refused before anything else happens: its reply comes before the ping's, while a reply that
    took a task comes after it.
    """
    login, mine, ping = next(NUMBERS), next(NUMBERS), next(NUMBERS)
    messages = [encode(SessionOpen(token=token, id=login))] if token else []
    socket.send(*messages, encode(msgspec.structs.replace(frame, id=mine)), encode(SessionPing(id=ping)))
    replies: dict[int | None, Reply] = {}
    others = []
    try:
        while not {mine, ping} <= replies.keys():
            reply = await socket.next()
            if reply.re in (login, mine, ping) and reply.re not in replies:
                replies[reply.re] = reply
            else:
                others.append(reply)
    except ConnectionError:
        pass
    order = list(replies)
    return Played(
        code=replies[mine].code if mine in replies else f"closed {socket.closed and socket.closed[0]}",
        reply=replies.get(mine),
        at_once=order.index(mine) < order.index(ping) if {mine, ping} <= replies.keys() else False,
        others=tuple(others),
        opened=replies[login].code if login in replies else "ok",
    )
