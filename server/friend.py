"""Becoming friends, and ceasing to be.

Rule 1: both streams are held while anything changes between two, and both are told in the transaction that makes it so:
        however many ask, accept and withdraw at once, on whatever process, each is told what it is in the end.
Rule 2: whoever is told that something has ended is not told why.
Rule 3: whom one may not see is `missing`; who does not take requests is `forbidden`, in the same words whatever they
        have chosen: so a refusal tells of nobody who is hidden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from protocol.error import Conflict, Forbidden, Invalid, Missing, SessionRevoked
from protocol.friend import Friend, FriendAdded, FriendRemoved, FriendRequested, PrivacyChoice, State
from server import notification
from server.fact import Change, changing
from storage import friend as friends
from storage import user as users
from storage.notification import News

if TYPE_CHECKING:
    from protocol.friend import Directs, Requests
    from server.app import Server

_MOST_FRIENDS, _MOST_WAITING = 1000, 200


async def request(app: Server, me: UUID, user: UUID) -> Friend:
    """Ask; or become friends, when the other has asked already."""
    if me == user:
        raise Invalid("you cannot be your own friend", field="user")
    async with changing(app, me, user) as change:
        await check(change, me, user)
        found = await friends.between(change.tx, me, user)
        if found is None:
            await _check_asking(change, me, user)
            return await _become(change, me, user, "waiting", "asked")
        return await _befriend(change, me, user) if found.state == "asked" else found


async def accept(app: Server, me: UUID, user: UUID) -> Friend:
    """Become friends with who has asked."""
    async with changing(app, me, user) as change:
        await check(change, me, user)
        found = await friends.between(change.tx, me, user)
        if found is None or found.state == "waiting":
            raise Conflict("this user has not asked you, or has taken it back")
        return await _befriend(change, me, user) if found.state == "asked" else found


async def end(app: Server, me: UUID, user: UUID, *states: State) -> None:
    """Be nothing to each other any more, if the other is one of these."""
    async with changing(app, me, user) as change:
        await check(change, me, user)
        found = await friends.between(change.tx, me, user)
        if found is not None and found.state in states:
            await part(change, me, user)


async def part(change: Change, one: UUID, other: UUID) -> None:
    """Whatever they were to each other, they are nothing any more; both streams are held."""
    if await friends.part(change.tx, one, other):
        for account, user in ((one, other), (other, one)):
            await notification.forget(change, user, account, kinds=notification.FRIENDS)
            change.tell(FriendRemoved(stream=account, seq=change.next(account), user=user))


async def check_opening(change: Change, me: UUID, user: UUID) -> None:
    """That the other, whom one sees, lets one open a direct channel with them."""
    if me != user and not await friends.may_open(change.tx, me, user):
        raise Forbidden("this user talks with friends only: ask them to be friends")


async def choose(app: Server, me: UUID, requests: Requests | None, directs: Directs | None) -> PrivacyChoice:
    """What is asked or opened after this is decided by it: that holds the same stream."""
    async with changing(app, me) as change:
        await check(change, me, me)
        return await friends.set_privacy(change.tx, me, requests, directs)


async def check(change: Change, me: UUID, user: UUID) -> None:
    """That what the rule of the op has found is still so: a deletion or block holds one of these streams."""
    if me not in await users.living(change.tx, [me]):
        raise SessionRevoked
    if await users.visible(change.tx, me, user) is None:
        raise Missing


async def _check_asking(change: Change, me: UUID, user: UUID) -> None:
    if not await friends.may_ask(change.tx, me, user):
        raise Forbidden("this user does not take friend requests from you")
    if await friends.count(change.tx, me, "friend") >= _MOST_FRIENDS:
        raise Conflict(f"you have {_MOST_FRIENDS} friends: remove one first")
    if await friends.count(change.tx, me, "waiting") >= _MOST_WAITING:
        raise Conflict(f"you have asked {_MOST_WAITING} people: wait for their answers, or take a request back")


async def _befriend(change: Change, me: UUID, user: UUID) -> Friend:
    for account in (me, user):
        if await friends.count(change.tx, account, "friend") >= _MOST_FRIENDS:
            raise Conflict(f"one of you has {_MOST_FRIENDS} friends, which is all there is room for")
    return await _become(change, me, user, "friend", "friend")


async def _become(change: Change, me: UUID, user: UUID, mine: State, theirs: State) -> Friend:
    """`mine` is what the other is to me."""
    since = await friends.put(change.tx, me, user, mine, theirs)
    kind = FriendAdded if mine == "friend" else FriendRequested
    for account, other, state in ((me, user, mine), (user, me, theirs)):
        friend = Friend(user=other, state=state, since=since)
        change.tell(kind(stream=account, seq=change.next(account), friend=friend))
    await notification.forget(change, user, me, kinds=notification.FRIENDS)  # what was asked is answered
    await notification.notify(change, [News(user, "friend_accepted" if mine == "friend" else "friend_request", me)])
    return Friend(user=user, state=mine, since=since)
