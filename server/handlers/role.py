"""role: what members of a space may do, by name."""

from uuid import UUID

import msgspec

from protocol.error import Conflict, Forbidden, Invalid, Missing
from protocol.frame import Nothing
from protocol.permission import bits, names
from protocol.role import Role, RoleCreate, RoleDelete, RoleGrant, RoleReorder, RoleRevoke, RoleUpdate
from server import access
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN
from server.space import MOST_ROLES, Order, Ruling, ruling
from server.space_access import in_space, resident_in, role_in, roles_in
from server.structure import Resident
from storage import role as roles
from storage.ids import new_id

_NOT_BELOW = "only roles that stand lower than you, and only permissions that you have"
_MOST_OF_MEMBER = 100


@op(access=LOGGED_IN & in_space("manage_roles"), limit="60/m")
async def create(ctx: Context, frame: RoleCreate, space: Resident) -> Role:
    """The same nonce again is the same role."""
    async with ruling(ctx, space.id, "manage_roles") as rule:
        made = await roles.made_with(rule.tx, space.id, frame.nonce)
        if made is not None:
            return rule.structure.shown[made]
        if len(rule.structure.roles) >= MOST_ROLES:
            raise Conflict(f"a space has room for {MOST_ROLES} roles")
        role = Role(
            id=new_id(),
            name=frame.name,
            colour=frame.colour,
            position=1,
            permissions=names(bits(frame.permissions)),
            apart=frame.apart,
            mentionable=frame.mentionable,
        )
        _check_shape(rule, None, role)
        await roles.create(rule.tx, space.id, role, frame.nonce)
        await rule.restructure()
        await rule.note("role.create", role.id, None, role, "")
    return role


def _check_shape(rule: Ruling, before: access.Role | None, after: Role | None) -> None:
    """That who asks may make this of a role."""
    shaped = access.Role(after.id, after.position, bits(after.permissions)) if after is not None else None
    below = shaped is not None and before is None  # a new one comes to stand below everybody who has another one
    if not access.may_shape(rule.me.member, before, _lowest(shaped) if below and shaped else shaped):
        raise Forbidden(_NOT_BELOW)


def _lowest(role: access.Role) -> access.Role:
    return access.Role(role.id, 0, role.permissions)


@op(access=LOGGED_IN & in_space("manage_roles") & role_in(), limit="60/m")
async def update(ctx: Context, frame: RoleUpdate, space: Resident, role: access.Role) -> Role:
    """Everyone's, too, but for its name."""
    async with ruling(ctx, space.id, "manage_roles") as rule:
        before = _held(rule, role.id)
        given = {name: getattr(frame, name) for name in ("name", "colour", "permissions", "apart", "mentionable")}
        fields = {name: value for name, value in given.items() if value is not None}
        if role.id == space.id and fields.keys() - {"permissions"}:
            raise Invalid("of everyone's role only the permissions can be changed")
        if fields.get("colour") == -1:
            fields["colour"] = None
        if "permissions" in fields:
            fields["permissions"] = names(bits(fields["permissions"]))
        after = msgspec.structs.replace(before, **fields)
        _check_shape(rule, rule.structure.roles[role.id], after)
        if after != before:
            await roles.update(rule.tx, space.id, after)
            await rule.restructure()
            await rule.note("role.update", role.id, before, after, "")
    return after


def _held(rule: Ruling, role: UUID) -> Role:
    found = rule.structure.shown.get(role)
    if found is None:
        raise Missing
    return found


@op(access=LOGGED_IN & in_space("manage_roles") & role_in(), limit="60/m")
async def delete(ctx: Context, frame: RoleDelete, space: Resident, role: access.Role) -> Nothing:
    """Not everyone's."""
    async with ruling(ctx, space.id, "manage_roles") as rule:
        before = _held(rule, role.id)
        if role.id == space.id:
            raise Forbidden("everyone's role stays")
        _check_shape(rule, rule.structure.roles[role.id], None)
        await roles.delete(rule.tx, space.id, role.id)
        await rule.restructure()
        await rule.note("role.delete", role.id, before, None, "")
    return Nothing()


@op(access=LOGGED_IN & in_space("manage_roles") & roles_in(), limit="60/m")
async def reorder(ctx: Context, frame: RoleReorder, space: Resident, roles_: list[access.Role]) -> Nothing:
    """All but everyone's, the highest first."""
    async with ruling(ctx, space.id, "manage_roles") as rule:
        known = rule.structure.roles
        order = list(reversed(frame.roles))
        if len(order) != len(known) - 1 or {*order} != known.keys() - {space.id}:
            raise Invalid("name every role once, but not everyone's", field="roles")
        height = rule.me.member.height
        stood = sorted(order, key=lambda id: known[id].position)  # there may be gaps, where roles were deleted
        if any(known[was].position >= height for was, now in zip(stood, order, strict=True) if was != now):
            raise Forbidden(_NOT_BELOW)
        await roles.reorder(rule.tx, space.id, order)
        await rule.restructure()
        was = sorted(known.keys() - {space.id}, key=lambda id: -known[id].position)
        await rule.note("role.reorder", None, Order(roles=was), Order(roles=frame.roles), "")
    return Nothing()


@op(access=LOGGED_IN & in_space("manage_roles") & role_in() & resident_in(), limit="120/m")
async def grant(ctx: Context, frame: RoleGrant, space: Resident, role: access.Role, user: Resident) -> Nothing:
    """To oneself, too: a role that stands lower."""
    async with ruling(ctx, space.id, "manage_roles", also=(user.account,)) as rule:
        member = await _assignable(rule, role.id, user.account)
        if _has(member, role.id):
            return Nothing()
        if len(member.roles) > _MOST_OF_MEMBER:
            raise Conflict(f"a member has at most {_MOST_OF_MEMBER} roles")
        await roles.grant(rule.tx, space.id, user.account, role.id)
        _withdraw(rule, role.id, member)
        await rule.tell_member(user.account)
        await rule.note("role.grant", user.account, None, _held(rule, role.id), "")
    return Nothing()


@op(access=LOGGED_IN & in_space("manage_roles") & role_in() & resident_in(), limit="120/m")
async def revoke(ctx: Context, frame: RoleRevoke, space: Resident, role: access.Role, user: Resident) -> Nothing:
    """From oneself, too: a role that stands lower."""
    async with ruling(ctx, space.id, "manage_roles", also=(user.account,)) as rule:
        member = await _assignable(rule, role.id, user.account)
        if not _has(member, role.id):
            return Nothing()
        await roles.revoke(rule.tx, space.id, user.account, role.id)
        _withdraw(rule, role.id, member)
        await rule.tell_member(user.account)
        await rule.note("role.revoke", user.account, _held(rule, role.id), None, "")
    return Nothing()


def _has(member: access.Member, role: UUID) -> bool:
    return any(one.id == role for one in member.roles)


def _withdraw(rule: Ruling, role: UUID, member: access.Member) -> None:
    """What was decided is decided anew, unless the role decides nothing: a colour, a name, who can be mentioned."""
    if rule.structure.matters(role, member):
        rule.withdraw()


async def _assignable(rule: Ruling, role: UUID, account: UUID) -> access.Member:
    """The member to whom this role may be given, or from whom it may be taken."""
    _held(rule, role)
    if role == rule.id:
        raise Forbidden("everybody has everyone's role")
    user = await rule.resident(account) if account == rule.me.account else await rule.below(account)
    if not access.may_shape(rule.me.member, rule.structure.roles[role], rule.structure.roles[role]):
        raise Forbidden(_NOT_BELOW)
    return user.member
