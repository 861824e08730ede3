"""Notifications: who is told of what besides their channels, and when that is gone again.

What messages bring is found behind them (server/tail.py), so nobody who sends one waits for it; everything else is told
in the transaction that makes it so.

Rule 1: whoever notifies holds the account's stream: a notification's id is the seq of the fact that tells it.
Rule 2: nobody is notified of what they do not see. While that is looked at, nobody is put out or loses a right there.
Rule 3: what is not seen any more is found when it is read: it is shown to nobody, and taken away.
Rule 4: a notification has no words, and counts are absolute.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.error import Conflict, Invalid, Missing
from protocol.message import Message
from protocol.notification import (
    Kind,
    Level,
    Notification,
    NotificationConfigured,
    NotificationCreated,
    NotificationPage,
    NotificationRead,
    NotificationRemoved,
    Setting,
    Unread,
    UnreadNow,
)
from protocol.parts import parts
from server.fact import Change, changing
from server.tail import First
from storage import invite as invites
from storage import notification as notifications
from storage import notification_hint as hinting
from storage import notification_level as levels
from storage import stream, summons
from storage.notification import Listed, News
from storage.notification_hint import Hint
from storage.pool import Database, Transaction
from storage.tail import Portion

if TYPE_CHECKING:
    from datetime import datetime

    from protocol.notification import NotificationConfigure, NotificationList
    from server.app import Server

FRIENDS: tuple[Kind, ...] = ("friend_request", "friend_accepted")
_TRIES = 3
_HELD = 200  # accounts at once


# Telling; the streams of the accounts are held


async def notify(change: Change, news: Sequence[News]) -> None:
    """Notify accounts whose streams are held; no two of the same message."""
    told: list[tuple[int, News]] = []
    heads: dict[UUID, int] = {}
    for one in news:
        heads[one.account] = heads.get(one.account, change.head(one.account)) + 1
        told.append((heads[one.account], one))
    if not told:
        return
    at = await notifications.put(change.tx, told)
    counts = await notifications.counts(change.tx, list(heads))
    for id, one in told:
        notification = Notification(
            id=id,
            kind=one.kind,
            by=one.by,
            at=at,
            read=False,
            space=one.space,
            channel=one.channel,
            message=one.seq,
            invitation=await invites.leading(change.tx, one.account, one.code) if one.code is not None else None,
        )
        change.tell(
            NotificationCreated(stream=one.account, seq=id, notification=notification, counts=counts[one.account])
        )


async def invite(change: Change, one: News) -> None:
    """Notify somebody of an invite, unless they have a good one to that space by the same account."""
    assert one.space is not None
    if not await notifications.invited(change.tx, one.account, one.space, one.by):
        await tell_removed(change, await notifications.invites(change.tx, one.account, one.space, one.by))
        await notify(change, [one])


async def enter(change: Change, space: UUID, account: UUID) -> None:
    """An account is in a space now: whoever has invited it there is answered."""
    await tell_removed(change, await notifications.invites(change.tx, account, space))


async def tell_removed(change: Change, removed: Mapping[UUID, Sequence[int]]) -> None:
    """Notifications that were taken away in this transaction."""
    left = await notifications.counts(change.tx, list(removed)) if removed else {}
    for account, ids in removed.items():
        if change.holds(account) and ids:
            change.tell(
                NotificationRemoved(
                    stream=account, seq=change.next(account), notifications=list(ids), counts=left[account]
                )
            )


async def leave(change: Change, place: UUID, *accounts: UUID) -> None:
    """These are in a channel or space no more: what they were notified of there is gone, and what they have chosen."""
    await tell_removed(change, await notifications.within(change.tx, accounts, place))


async def hide(change: Change, account: UUID, channel: UUID, seqs: Sequence[int]) -> None:
    """Somebody has taken messages out of their view."""
    await tell_removed(change, await notifications.about(change.tx, [account], [(channel, seq) for seq in seqs]))


async def forget(change: Change, account: UUID, *others: UUID, kinds: Sequence[Kind] = ()) -> None:
    """Others have nothing by an account any more, of some kinds or of any."""
    await tell_removed(change, await notifications.by(change.tx, account, others, kinds))


async def vanish(app: Server, channel: UUID, limit: int) -> bool:
    """Some who have notifications of a channel that is no more lose them; whether there were any."""
    accounts = await notifications.having(app.pool, channel, limit)
    if accounts:
        async with changing(app, *accounts) as change:
            await leave(change, channel, *accounts)
    return bool(accounts)


# What messages bring


class Notices:
    """Works behind messages: whom they mention or answer is notified; of what was taken back nobody is any more.

    Whom a mention of a role or of everyone means is found when they come by: see `catch_up`.
    """

    def __init__(self, app: Server) -> None:
        self._app = app

    async def __call__(self, tx: Transaction, portions: Sequence[Portion]) -> None:
        """Spaces are held before accounts, and accounts before their rows: so nobody waits in a circle."""
        deleted = [(one.span.channel, seq) for one in portions for seq in one.deleted]
        hints = await self._hints(tx, portions)
        called = [(one.span.channel, message.seq) for one in portions for message in _loud(one) if _calls(message)]
        concerned = await notifications.concerned(tx, deleted) if deleted else []
        if len(concerned) > _HELD:
            raise First(partial(self._remove, concerned, deleted))
        if not hints and not concerned and not called:
            return
        if hints or called:
            await hinting.hold_places(tx, list({*(one.channel for one in hints), *(one for one, _ in called)}))
        if called:
            await summons.write(tx, called)
        places = await stream.lock(tx, {*concerned, *(one.account for one in hints)})
        change = Change(self._app, tx, places)
        await tell_removed(change, await notifications.about(tx, concerned, deleted))
        await notify(change, await self._judged(change, [one for one in hints if change.holds(one.account)]))
        await change.record()
        tx.then(lambda: self._app.streams.committed(change.batches))

    async def _remove(self, concerned: Sequence[UUID], deleted: Sequence[tuple[UUID, int]]) -> None:
        """What many have about messages that were taken back, a few accounts at a time; again it finds nothing."""
        for some in parts(concerned, _HELD):
            async with changing(self._app, *some) as change:
                await tell_removed(change, await notifications.about(change.tx, some, deleted))

    async def _hints(self, tx: Transaction, portions: Sequence[Portion]) -> list[Hint]:
        """Most messages mention and answer nobody: then nothing is asked."""
        loud = [(one.span.channel, message) for one in portions for message in _loud(one)]
        mentioning = [(channel, one.seq, one.author) for channel, one in loud if _mentions(one)]
        created = {(one.span.channel, message.seq) for one in portions for message in one.created}
        replies = [
            (channel, one.seq, one.author, one.reply_to)
            for channel, one in loud
            if one.reply_to is not None and (channel, one.seq) in created
        ]
        found = await hinting.hints(tx, mentioning, replies) if mentioning or replies else []
        new = [(channel, one.seq, one.author) for channel, one in loud if (channel, one.seq) in created]
        return [*found, *(await hinting.following(tx, new) if new else ())]

    async def _judged(self, change: Change, hints: Sequence[Hint]) -> list[News]:
        """What of this becomes a notification: one of a message for an account, of what they see and want to know."""
        new = await hinting.think_of(change.tx, hints) if hints else []
        first = {(one.account, one.channel, one.seq): one for one in reversed(new)}
        return await _news(self._app, change, sorted(first.values(), key=lambda one: (one.channel, one.seq)))


def _loud(portion: Portion) -> list[Message]:
    return [message for message in (*portion.created, *portion.changed) if not message.silent]


def _mentions(message: Message) -> bool:
    return any(account != message.author for account in message.mentions)


def _calls(message: Message) -> bool:
    return message.mention_everyone or bool(message.mention_roles)


async def _news(app: Server, change: Change, found: Sequence[Hint]) -> list[News]:
    """Of what they see and want to know."""
    wanted = await hinting.wanted(change.tx, found) if found else []
    if not wanted:
        return []
    seen = await app.structures.look(change.tx, [one.channel for one in wanted], [one.account for one in wanted])
    return [
        News(one.account, one.kind, one.by, standing.space, one.channel, one.seq)
        for one, standing in zip(wanted, seen, strict=True)
        if standing is not None
    ]


async def catch_up(app: Server, accounts: Sequence[UUID]) -> None:
    """Accounts are notified of what was said to roles of theirs, or to everyone, since they came by last."""
    behind = await summons.behind(app.pool, accounts)
    if not behind:
        return
    async with app.pool.transaction() as tx:
        await summons.hold(tx, {space for _, space in behind})
        change = Change(app, tx, await stream.lock(tx, {account for account, _ in behind}))
        found = await summons.take(tx, [pair for pair in behind if change.holds(pair[0])])
        await notify(change, await _news(app, change, found))
        await change.record()
        tx.then(lambda: app.streams.committed(change.batches))


# Reading


async def page(app: Server, account: UUID, frame: NotificationList) -> NotificationPage:
    """What the account may see; the rest is taken away before."""
    await catch_up(app, [account])
    for _ in range(_TRIES):
        found = await notifications.page(
            app.pool,
            account,
            unread=frame.unread,
            kinds=frame.kinds,
            after=frame.after,
            limit=frame.limit + 1,
        )
        stale = await _stale(app, app.pool, account, found)
        if not stale:
            break
        await _sweep(app, account)
    seen = [one.notification for one in found if one.notification.id not in stale]
    return notifications.paged(seen, frame.limit, await notifications.counts_now(app.pool, account))


async def unread(app: Server, account: UUID) -> UnreadNow:
    """As of now, and only of what the account may see."""
    await catch_up(app, [account])
    everything = await _unread(app.pool, account)
    if await _stale(app, app.pool, account, everything):
        await _sweep(app, account)
    return await notifications.counts_now(app.pool, account)


async def _unread(db: Database, account: UUID) -> list[Listed]:
    return await notifications.page(db, account, unread=True, kinds=(), after=None, limit=notifications.KEPT)


async def _stale(app: Server, db: Database, account: UUID, found: Iterable[Listed]) -> Collection[int]:
    """What of this the account may not see (any more), or what is about nothing."""
    found = list(found)
    channels = sorted({one.notification.channel for one in found if one.notification.channel is not None})
    seen = await app.structures.look(db, channels, [account] * len(channels)) if channels else []
    there = {channel for channel, standing in zip(channels, seen, strict=True) if standing is not None} | {None}
    return {one.notification.id for one in found if one.gone or one.notification.channel not in there}


async def _sweep(app: Server, account: UUID) -> None:
    """All of that is taken away, and told to all devices."""
    async with changing(app, account) as change:
        everything = await notifications.page(
            change.tx, account, unread=False, kinds=(), after=None, limit=notifications.KEPT
        )
        stale = await _stale(app, change.tx, account, everything)
        if stale:
            await tell_removed(change, {account: await notifications.drop(change.tx, account, list(stale))})


async def mark_read(app: Server, account: UUID, until: int | None, channel: UUID | None) -> Unread:
    """On all devices."""
    if until is None and channel is None:
        raise Invalid("up to which id, or in which channel?", field="until")
    await catch_up(app, [account])
    async with changing(app, account) as change:
        last = change.head(account) if until is None else min(until, change.head(account))
        moved = await notifications.mark_read(change.tx, account, last, channel)
        counts = (await notifications.counts(change.tx, [account]))[account]
        if moved:
            seq = change.next(account)
            change.tell(NotificationRead(stream=account, seq=seq, until=last, channel=channel, counts=counts))
    return counts


# What somebody wants


async def configure(app: Server, account: UUID, frame: NotificationConfigure) -> Setting:
    """What is as it was is not told."""
    async with changing(app, account) as change:
        await _check_there(app, change, account, frame)
        place = frame.channel or frame.space
        if place is None or (frame.channel and frame.space):
            raise Invalid("either a space or a channel", field="channel")
        until = frame.until if frame.level is not None else None
        if await levels.chosen(change.tx, account, place) != (frame.level, until):
            await _choose(change, account, place, frame.level, until)
            setting = Setting(space=frame.space, channel=frame.channel, level=frame.level, until=until)
            change.tell(NotificationConfigured(stream=account, seq=change.next(account), setting=setting))
    return Setting(space=frame.space, channel=frame.channel, level=frame.level, until=until)


async def _check_there(app: Server, change: Change, account: UUID, frame: NotificationConfigure) -> None:
    """That the account is (still) where the rule of the op has found it: nobody puts it out while it is held."""
    if frame.channel is not None:
        await change.standing(account, frame.channel)
    if frame.space is not None and await app.structures.resident(change.tx, frame.space, account) is None:
        raise Missing


async def _choose(change: Change, account: UUID, place: UUID, level: Level | None, until: datetime | None) -> None:
    if not await levels.configure(change.tx, account, place, level, until):
        raise Conflict(f"there is room for {levels.MOST} choices: take one back first")


async def settings(app: Server, account: UUID) -> list[Setting]:
    """Of what the account sees now."""
    found = await levels.settings(app.pool, account)
    channels = [one.channel for one in found if one.channel is not None]
    spaces = [one.space for one in found if one.space is not None]
    seen = await app.structures.look(app.pool, channels, [account] * len(channels)) if channels else []
    residents = await app.structures.residents(app.pool, spaces, [account] * len(spaces)) if spaces else []
    there = {one.id for one in (*seen, *residents) if one is not None}
    return [one for one in found if (one.channel or one.space) in there]
