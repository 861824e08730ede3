"""Rules: what an op declares next to its handler: gates, and the ids of its frame that must be bound.

Rule 1: safe by default: an op without a rule, or with an id that no rule binds, does not start.
Rule 2: a handler receives what the rule resolved, never a raw id it has not been allowed.
Rule 3: hidden and missing are the same refusal, to the byte.
Rule 4: gates need no database and run before everything else; binds are one query each, joined to the viewer.

Which rules there are about what exists here is in server/access.py and server/space_access.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from protocol import permission
from protocol.error import Forbidden, Missing, Unauthenticated

if TYPE_CHECKING:
    from server.context import Context
    from server.router import Op

Gate = Callable[["Context", "Op"], None]
Load = Callable[..., Awaitable[Any]]
AtOnce = Callable[["Context", Any], Any]


class Bind(Struct, frozen=True):
    """Turns the id in `field` into what the viewer may see under it, handed to the handler as `name`.

    `load(db, viewer, id)` finds it, or `load(ctx, id)` if it is `in_context`; a child of what an earlier bind found,
    `within`, by `load(…, parent, id)`. `at_once` knows it without asking the database, or says None. `needs` are
    permissions, as bits, that the viewer must have there. What is `optional` is None where it is not found: the handler
    refuses it, or knows an answer without it. No id at all is None, too; what is `anywhere` is looked for also where
    `within` is no id: `load` is told None instead of the parent.
    """

    field: str
    kind: str
    load: Load
    within: str = ""
    name: str = ""
    at_once: AtOnce | None = None
    optional: bool = False
    in_context: bool = False
    needs: int = 0
    anywhere: bool = False

    @property
    def argument(self) -> str:
        """What the handler calls it."""
        return self.name or self.field

    @property
    def words(self) -> str:
        """For people: `channel: channel_seen with manage_channels`."""
        needs = " and ".join(permission.names(self.needs))
        return f"{self.field}: {self.load.__name__}" + (f" with {needs}" if needs else "")

    def known(self, ctx: Context, frame: Any) -> Any:
        """The object behind the id, if that needs no question; None otherwise."""
        found = self.at_once(ctx, getattr(frame, self.field)) if self.at_once is not None else None
        return None if self.needs and found is not None and self.needs & ~found.allowed else found

    async def resolve(self, ctx: Context, frame: Any, resolved: Mapping[str, Any]) -> Any:
        """The object behind the id, or `Missing`."""
        id = getattr(frame, self.field)
        if id is None:
            return None
        found = self.known(ctx, frame)
        parent = (resolved[self.within],) if self.within else ()
        if found is None and (self.anywhere or None not in parent):
            found = await self._find(ctx, *parent, id)
        if found is None and not self.optional:
            raise Missing
        if found is not None and self.needs:
            check(found.allowed, self.needs)
        return found

    async def _find(self, ctx: Context, *path: Any) -> Any:
        if self.in_context:
            return await self.load(ctx, *path)
        return await self.load(ctx.db, ctx.user, *path)


def check(allowed: int, needs: int) -> None:
    """Refuse who lacks a permission, and say which."""
    if lacking := needs & ~allowed:
        raise Forbidden(f"you need the permission {permission.names(lacking)[0]} here")


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
        return ", ".join(names + [bind.words for bind in self.binds]) or "public"


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


def optional(rule: Rule) -> Rule:
    """The same, but what is not found is None: for ops that were perhaps done before, and are answered alike again."""
    return Rule(rule.gates, tuple(structs.replace(bind, optional=True) for bind in rule.binds))
