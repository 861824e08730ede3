"""Entering and leaving channels: what changes, and who is told.

Rule 1: everybody concerned is told in their own stream, in the transaction that makes it so; of the end of a group
        soon behind it, for they may be very many (server/grave.py).
Rule 2: whoever is put out loses every right with the commit: the channel's access version moves.
Rule 3: nothing is made for an account that was deleted: its deletion holds its stream, and what comes later looks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from protocol.channel import (
    Channel,
    ChannelCreate,
    ChannelJoined,
    ChannelLeft,
    ChannelMemberJoined,
    ChannelMemberLeft,
    ChannelUpdated,
    Membership,
)
from protocol.error import Conflict, Invalid, Missing, Overloaded, SessionRevoked
from protocol.permission import bits
from server import friend, notification
from server.fact import Change, changing
from server.rule import check
from storage import channel as channels
from storage import grave, retention, stream
from storage import membership as memberships
from storage import user as users
from storage.ids import new_id
from storage.pool import UniqueViolation

if TYPE_CHECKING:
    from server.app import Server

_MOST_MEMBERS = 100_000


def from_outside(channel: Channel) -> Membership:
    """An open group as somebody sees it who is not in it."""
    return Membership(
        channel=channel,
        joined=False,
        peer=None,
        head=0,
        read=0,
        delivered=0,
        unread=0,
        mentions=0,
        muted_until=None,
        last=None,
    )


async def create(app: Server, owner: UUID, frame: ChannelCreate, members: Sequence[UUID]) -> UUID:
    """A group with its first members."""
    everybody = list(dict.fromkeys([owner, *members]))
    try:
        async with changing(app, *everybody) as change:
            await _check_living(change, owner)
            channel = await _make(
                change,
                "group",
                owner,
                name=frame.name,
                topic=frame.topic,
                description=frame.description,
                avatar=frame.avatar,
                open=frame.open,
                nonce=frame.nonce,
            )
            await _tell_entered(change, channel, await channels.enter(change.tx, channel, everybody, 0), owner)
    except UniqueViolation:
        found = await channels.made_with(app.pool, owner, frame.nonce)
        if found is None:
            raise
        return found
    return channel


async def pair(app: Server, one: UUID, other: UUID) -> UUID:
    """The channel of two, or of one with themselves."""
    both = list({one, other})
    async with changing(app, *both) as change:
        await _check_living(change, one)
        found = await channels.direct(change.tx, one, other)
        if found is not None:
            return found
        if await users.visible(change.tx, one, other) is None:
            raise Missing
        await friend.check_opening(change, one, other)
        channel = await _make(change, "direct" if one != other else "saved", one)
        await channels.pair(change.tx, one, other, channel)
        await _tell_entered(change, channel, await channels.enter(change.tx, channel, both, 0), one)
    return channel


async def _check_living(change: Change, by: UUID, *others: UUID) -> None:
    """That these accounts, whose streams are held, were not deleted meanwhile, perhaps on another process."""
    living = await users.living(change.tx, [by, *others])
    if by not in living:
        raise SessionRevoked
    if not living.issuperset(others):
        raise Missing


async def _make(change: Change, kind: str, creator: UUID, **fields: object) -> UUID:
    channel = new_id()
    change.add(await stream.create(change.tx, channel))
    await channels.create(change.tx, kind, channel, creator, **fields)
    return channel


async def _tell_entered(change: Change, channel: UUID, accounts: Sequence[UUID], by: UUID) -> None:
    """Each in their own stream, with the channel's head as it will be."""
    for account in accounts:
        found = await memberships.get(change.tx, account, channel)
        assert found is not None
        # Without words: this fact is kept, and what it tells of a message could not be taken back.
        membership = msgspec.structs.replace(found, head=change.head(channel), last=None)
        change.tell(ChannelJoined(stream=account, seq=change.next(account), membership=membership, by=by))


async def enter(app: Server, channel: UUID, accounts: Sequence[UUID], by: UUID, *, uninvited: bool = False) -> None:
    """Bring accounts into a group; who is in it already stays as they are."""
    async with changing(app, channel, *accounts) as change:
        await _check_entry(change, channel, by, uninvited)
        new = await channels.not_in(change.tx, channel, [one for one in accounts if change.holds(one)])
        if not new:
            return
        count = await channels.count(change.tx, channel)
        if count + len(new) > _MOST_MEMBERS:
            raise Conflict(f"a group has room for {_MOST_MEMBERS} members")
        await channels.enter(change.tx, channel, new, change.head(channel) + len(new))
        for number, account in enumerate(new, 1):
            change.tell(
                ChannelMemberJoined(
                    stream=channel, seq=change.next(channel), user=account, by=by, members=count + number
                )
            )
        await _tell_entered(change, channel, new, by)


async def _check_entry(change: Change, channel: UUID, by: UUID, uninvited: bool) -> None:
    if not uninvited:
        await change.standing(by, channel)
    elif not change.holds(channel) or await channels.enterable(change.tx, by, channel) is None:
        raise Missing


async def exit(app: Server, channel: UUID, account: UUID, by: UUID) -> None:
    """Take an account out of a group; the last one ends it."""
    async with changing(app, channel, account) as change:
        if by != account:
            await change.standing(by, channel, "kick")
        if not change.holds(channel) or not await channels.leave(change.tx, channel, account):
            raise Missing
        change.withdraw(channel)
        left = await channels.get(change.tx, channel)
        if left.members == 0:
            await grave.dig(change.tx, channel, by)
        else:
            await _tell_left(change, left, account, by)
        if change.holds(account):
            reason = "left" if by == account else "removed"
            change.tell(ChannelLeft(stream=account, seq=change.next(account), channel=channel, reason=reason, by=by))  # type: ignore[arg-type]
            await notification.leave(change, channel, account)
    app.grants.forget(channel)
    if left.members == 0:
        app.graves.wake()


async def _tell_left(change: Change, left: Channel, account: UUID, by: UUID) -> None:
    owner = left.owner
    if left.kind == "group" and owner in (account, None):
        owner = await channels.hand_over(change.tx, left.id)
    seq = change.next(left.id)
    change.tell(ChannelMemberLeft(stream=left.id, seq=seq, user=account, by=by, members=left.members, owner=owner))


async def update(app: Server, by: UUID, channel: UUID, given: dict[str, Any]) -> None:
    """Change what is given of a channel."""
    async with changing(app, channel) as change:
        standing = await change.standing(by, channel, "send")
        for name in ("slow", "seats"):
            if given.get(name):
                raise Invalid("only channels of spaces have that", field=name)
        if standing.kind == "group" or given.keys() - {"disappears_after"}:
            check(standing.allowed, bits(["manage_channels"]))
        before = await channels.get(change.tx, channel)
        after = msgspec.structs.replace(before, **given)
        if after == before:
            return
        await channels.update(change.tx, channel, after)
        if after.disappears_after != before.disappears_after:
            change.withdraw(channel)  # what was decided before is decided anew: it may stay for another time
        if after.keeps_for != before.keeps_for:
            await retention.begin(change.tx, channel)
        change.tell(ChannelUpdated(stream=channel, seq=change.next(channel), channel=after))


async def delete(app: Server, by: UUID, channel: UUID) -> None:
    """Do away with a group: nobody has a right there any more; that everybody is told comes behind."""
    async with changing(app, channel) as change:
        await change.standing(by, channel, "manage_channels")
        await grave.dig(change.tx, channel, by)
        change.withdraw(channel)
    app.grants.forget(channel)
    app.graves.wake()


async def block(app: Server, account: UUID, user: UUID) -> None:
    """Neither writes to the other from here on, nor is anything to them."""
    await _between(app, account, user, _block)


async def _block(change: Change, account: UUID, user: UUID) -> None:
    await users.block(change.tx, account, user)
    await friend.part(change, account, user)
    await notification.forget(change, user, account)


async def unblock(app: Server, account: UUID, user: UUID) -> None:
    """They may write to each other again, if that was the only block."""
    await _between(app, account, user, _unblock)


async def _unblock(change: Change, account: UUID, user: UUID) -> None:
    await users.unblock(change.tx, account, user)


async def _between(app: Server, account: UUID, user: UUID, change_it: Callable[..., Awaitable[None]]) -> None:
    """Change how two stand to each other: what either may do in their channel is decided anew."""
    for _ in range(5):
        known = await channels.direct(app.pool, account, user)
        async with changing(app, account, user, *([known] if known else [])) as change:
            if await channels.direct(change.tx, account, user) != known:
                continue  # it was opened before the lock was ours
            await _check_living(change, account, user)
            await change_it(change, account, user)
            if known is not None:
                change.withdraw(known)
        if known is not None:
            app.grants.forget(known)
        return
    raise Overloaded("two changes met; try again", retry_after=0.2)
