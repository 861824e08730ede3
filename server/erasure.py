"""What follows when an account was deleted: it is nobody's friend, leaves its channels, and all it has said there goes.

(How chores are done is in server/chore.py.)

Rule: first it leaves, then its words are emptied: so nothing of it can come behind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.error import Missing
from protocol.friend import FriendRemoved
from protocol.parts import parts
from protocol.reaction import ReactionRemoved
from server import group, notification, poll, space
from server.chore import Round
from server.fact import changing
from server.removal import take_back
from storage import erasure
from storage import file as files
from storage import friend as friends
from storage import member as members
from storage import reaction as reactions
from storage.reaction import Mark

if TYPE_CHECKING:
    from server.app import Server

_MOMENT = 0.1  # for what was on its way when the account was deleted
_FRIENDS, _CHANNELS, _MESSAGES, _REACTIONS, _VOTES, _FILES = 50, 100, 5000, 200, 200, 200
_AT_ONCE, _REACTIONS_AT_ONCE, _VOTES_AT_ONCE = 500, 50, 50


class Erasures:
    """Erases what is left of deleted accounts."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._round = Round(server.pool, erasure.ACCOUNTS, self._erase, moment=_MOMENT)
        self.wake = self._round.wake

    async def run(self) -> None:
        """One account after the other."""
        await self._round.run()

    async def _erase(self, account: UUID) -> None:
        while others := await friends.having(self._server.pool, account, _FRIENDS):
            await self._part(account, others)
        await self._leave_all(account)
        while said := await erasure.messages(self._server.pool, account, _MESSAGES):
            for channel, seqs in said.items():
                for some in parts(seqs, _AT_ONCE):
                    await take_back(self._server, channel, some)
                    await self._round.breathe(account)
        while given := await erasure.reactions(self._server.pool, account, _REACTIONS):
            for channel, emojis in given.items():
                for few in parts(emojis, _REACTIONS_AT_ONCE):
                    await self._take_away(account, channel, few)
        while cast := await erasure.votes(self._server.pool, account, _VOTES):
            for channel, seqs in cast.items():
                for some in parts(seqs, _VOTES_AT_ONCE):
                    await self._withdraw(account, channel, some)
        while kept := await files.some(self._server.pool, account, _FILES):
            await files.delete(self._server.pool, account, kept)
            await self._round.breathe(account)
        self._server.files.wake()
        async with self._server.pool.transaction() as tx:
            await erasure.finish(tx, account)

    async def _leave_all(self, account: UUID) -> None:
        while found := await erasure.channels(self._server.pool, account, _CHANNELS):
            for channel in found:
                await self._leave(account, channel)
        while found := await members.spaces(self._server.pool, account, None, _CHANNELS):
            for one in found:
                await space.abandon(self._server, one, account)
                await self._round.breathe(account)

    async def _part(self, account: UUID, others: Sequence[UUID]) -> None:
        async with changing(self._server, *others) as change:
            for other in await friends.forget(change.tx, account, others):
                if change.holds(other):
                    change.tell(FriendRemoved(stream=other, seq=change.next(other), user=account))
            await notification.forget(change, account, *others, kinds=notification.FRIENDS)
        await self._round.breathe(account)

    async def _leave(self, account: UUID, channel: UUID) -> None:
        with contextlib.suppress(Missing):  # it was put out meanwhile
            await group.exit(self._server, channel, account, by=account)
        await self._round.breathe(account)

    async def _take_away(self, account: UUID, channel: UUID, some: Sequence[tuple[int, Mark]]) -> None:
        async with changing(self._server, channel) as change:
            for seq, mark in some:
                count = await reactions.remove(change.tx, channel, seq, account, mark)
                if count is not None and change.holds(channel):
                    change.tell(
                        ReactionRemoved(
                            stream=channel,
                            seq=change.next(channel),
                            message=seq,
                            user=account,
                            emoji=mark.emoji,
                            custom=mark.custom,
                            count=count,
                        )
                    )
        await self._round.breathe(account)

    async def _withdraw(self, account: UUID, channel: UUID, seqs: Sequence[int]) -> None:
        async with changing(self._server, channel) as change:
            for seq in seqs if change.holds(channel) else ():
                await poll.withdraw(change, channel, seq, account)
        await self._round.breathe(account)
