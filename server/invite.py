"""Ways into a space: making codes, and entering by them.

Rule 1: a code is looked at again when its space is held: so never more enter by it than may, on however many processes.
Rule 2: a role comes along only while who made the invite may give it.
Rule 3: in the log a code that is not public stands without most of its letters.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from protocol.error import Conflict, Forbidden, Invalid, Missing
from protocol.invite import Invite, InviteCreate
from protocol.permission import bits
from protocol.space import Space
from server import attempt, friend, notification
from server.access import may_shape
from server.fact import Change, changing
from server.rule import Bind, Rule, check
from server.space import Ruling, admit
from server.space_access import space_seen
from storage import deed
from storage import invite as invites
from storage import member as members
from storage import space as spaces
from storage.notification import News

if TYPE_CHECKING:
    from protocol.invite import Invitation
    from server.app import Server
    from server.context import Context
    from server.structure import Resident

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that looks like another
_LENGTH = 12  # 59 bits
_MANAGE = bits(["manage_space"])


# Who may do what with codes


def invited(field: str = "code") -> Rule:
    """A code that leads the viewer somewhere. Others are counted: who guesses is slowed down."""
    return Rule(binds=(Bind(field, "invite", leading_to, name="invitation", in_context=True),))


async def leading_to(ctx: Context, code: str) -> Invitation | None:
    """Where a good code leads to, if the viewer is not kept out there."""
    tries = attempt.invites(ctx.user, ctx.address)
    await ctx.app.attempts.take(tries)
    found = await invites.leading(ctx.db, ctx.user, code)
    if found is not None:
        await ctx.app.attempts.give_back(tries)
    return found


def good_invite(field: str = "code") -> Rule:
    """A good invite to a space that the viewer is in. Others are counted: who guesses is slowed down."""
    return Rule(binds=(Bind(field, "invite", sendable, name="invite", in_context=True),))


async def sendable(ctx: Context, code: str) -> Invite | None:
    """An invite by which the viewer may let others in."""
    tries = attempt.invites(ctx.user, ctx.address)
    await ctx.app.attempts.take(tries)
    found = await invites.good(ctx.db, ctx.user, code)
    if found is not None:
        await ctx.app.attempts.give_back(tries)
    return found


def own_invite(field: str = "code") -> Rule:
    """An invite that the viewer has made, or any of a space where they have `manage_space`."""
    return Rule(binds=(Bind(field, "invite", revocable, name="invite", in_context=True),))


async def revocable(ctx: Context, code: str) -> Invite | None:
    """An invite that the viewer may revoke."""
    found = await invites.beside(ctx.db, ctx.user, code)
    me = await space_seen(ctx, found.space) if found is not None else None
    return found if found is not None and me is not None and may_revoke(me, found) else None


def may_revoke(me: Resident, invite: Invite) -> bool:
    """Whether a member may revoke an invite: of their own making, but for the space's own."""
    return bool(me.allowed & _MANAGE) or (invite.by == me.account and not invite.vanity)


# Making and using them


class Joined(Struct, frozen=True):
    """How somebody came in, for the log."""

    via: str
    role: UUID | None


async def create(rule: Ruling, frame: InviteCreate) -> Invite:
    """A way into a space that is held, by who may invite there."""
    before = await invites.made_with(rule.tx, rule.me.account, frame.nonce)
    if before is not None:
        if before.space != rule.id:
            raise Conflict("this nonce stands for an invite to another space", field="nonce")
        return before
    return await (_create_vanity(rule, frame, frame.vanity.lower()) if frame.vanity else _create_random(rule, frame))


async def _create_random(rule: Ruling, frame: InviteCreate) -> Invite:
    _check_role(rule, frame.role)
    if await invites.room(rule.tx, rule.id, rule.me.account) <= 0:
        raise Conflict(f"you have {invites.MOST} invites to this space: revoke one first")
    return await _save(rule, frame, "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH)))


async def _create_vanity(rule: Ruling, frame: InviteCreate, code: str) -> Invite:
    check(rule.me.allowed, _MANAGE)
    if frame.role is not None or frame.most is not None:
        raise Invalid("a code of your own choice has neither a role nor an end", field="vanity")
    await invites.clear_vanity(rule.tx, rule.id)
    return await _save(rule, frame, code)


async def _save(rule: Ruling, frame: InviteCreate, code: str) -> Invite:
    vanity = frame.vanity is not None
    wanted = Invite(
        code=code,
        space=rule.id,
        by=rule.me.account,
        role=frame.role,
        uses=0,
        most=frame.most,
        vanity=vanity,
        expires_at=None,
        created_at=rule.structure.space.created_at,
    )
    made = await invites.create(rule.tx, wanted, frame.nonce, None if vanity else frame.lasts)
    if made is None:
        raise Conflict("this code is taken", field="vanity")
    await rule.note("invite.create", None, None, masked(made), "")
    return made


def _check_role(rule: Ruling, role: UUID | None) -> None:
    if role is None:
        return
    check(rule.me.allowed, bits(["manage_roles"]))
    found = rule.structure.roles.get(role)
    if found is None:
        raise Missing(field="role")
    if role == rule.id or not may_shape(rule.me.member, found, found):
        raise Forbidden("only a role that stands lower than you")


def masked(invite: Invite) -> Invite:
    """As the log may tell it."""
    return invite if invite.vanity else replace(invite, code=invite.code[:3] + "…")


async def accept(app: Server, space: UUID, code: str, account: UUID) -> Space:
    """Enter by a code; again is no error, and does not count."""
    async with changing(app, space, account) as change:
        invite = await invites.letting(change.tx, account, code) if change.holds(space) else None
        if invite is None:
            raise Missing
        if await members.get(change.tx, space, account) is None:
            await _enter(app, change, invite, account)
        found = await spaces.get(change.tx, space)
        assert found is not None
    return found


async def send(rule: Ruling, code: str, user: UUID) -> None:
    """Notify somebody of a way into a space; the space is held, and so are both accounts."""
    me, tx = rule.me.account, rule.tx
    if await invites.good(tx, me, code) is None:
        raise Missing
    await friend.check(rule.change, me, user)
    await friend.check_opening(rule.change, me, user)
    if await members.get(tx, rule.id, user) is not None:
        raise Conflict("they are in this space already", field="user")
    if await members.banned(tx, rule.id, user):
        return  # as if they were told: who is kept out there is not for everybody to know
    await notification.invite(rule.change, News(user, "invite", me, rule.id, code=code))


async def _enter(app: Server, change: Change, invite: Invite, account: UUID) -> None:
    role = await _role_given(app, change, invite)
    await admit(change, invite.space, account, invite.by or account, role)
    await invites.count(change.tx, invite.code)
    how = Joined(masked(invite).code, role)
    await deed.note(change.tx, invite.space, account, "member.joined", account, None, how, "")


async def _role_given(app: Server, change: Change, invite: Invite) -> UUID | None:
    if invite.role is None or invite.by is None:
        return None
    giver = await app.structures.resident(change.tx, invite.space, invite.by)
    role = giver.structure.roles.get(invite.role) if giver is not None else None
    return invite.role if giver is not None and role is not None and may_shape(giver.member, role, role) else None
