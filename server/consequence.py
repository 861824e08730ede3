"""What follows when automod has found something: a report in the queue of the space, a timeout of the author.

Rule 1: it follows what has become of the message: nothing follows one that was stored before, and what was let through
is reported when it is stored, with its place.
Rule 2: it is behind the reply and in memory: when a process is killed, it may not come. What is refused is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from protocol.automod import Automod
from protocol.error import Refusal
from protocol.member import MemberChanged
from protocol.message import Message
from protocol.permission import ADMINISTRATOR
from server.fact import changing
from storage import deed
from storage import member as members
from storage import report as reports
from storage import user as users
from storage.report import Reported

if TYPE_CHECKING:
    from server.app import Server
    from server.automod import Case
    from storage.entry import Entry

log = logging.getLogger("onesocket.automod")

_MOST = 1000
_REPORTED_EVERY = 60


class Found(Struct, frozen=True, eq=False):
    """A message, and the rules that it breaks; its seq is 0 where it was not stored."""

    case: Case
    hits: Sequence[Automod]
    message: Message


class Consequences:
    """Does what follows, one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._queue: asyncio.Queue[Found] = asyncio.Queue(_MOST)
        self._let: dict[tuple[UUID, UUID], tuple[Case, Sequence[Automod]]] = {}

    def refused(self, case: Case, hits: Sequence[Automod], seq: int = 0) -> None:
        """It is not stored."""
        message = Message(seq=seq, author=case.account, sent_at=datetime.now(UTC), text=case.text)
        self.follow(Found(case, hits, message))

    def let(self, entry: Entry, case: Case, hits: Sequence[Automod]) -> None:
        """It is on its way, and something follows once it is stored."""
        while len(self._let) >= _MOST:
            del self._let[next(iter(self._let))]
        self._let[entry.author, entry.nonce] = case, hits

    @property
    def waiting(self) -> bool:
        """Whether there is anything to be told about what is stored."""
        return bool(self._let)

    def stored(self, entry: Entry, message: Message) -> None:
        """It was, whichever it is."""
        found = self._let.pop((entry.author, entry.nonce), None)
        if found is not None:
            self.follow(Found(*found, message))

    def follow(self, found: Found) -> None:
        """Do what the rules say, soon."""
        if not any(rule.report or rule.timeout for rule in found.hits):
            return
        try:
            self._queue.put_nowait(found)
        except asyncio.QueueFull:
            log.warning("automod finds more than can be followed up: some of it is left out")

    async def run(self) -> None:
        """Whatever comes."""
        while True:
            found = await self._queue.get()
            try:
                await self._report(found)
                await self._time_out(found)
            except Refusal as refusal:
                log.warning("what automod has found has no consequence: %s", refusal)

    async def _report(self, found: Found) -> None:
        person = await users.get(self._server.pool, found.case.account)
        for rule in found.hits if person is not None else ():
            if rule.report and person is not None:
                what = Reported(found.case.space, person, found.case.channel, found.message)
                async with self._server.pool.transaction() as tx:
                    await reports.create_by_rule(tx, what, rule.name, _REPORTED_EVERY)

    async def _time_out(self, found: Found) -> None:
        rule = max(found.hits, key=lambda one: one.timeout)
        if not rule.timeout:
            return
        space, account = found.case.space, found.case.account
        until = datetime.now(UTC) + timedelta(seconds=rule.timeout)
        async with changing(self._server, space, account) as change:
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
            channel = found.case.channel
            await deed.note(change.tx, space, None, "automod.timeout", account, before, after, rule.name, channel)
