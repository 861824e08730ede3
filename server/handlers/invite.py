"""invite: ways into a space."""

from protocol.error import Missing
from protocol.frame import Nothing
from protocol.invite import (
    Invitation,
    Invite,
    InviteAccept,
    InviteCreate,
    InviteGet,
    InviteList,
    InviteRevoke,
    Invites,
    InviteSend,
)
from protocol.permission import bits
from protocol.space import Space
from protocol.user import User
from server import access, attempt
from server import invite as inviting
from server.context import Context
from server.invite import good_invite, invited, own_invite
from server.router import op
from server.rule import LOGGED_IN, bound
from server.space import ruling
from server.space_access import in_space, role_in
from server.structure import Resident
from storage import invite as invites
from storage import user as users


@op(access=LOGGED_IN & in_space("invite") & role_in(), limit="30/m")
async def create(ctx: Context, frame: InviteCreate, space: Resident, role: access.Role | None) -> Invite:
    """A choice that is taken counts as a guess."""
    tries = attempt.invites(ctx.user, ctx.address) if frame.vanity is not None else []
    await ctx.app.attempts.take(tries)
    async with ruling(ctx, space.id, "invite") as rule:
        made = await inviting.create(rule, frame)
    await ctx.app.attempts.give_back(tries)
    return made


@op(access=LOGGED_IN & in_space())
async def list_(ctx: Context, frame: InviteList, space: Resident) -> Invites:
    """One's own, or all."""
    by = None if space.allowed & bits(["manage_space"]) else ctx.user
    return await invites.listing(ctx.db, space.id, by, frame.after, frame.limit)


@op(access=LOGGED_IN & invited(), limit="60/m")
async def get(ctx: Context, frame: InviteGet, invitation: Invitation) -> Invitation:
    """For everybody who has the code."""
    return invitation


@op(access=LOGGED_IN & invited(), limit="30/m")
async def accept(ctx: Context, frame: InviteAccept, invitation: Invitation) -> Space:
    """Told to all of one's devices by `space.joined`."""
    return await inviting.accept(ctx.app, invitation.space, invitation.code, ctx.user)


@op(access=LOGGED_IN & good_invite() & bound("user", users.visible), limit="20/m")
async def send(ctx: Context, frame: InviteSend, invite: Invite, user: User) -> Nothing:
    """Told to all of their devices by `notification.created`."""
    await ctx.app.attempts.take(attempt.invitations(ctx.user))
    async with ruling(ctx, invite.space, "invite", also=(ctx.user, user.id)) as rule:
        await inviting.send(rule, invite.code, user.id)
    return Nothing()


@op(access=LOGGED_IN & own_invite(), limit="60/m")
async def revoke(ctx: Context, frame: InviteRevoke, invite: Invite) -> Nothing:
    """At once, on all processes."""
    async with ruling(ctx, invite.space) as rule:
        found = await invites.beside(rule.tx, ctx.user, invite.code)
        if found is None or not inviting.may_revoke(rule.me, found):
            raise Missing
        await invites.revoke(rule.tx, found.code)
        await rule.note("invite.revoke", None, inviting.masked(found), None, "")
    return Nothing()
