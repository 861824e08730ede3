"""Who may do what. Every op names its rule; every id in its frame is bound by that rule.

Rule 1: safe by default: an op without a rule, or with an id that no rule binds, does not start.
Rule 2: a handler receives what the rule resolved, never a raw id it has not been allowed.
Rule 3: hidden and missing are the same refusal, to the byte.
Rule 4: what a standing that was remembered leads to is read under its access version, or the standing is read anew.
Rule 5: gates need no database and run before everything else; binds are one query each, joined to the viewer.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct, structs

from protocol import permission
from protocol.error import Forbidden, Missing, Unauthenticated
from storage import channel as channels
from storage import message as messages
from storage import user as users
from storage.pool import Pool
from storage.standing import Standing

if TYPE_CHECKING:
    from server.context import Context
    from server.router import Op

Gate = Callable[["Context", "Op"], None]
Load = Callable[..., Awaitable[Any]]
AtOnce = Callable[["Context", UUID], Any]


class Bind(Struct, frozen=True):
    """Turns the id in `field` into what the viewer may see under it, handed to the handler as `name`.

    `load(db, viewer, id)` finds it; a child of what an earlier bind found, `within`, by `load(db, viewer, parent, id)`.
    `at_once` knows it without asking the database, or says None. What is `optional` is None where it is not found: the
    handler refuses it, or knows an answer without it.
    """

    field: str
    kind: str
    load: Load
    within: str = ""
    name: str = ""
    at_once: AtOnce | None = None
    optional: bool = False

    @property
    def argument(self) -> str:
        """What the handler calls it."""
        return self.name or self.field

    def known(self, ctx: Context, frame: Any) -> Any:
        """The object behind the id, if that needs no question; None otherwise."""
        return self.at_once(ctx, getattr(frame, self.field)) if self.at_once is not None else None

    async def resolve(self, ctx: Context, frame: Any, resolved: Mapping[str, Any]) -> Any:
        """The object behind the id, or `Missing`."""
        found = self.known(ctx, frame)
        parent = (resolved[self.within],) if self.within else ()
        if found is None and None not in parent:
            found = await self.load(ctx.db, ctx.user, *parent, getattr(frame, self.field))
            if isinstance(found, Standing):
                ctx.app.grants.keep(ctx.user, found)
        if found is None and not self.optional:
            raise Missing
        return found


class Rule(Struct, frozen=True):
    """Gates that must all open, and the ids that it binds."""

    gates: tuple[Gate, ...] = ()
    binds: tuple[Bind, ...] = ()

    def __and__(self, other: Rule) -> Rule:
        gates = self.gates + tuple(gate for gate in other.gates if gate not in self.gates)
        return Rule(gates, self.binds + other.binds)

    @property
    def public(self) -> bool:
        """Whether anybody passes."""
        return not self.gates and not self.binds

    @property
    def words(self) -> str:
        """The rule for people: `logged_in, in_scope, user`."""
        names = [gate.__name__ for gate in self.gates]
        return ", ".join(names + [f"{bind.field}: {bind.load.__name__}" for bind in self.binds]) or "public"


def logged_in(ctx: Context, op: Op) -> None:
    """Somebody has opened a session on this socket."""
    if ctx.session is None:
        raise Unauthenticated


def in_scope(ctx: Context, op: Op) -> None:
    """The session's scopes contain the op (an API key may have fewer than everything)."""
    if ctx.session is not None and not ctx.session.allows(op.name):
        raise Forbidden(f"this API key has no scope for {op.name}")


def in_person(ctx: Context, op: Op) -> None:
    """Not by an API key: keys never touch logins, devices, keys or the account itself."""
    if ctx.session is not None and ctx.session.key is not None:
        raise Forbidden("an API key may not do this: log in in person")


PUBLIC = Rule()
LOGGED_IN = Rule(gates=(logged_in, in_scope))
IN_PERSON = Rule(gates=(logged_in, in_person))

# Adding to this list is a decision, not a convenience: a test pins it.
PUBLIC_OPS = frozenset(
    {
        "session.open",
        "session.resume",
        "session.ping",
        "session.describe",
        "account.register",
        "account.login",
        "account.login_second_step",
        "account.providers",
        "account.start_external",
        "account.login_external",
        "account.refresh",
        "account.verify_email",
        "account.forgot_password",
        "account.reset_password",
    }
)


def bound(field: str, load: Load, kind: str | None = None, name: str = "") -> Rule:
    """A rule that binds one id field by a query that knows the viewer."""
    return Rule(binds=(Bind(field, kind or field, load, name=name),))


def in_channel(field: str = "channel") -> Rule:
    """The viewer is a member of the channel; what this process knows of that is as new as what it delivers."""
    return Rule(binds=(Bind(field, "channel", channels.member, at_once=_known_standing),))


def _known_standing(ctx: Context, channel: UUID) -> Standing | None:
    return ctx.app.grants.known(channel, ctx.user)


def sending(field: str = "channel") -> Rule:
    """The viewer may write into the channel. The journal decides, under the access version it stores with."""
    return Rule(binds=(Bind(field, "channel", channels.member, at_once=_any_standing),))


def _any_standing(ctx: Context, channel: UUID) -> Standing | Undecided:
    return ctx.app.grants.last(channel, ctx.user) or Undecided(channel)


class Undecided(Struct, frozen=True):
    """A channel of which nobody has looked yet how the viewer stands there."""

    id: UUID
    access: int = 0
    writes: bool = False
    lifetime: int | None = None


def optional(rule: Rule) -> Rule:
    """The same, but what is not found is None: for ops that were perhaps done before, and are answered alike again."""
    return Rule(rule.gates, tuple(structs.replace(bind, optional=True) for bind in rule.binds))


def member_in(field: str = "user") -> Rule:
    """Somebody who is in that channel, too."""
    return Rule(binds=(Bind(field, "user", _of_channel(users.in_it), within="channel"),))


def message_in(
    within: str = "channel", field: str = "seq", load: Load = messages.visible, name: str = "message"
) -> Rule:
    """A message of that channel which the viewer sees."""
    return Rule(binds=(Bind(field, "message", load, within=within, name="message"),))


def _of_channel(load: Load) -> Load:
    """Children are loaded by (parent, child)."""

    @functools.wraps(load)
    async def loaded(db: Pool, viewer: UUID, channel: Standing, seq: Any) -> Any:
        return await load(db, viewer, channel.id, seq)

    return loaded


# What a member of a space may do: docs/permissions.md has the same in a table.


class Role(Struct, frozen=True):
    """A role as far as it decides: everyone's has the id of the space, and position 0."""

    id: UUID
    position: int
    permissions: int


class Overwrite(Struct, frozen=True):
    """What a channel or category allows and denies to a role or a member."""

    target: UUID
    allow: int
    deny: int


class Member(Struct, frozen=True):
    """Somebody in a space, with the roles that they have, everyone's among them."""

    account: UUID
    roles: Sequence[Role]
    owner: bool = False
    timed_out: bool = False

    @property
    def height(self) -> float:
        """Nobody touches a role or a member as high as themselves; the owner is above all."""
        return inf if self.owner else max((role.position for role in self.roles), default=0)


class Step(Struct, frozen=True):
    """What is allowed after one step of the decision; `cause`: the role or member whose rule it was."""

    rule: str
    allowed: int
    cause: UUID | None = None


def steps(member: Member, layers: Sequence[Sequence[Overwrite]] = ()) -> Iterator[Step]:
    """How it is decided what a member may do, step by step: `layers` are the category's overwrites, then the channel's.

    Without layers: in the space as such.
    """
    allowed = 0
    for role in member.roles:
        if role.permissions & ~allowed:
            yield Step("role", allowed := allowed | role.permissions, role.id)
    if member.owner:
        yield Step("owner", permission.ALL, member.account)
        return
    if allowed & permission.ADMINISTRATOR:
        yield Step("administrator", permission.ALL)
        return
    for layer in layers:
        for step in _overwritten(member, layer, allowed):
            allowed = step.allowed
            yield step
    if layers:
        yield Step("implied", allowed := permission.implied(allowed))
    if member.timed_out:
        yield Step("timed_out", allowed & permission.IN_TIMEOUT)


def _overwritten(member: Member, layer: Sequence[Overwrite], allowed: int) -> Iterator[Step]:
    """Everyone's first, then all roles' denials before all roles' allowances, then the member's own."""
    everyone = next((role.id for role in member.roles if role.position == 0), None)
    roles = {role.id for role in member.roles} - {everyone}
    for rule, targets in (("everyone", {everyone}), ("roles", roles), ("member", {member.account})):
        found = [one for one in layer if one.target in targets]
        for one in found:
            if allowed & one.deny:
                yield Step(f"denied_by_{rule}", allowed := allowed & ~one.deny, one.target)
        for one in found:
            if one.allow & ~allowed:
                yield Step(f"allowed_by_{rule}", allowed := allowed | one.allow, one.target)


def permissions(member: Member, layers: Sequence[Sequence[Overwrite]] = ()) -> int:
    """What a member may do, as bits."""
    allowed = 0
    for step in steps(member, layers):
        allowed = step.allowed
    return allowed


def deciding(member: Member, layers: Sequence[Sequence[Overwrite]], bit: int) -> Step:
    """The step that decided about one permission: the last one that gave or took it."""
    last, decided = 0, Step("nobody", 0)
    for step in steps(member, layers):
        if (step.allowed ^ last) & bit or step.rule in ("owner", "administrator"):
            decided = step
        last = step.allowed
    return decided


# Above and below


def may_touch(member: Member, other: Member) -> bool:
    """Whether somebody may kick, ban, time out, rename or change the roles of another."""
    return not other.owner and member.height > other.height


def may_shape(member: Member, before: Role | None, after: Role | None) -> bool:
    """Whether somebody may make, change, move, give or take a role: only below themselves, only what they have."""
    had = permissions(member)
    if not had & permission.MANAGE_ROLES:
        return False
    given = (after.permissions if after else 0) & ~(before.permissions if before else 0)
    return given & ~had == 0 and all(role is None or role.position < member.height for role in (before, after))


def may_overwrite(member: Member, layers: Sequence[Sequence[Overwrite]], changed: int, height: float) -> bool:
    """Whether somebody may change these bits of a channel's overwrite for a role or member of a height."""
    had = permissions(member, layers)
    in_all = permissions(member)
    return bool(in_all & permission.MANAGE_ROLES) and changed & ~had == 0 and height < member.height
