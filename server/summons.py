"""Summons: messages of spaces that mention roles, or everyone.

Rule 1: who may not mention everyone mentions only roles that everybody may mention; of an edit, what it adds counts.
Rule 2: what follows costs nothing per member: such a message is numbered in its space, and each member looks, when they
come by, at what was numbered since they looked last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.error import Forbidden, Invalid, Missing, Refusal
from protocol.message import Message
from protocol.permission import bits
from server import notification
from storage import summons
from storage.extra import Extra

if TYPE_CHECKING:
    from server.app import Server
    from server.structure import Structure
    from storage.standing import Standing

log = logging.getLogger("onesocket.summons")

_EVERY, _AT_ONCE, _MOST_WAITING = 1.0, 100, 200_000
_EVERYONE = bits(["mention_everyone"])


def refusal(structure: Structure | None, standing: Standing, roles: Sequence[UUID], everyone: bool) -> Refusal | None:
    """Why somebody may not mention these in a channel."""
    if not roles and not everyone:
        return None
    if structure is None:
        return Invalid("there are no roles here", field="mention_roles" if roles else "mention_everyone")
    known = structure.shown.keys() - {structure.id}
    if not known >= set(roles):
        return Missing(field="mention_roles")
    free = not everyone and all(structure.shown[role].mentionable for role in roles)
    return None if free or standing.allowed & _EVERYONE else Forbidden("you need the permission mention_everyone here")


def check_edit(structure: Structure | None, standing: Standing, before: Message, after: Message) -> None:
    """That what an edit adds may be mentioned there."""
    added = [role for role in after.mention_roles if role not in before.mention_roles]
    refused = refusal(structure, standing, added, after.mention_everyone and not before.mention_everyone)
    if refused is not None:
        raise refused


def weight(message: Message | Extra) -> int:
    """How many are mentioned, as rules of a space count: a role is one, and so is everyone."""
    return len(message.mentions) + len(message.mention_roles) + message.mention_everyone


class Summonses:
    """Notifies members who are here: of what is new in their spaces, and when they come."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._numbers: dict[UUID, int] = {}
        self._waiting: dict[UUID, None] = {}

    def come(self, account: UUID) -> None:
        """Somebody is here from now on."""
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.setdefault(account)

    async def run(self) -> None:
        """Once a second; who has looked themselves meanwhile costs one row of a query."""
        while True:
            await asyncio.sleep(_EVERY)
            try:
                await self._look()
                while self._waiting:
                    await self._catch_up(list(self._waiting)[:_AT_ONCE])
            except Refusal as refusal:
                log.debug("what was said to roles waits for the database: %s", refusal)

    async def _look(self) -> None:
        """Who hears a space in which there is something new has to look."""
        followed = self._server.streams.spaces
        now = await summons.numbers(self._server.pool, [one.id for one in followed]) if followed else {}
        for space in followed:
            if self._numbers.get(space.id, now.get(space.id)) != now.get(space.id):
                for ctx in space.audience:
                    if ctx.session is not None:
                        self.come(ctx.session.account)
        self._numbers = now

    async def _catch_up(self, some: Sequence[UUID]) -> None:
        for account in some:
            del self._waiting[account]
        try:
            await notification.catch_up(self._server, some)
        except Refusal:
            self._waiting |= dict.fromkeys(some)
            raise
