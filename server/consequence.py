"""What follows when automod has found something: a report in the queue of the space, a timeout of the author.

Rule 1: it follows what has become of the message: nothing follows one that was stored before, and what was let through
is reported when it is stored, with its place.
Rule 2: it is behind the reply, and yet it comes: that it will is written down before anybody is told anything, and who
is killed leaves it to the others (storage/consequence.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec.structs import replace

from protocol.automod import Automod
from protocol.error import Refusal
from protocol.member import MemberChanged
from protocol.message import Message
from protocol.permission import ADMINISTRATOR
from server.due import Falling
from server.fact import Change, changing
from storage import consequence as rows
from storage import deed, entry
from storage import member as members
from storage import message as messages
from storage import report as reports
from storage import space as spaces
from storage import user as users
from storage.consequence import Broken, Finding
from storage.ids import new_id
from storage.report import Reported

if TYPE_CHECKING:
    from server.app import Server
    from server.automod import Case
    from storage.entry import Entry
    from storage.pool import Database, Transaction

log = logging.getLogger("onesocket.automod")

_MOST = 1000
_REPORTED_EVERY = 60


def finding(
    case: Case, hits: Sequence[Automod], message: Message | None = None, nonce: UUID | None = None
) -> Finding | None:
    """What is to follow, if anything is."""
    broken = [Broken(rule.name, rule.report, rule.timeout) for rule in hits if rule.report or rule.timeout]
    if not broken:
        return None
    return Finding(new_id(), case.space, case.account, case.channel, datetime.now(UTC), broken, nonce, message)


def refused(case: Case, hits: Sequence[Automod], seq: int = 0) -> Finding | None:
    """The same of what is not stored."""
    return finding(case, hits, Message(seq=seq, author=case.account, sent_at=datetime.now(UTC), text=case.text))


class Consequences:
    """Does what follows, one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._queue: asyncio.Queue[Finding] = asyncio.Queue(_MOST)
        self._let: dict[tuple[UUID, UUID], Finding] = {}
        self._falling = Falling(server.pool, rows, self._take_over)

    async def follow(self, db: Database, found: Sequence[Finding | None]) -> None:
        """These were refused, or stand there: it is written down, and done soon."""
        real = [one for one in found if one is not None]
        if real:
            await rows.keep(db, real)
            for one in real:
                self.soon(one)

    async def follow_with(self, tx: Transaction, found: Finding | None) -> None:
        """The same, once a transaction is committed."""
        if found is not None:
            await rows.keep(tx, [found])
            tx.then(lambda: self.soon(found))

    async def let(self, db: Database, found: Sequence[tuple[Entry, Finding | None]]) -> None:
        """These are on their way, and something follows once they are stored."""
        real = [(entry, one) for entry, one in found if one is not None]
        if real:
            await rows.keep(db, [one for _, one in real])
        for entry_, one in real:
            while len(self._let) >= _MOST:
                del self._let[next(iter(self._let))]
            self._let[entry_.author, entry_.nonce] = one

    @property
    def waiting(self) -> bool:
        """Whether there is anything to be told about what is stored."""
        return bool(self._let)

    def stored(self, entry: Entry, message: Message) -> None:
        """It was, whichever it is."""
        found = self._let.pop((entry.author, entry.nonce), None)
        if found is not None:
            self.soon(replace(found, message=message))

    def soon(self, found: Finding) -> None:
        """Do what is written down; for what there is no room now, there is when it is due."""
        if not self._queue.full():
            self._queue.put_nowait(found)

    async def run(self) -> None:
        """Whatever comes, and what others have left."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work(), name="automod")
            group.create_task(self._falling.run(), name="automod, left behind")

    async def _work(self) -> None:
        while True:
            found = await self._queue.get()
            try:
                await self._do(found)
            except Refusal as refusal:
                log.debug("what automod has found waits: %s", refusal)
            except Exception:
                log.exception("what automod has found waits")

    async def _take_over(self, found: Finding) -> None:
        """Whoever had it is gone, or was told otherwise: only what is stored by now was stored at all."""
        if found.message is None and found.nonce is not None:
            found = replace(found, message=await self._stored(found, found.nonce))
        await self._do(found)

    async def _stored(self, found: Finding, nonce: UUID) -> Message | None:
        before = (await entry.stored_before(self._server.pool, [(found.account, nonce)]))[0]
        if before is None or before.channel != found.channel:
            return None
        there = await messages.held(self._server.pool, before.channel, [before.seq])
        return there[0] if there else None

    # In one transaction

    async def _do(self, found: Finding) -> None:
        if found.timeout is None or found.message is None:
            async with self._server.pool.transaction() as tx:
                await self._report(tx, found)
            return
        async with changing(self._server, found.space, found.account) as change:
            if await self._report(change.tx, found):
                await self._time_out(change, found, found.timeout)

    async def _report(self, tx: Transaction, found: Finding) -> bool:
        """Whether it was still to be done."""
        if not await rows.finish(tx, found.id):
            return False
        there = await spaces.get(tx, found.space) is not None
        person = await users.get(tx, found.account) if there else None
        for rule in found.rules:
            if rule.report and person is not None and found.message is not None:
                what = Reported(found.space, person, found.channel, found.message)
                await reports.create_by_rule(tx, what, rule.name, _REPORTED_EVERY)
        return True

    async def _time_out(self, change: Change, found: Finding, rule: Broken) -> None:
        space, account = found.space, found.account
        until = found.at + timedelta(seconds=rule.timeout)
        resident = await self._server.structures.resident(change.tx, space, account)
        before = await members.get(change.tx, space, account)
        if resident is None or before is None or resident.allowed & ADMINISTRATOR:
            return
        if before.timeout_until is not None and before.timeout_until >= until - timedelta(seconds=1):
            return
        await members.time_out(change.tx, space, account, until)
        change.withdraw(space)
        after = await members.get(change.tx, space, account)
        assert after is not None
        if change.holds(account):
            seq = change.next(account)
            change.tell(MemberChanged(stream=account, seq=seq, space=space, member=after))
        await deed.note(change.tx, space, None, "automod.timeout", account, before, after, rule.name, found.channel)
