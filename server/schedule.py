"""Scheduled messages at their time (how that comes is in server/due.py).

Rule 1: it is sent like every message, through the journal, with its own id as nonce: whoever sends it again, because
the one who did so was killed before it could note that, is told of the same message.
Rule 2: what was stored or refused for certain is noted and told in one transaction; all else is tried again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from protocol.error import Conflict, Forbidden, Invalid, Missing, Refusal
from protocol.message import MessageSent
from protocol.scheduled import ScheduledFailed, ScheduledSent
from server.access import Undecided
from server.due import Falling
from server.fact import changing
from server.posting import extra
from storage import scheduled
from storage.scheduled import Due

if TYPE_CHECKING:
    from server.app import Server

_AGAIN = 1.0
_NOTED_AT_ONCE = 3
_CERTAIN = (Missing, Forbidden, Conflict, Invalid)


class Schedule:
    """Sends what is due."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._noting = asyncio.Semaphore(_NOTED_AT_ONCE)
        self._falling = Falling(server.pool, scheduled, self._deliver)

    async def run(self) -> None:
        """Whenever something is due."""
        await self._falling.run()

    async def _deliver(self, one: Due) -> None:
        """What is not noted is done again: it is the same message then, or refused in the same way."""
        outcome = await self._send(one)
        async with self._noting:
            await self._note(one, outcome)

    async def _send(self, one: Due) -> MessageSent | Refusal:
        message = one.message
        more = extra(message.text, message.reply_to, message.mentions, message.silent)
        try:
            later = self._server.posting.send(Undecided(message.channel), one.account, message.id, message.text, more)
            sent: MessageSent = await later.wait()
        except Refusal as refusal:
            return refusal
        return sent

    async def _note(self, one: Due, outcome: MessageSent | Refusal) -> None:
        if isinstance(outcome, MessageSent):
            await self._sent(one, outcome)
        elif isinstance(outcome, _CERTAIN):
            await self._failed(one, outcome.code)
        else:
            await scheduled.put_off(self._server.pool, one, outcome.retry_after or _AGAIN)

    async def _sent(self, one: Due, sent: MessageSent) -> None:
        account, id, channel = one.account, one.message.id, one.message.channel
        async with changing(self._server, account) as change:
            if await scheduled.remove(change.tx, account, id) and change.holds(account):
                seq = change.next(account)
                change.tell(ScheduledSent(stream=account, seq=seq, scheduled=id, channel=channel, message=sent.seq))

    async def _failed(self, one: Due, code: str) -> None:
        account, id = one.account, one.message.id
        async with changing(self._server, account) as change:
            if await scheduled.fail(change.tx, account, id, code) and change.holds(account):
                change.tell(ScheduledFailed(stream=account, seq=change.next(account), scheduled=id, code=code))
