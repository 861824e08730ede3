"""Who is there, and who is told of it: only those who watch, and only what they may see.

Whoever comes, goes or changes is looked at a moment later, together with everybody else who did: what has become of
them by then is compared with what each watcher was told last. So a moment's absence is told to nobody, and whoever
missed something hears of it when somebody looks again.

Rule 1: what nobody watches costs no more than a lease; alone, a node tells nobody anything.
Rule 2: a node that others cannot ask is believed for as long as a lease; without Redis, each knows its own sockets.
Rule 3: an event is encoded once for all who see the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.codec import encode
from protocol.error import Conflict, Refusal
from protocol.presence import Presence, PresenceChanged
from server.core import frame
from storage import presence as storage
from storage.presence import Leases, Look

if TYPE_CHECKING:
    from server.carrier import Carrier
    from server.context import Context
    from storage.bus import Bus
    from storage.pool import Pool

log = logging.getLogger("onesocket.presence")

_MOST_WATCHED = 1000
_MOMENT, _IDLE = 0.4, 1.0
_RENEW = 2.0
_ALL_AGAIN = 30  # seconds in which everybody who is watched is looked at again, where there are other nodes
_AT_ONCE = 200
_PUSHED = 1000


class Whereabouts:
    """The accounts that are on this node, and those that are watched from here."""

    def __init__(self, pool: Pool, bus: Bus, carrier: Carrier, *, lease: int = 26) -> None:
        self._pool, self._bus, self._carrier, self._lasting = pool, bus, carrier, lease
        self._leases = Leases(bus.script, lease)
        self._here: Counter[UUID] = Counter()
        self._told_here: set[UUID] = set()  # of whom it was told that they are here
        self._moved: set[UUID] = set()
        self._watchers: dict[UUID, set[Context]] = {}
        self._watching: dict[Context, dict[UUID, Presence | None]] = {}  # what each was told last
        self._dirty: dict[UUID, set[Context] | None] = {}  # to be looked at, for some watchers or for all
        self._again: list[UUID] = []
        self._elsewhere: set[UUID] = set()  # of the watched ones, as last heard
        self._asked_at = self._renewed_at = -1e9
        self._sharing = self._missed = False  # whether others know who is here; whether Redis was away meanwhile
        self._wake = asyncio.Event()
        carrier.hear_presence(self._look_at, self._look_at_all)

    @property
    def shared(self) -> bool:
        """Whether other nodes know who is here."""
        return self._sharing and self._leases.whole

    # What sockets do

    def came(self, account: UUID) -> None:
        """One more socket speaks for an account."""
        self._here[account] += 1
        self._move(account)

    def went(self, ctx: Context, account: UUID) -> None:
        """One socket less."""
        self._here[account] -= 1
        if not self._here[account]:
            del self._here[account]
        self._move(account)
        self.unwatch(ctx, list(self._watching.get(ctx, ())))

    def _move(self, account: UUID) -> None:
        self._moved.add(account)
        self._wake.set()

    def changed(self, *accounts: UUID) -> None:
        """These have chosen anew how, or by whom, they are seen."""
        for account in accounts:
            self._carrier.tell_presence(account)
            self._look_at(account)

    def sees_otherwise(self, account: UUID) -> None:
        """An account has chosen to see more of others, or less."""
        for ctx, watching in self._watching.items():
            if ctx.session is not None and ctx.session.account == account:
                for user in watching:
                    self._look_for(ctx, user)

    def _look_at(self, account: UUID) -> None:
        if account in self._watchers:
            self._dirty[account] = None
            self._wake.set()

    def _look_for(self, ctx: Context, account: UUID) -> None:
        some = self._dirty.setdefault(account, set())
        if some is not None:
            some.add(ctx)
        self._wake.set()

    def _look_at_all(self) -> None:
        self._dirty.update(dict.fromkeys(self._watchers))
        self._wake.set()

    # What they ask

    async def shown(self, viewer: UUID, look: Look) -> list[Presence]:
        """How a viewer sees the users that were looked at."""
        elsewhere = await self._online_elsewhere(look.users)
        there = {one for one in look.users if one in self._here or one in self._told_here or one in elsewhere}
        return [look.shown(viewer, user, there=user in there) for user in look.users]

    async def watch(self, ctx: Context, look: Look) -> list[Presence]:
        """The same, and tell this socket of every change from now on."""
        watching = self._watching.get(ctx, {})
        new = [user for user in look.users if user not in watching]
        if len(watching) + len(new) > _MOST_WATCHED:
            raise Conflict(f"one socket watches {_MOST_WATCHED} users at most: unwatch some first")
        self._watching[ctx] = watching
        for user in new:
            watching[user] = None
            self._add(user, ctx)
        try:
            found = await self.shown(ctx.user, look)
        except BaseException:
            self.unwatch(ctx, new)
            raise
        for one in found:
            if one.user in watching:
                watching[one.user] = one
                self._look_for(ctx, one.user)  # it may have changed before it was watched
        return found

    def _add(self, user: UUID, ctx: Context) -> None:
        if user not in self._watchers:
            self._watchers[user] = set()
            self._carrier.follow_presence(user)
        self._watchers[user].add(ctx)

    def unwatch(self, ctx: Context, users: Iterable[UUID]) -> None:
        """Tell this socket no more."""
        watching = self._watching.get(ctx, {})
        for user in users:
            watching.pop(user, None)
            watchers = self._watchers.get(user, set())
            watchers.discard(ctx)
            if not watchers and user in self._watchers:
                del self._watchers[user]
                self._elsewhere.discard(user)
                self._carrier.unfollow_presence(user)
        if not watching:
            self._watching.pop(ctx, None)

    # Again and again

    async def run(self) -> None:
        """See what has become of everybody who moved, a moment after they did."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _IDLE)
                await asyncio.sleep(_MOMENT)
            self._wake.clear()
            try:
                await self._share()
                await self._note_moves()
                await self._tell()
            except Refusal as refusal:  # what was not done is still to be done
                log.debug("presence waits for the database: %s", refusal)

    async def stop(self) -> None:
        """Everybody here has gone."""
        with contextlib.suppress(Refusal):
            await self._note_moves()
        if self._sharing:
            await self._leases.drop()

    # What other nodes know of this one

    async def _share(self) -> None:
        """Keep this node's lease while there are others, and learn who they are."""
        now = asyncio.get_running_loop().time()
        wanted = self._bus.others > 0 or bool(self._leases.others)
        if not wanted:
            self._sharing = self._leases.whole = False
            return
        if not self._sharing or now - self._renewed_at >= _RENEW:
            before = self._leases.others
            if not await self._leases.renew():
                self._missed = True
                self._look_again()
                return
            self._sharing, self._renewed_at = True, now
            if self._missed or before - self._leases.others:
                self._missed = False
                self._look_at_all()
        if not self._leases.whole and await self._leases.fill(self._told_here):
            self._carrier.tell_presence(None)
        self._look_again()

    def _look_again(self) -> None:
        """A part of those who are watched, in turn: a message may have been lost."""
        if not self._again:
            self._again = list(self._watchers)
        count = len(self._watchers) // _ALL_AGAIN + 1
        for account in self._again[-count:]:
            if account in self._watchers:
                self._dirty[account] = None
        del self._again[-count:]

    async def _note_moves(self) -> None:
        """Whoever came, or went and did not come back."""
        moved, self._moved = self._moved, set()
        came = {one for one in moved if one in self._here and one not in self._told_here}
        went = {one for one in moved if one not in self._here}  # also who was here for a moment only
        try:
            if self._sharing:
                await self._leases.change(came, went & self._told_here)
            await self._write_down([*came, *went])
        except BaseException:
            self._moved |= moved
            raise
        self._told_here = (self._told_here | came) - went if moved else self._told_here
        for account in (*came, *went):
            self.changed(account)

    async def _write_down(self, accounts: Collection[UUID]) -> None:
        some = iter(accounts)
        while now := list(islice(some, _PUSHED)):
            await storage.note(self._pool, now)

    # What is told

    async def _online_elsewhere(self, accounts: Sequence[UUID]) -> Collection[UUID]:
        if not self._sharing:
            return ()
        now = asyncio.get_running_loop().time()
        told = await self._leases.elsewhere(accounts)
        if told is None:
            return self._elsewhere if now - self._asked_at < self._lasting else ()
        self._asked_at = now
        self._elsewhere.difference_update(accounts)
        self._elsewhere.update(told & self._watchers.keys())
        return told

    async def _tell(self) -> None:
        """What is different from what was told last."""
        dirty, self._dirty = list(self._dirty.items()), {}
        while dirty:
            some = {one: self._audience(one, only) for one, only in dirty[-_AT_ONCE:] if one in self._watchers}
            try:
                await self._tell_of(some)
            except BaseException:
                self._dirty.update((one, None) for one, _ in dirty)
                raise
            del dirty[-_AT_ONCE:]

    def _audience(self, user: UUID, only: set[Context] | None) -> list[tuple[Context, UUID]]:
        """Who watches, and for whom: nobody else may be told by what is read now."""
        watchers = self._watchers[user] if only is None else self._watchers[user] & only
        return [(ctx, ctx.session.account) for ctx in watchers if ctx.session is not None]

    async def _tell_of(self, audiences: dict[UUID, list[tuple[Context, UUID]]]) -> None:
        if not audiences:
            return
        viewers = {account for audience in audiences.values() for _, account in audience}
        look = await storage.look(self._pool, list(viewers), list(audiences))
        elsewhere = await self._online_elsewhere(look.users)
        for user, audience in audiences.items():
            frames: dict[Presence, bytes] = {}
            for at in range(0, len(audience), _PUSHED):
                there = user in self._told_here or user in elsewhere  # as it is written down
                for ctx, viewer in audience[at : at + _PUSHED]:
                    self._tell_one(ctx, viewer, look.shown(viewer, user, there=there), frames)
                await asyncio.sleep(0)

    def _tell_one(self, ctx: Context, viewer: UUID, now: Presence, frames: dict[Presence, bytes]) -> None:
        watching = self._watching.get(ctx, {})
        told = watching.get(now.user)
        if told is None or told == now or ctx.session is None or ctx.session.account != viewer:
            return
        watching[now.user] = now
        if now not in frames:
            frames[now] = frame(1, encode(PresenceChanged(presence=now)))
        ctx.socket.push(frames[now])
