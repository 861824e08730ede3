"""Scheduled messages at their time: every process looks for what is due, and one of them sends it.

Rule 1: it is sent like every message, through the journal, with its own id as nonce: whoever sends it again, because
the one who did so was killed before it could note that, is told of the same message.
Rule 2: what was stored or refused for certain is noted and told in one transaction; all else is tried again.
Rule 3: nobody is due sooner than five seconds after it was made, and everybody looks more often: so nobody is woken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from protocol.error import Conflict, Forbidden, Invalid, Missing, Refusal
from protocol.message import MessageSent
from protocol.scheduled import ScheduledFailed, ScheduledSent
from server.access import Undecided
from server.fact import changing
from server.posting import extra
from storage import scheduled
from storage.scheduled import Due

if TYPE_CHECKING:
    from server.app import Server

log = logging.getLogger("onesocket.schedule")

_EVERY = 4.0
_AT_LEAST = 0.05
_AGAIN = 1.0
_AT_ONCE, _UNDER_WAY, _NOTED_AT_ONCE = 50, 200, 3
_FRESH = 2.0  # seconds: what was taken before that, another one may have taken since
_CERTAIN = (Missing, Forbidden, Conflict, Invalid)


class Schedule:
    """Sends what is due."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._noting = asyncio.Semaphore(_NOTED_AT_ONCE)
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Whenever something is due."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    wait = await self._look(group)
                except Refusal as refusal:  # what was taken is free again in a while
                    log.debug("what is due waits for the database: %s", refusal)
                    wait = _AGAIN
                await asyncio.sleep(wait)

    async def _look(self, group: asyncio.TaskGroup) -> float:
        """Begin with what is due; how long to wait then."""
        room = min(_AT_ONCE, _UNDER_WAY - len(self._under_way))
        if room <= 0:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            return 0
        clock = asyncio.get_running_loop().time
        began = clock()
        taken = await scheduled.take(self._server.pool, room)
        for one in taken if clock() - began < _FRESH else ():
            task = group.create_task(self._deliver(one), name="scheduled message")
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        if len(taken) == room:
            return 0
        due = await scheduled.due_in(self._server.pool)
        return _EVERY if due is None else min(max(due, _AT_LEAST), _EVERY)

    async def _deliver(self, one: Due) -> None:
        """What is not noted is done again: it is the same message then, or refused in the same way."""
        try:
            outcome = await self._send(one)
            async with self._noting:
                await self._note(one, outcome)
        except Refusal as refusal:
            log.debug("a scheduled message waits: %s", refusal)
        except asyncio.CancelledError:
            with contextlib.suppress(Refusal):
                await scheduled.put_off(self._server.pool, one, 0)
            raise

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
