"""Who may do what. Every op names its rule; every id in its frame is bound by that rule.

Rule 1: safe by default: an op without a rule, or with an id that no rule binds, does not start.
Rule 2: a handler receives what the rule resolved, never a raw id it has not been allowed.
Rule 3: hidden and missing are the same refusal, to the byte.
Rule 4: gates need no database and run before everything else; binds are one query each, joined to the viewer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct

from protocol.error import Forbidden, Missing, Unauthenticated

if TYPE_CHECKING:
    from server.context import Context
    from server.router import Op
    from storage.pool import Pool

Gate = Callable[["Context", "Op"], None]
Load = Callable[["Pool", UUID, UUID], Awaitable[Any]]


class Bind(Struct, frozen=True):
    """Turns the id in `field` into what the viewer may see under it, handed to the handler as `name`."""

    field: str
    kind: str
    load: Load

    async def resolve(self, ctx: Context, frame: Any) -> Any:
        """The object behind the id, or `Missing`."""
        found = await self.load(ctx.db, ctx.user, getattr(frame, self.field))
        if found is None:
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


def bound(field: str, load: Load, kind: str | None = None) -> Rule:
    """A rule that binds one id field by a query that knows the viewer."""
    return Rule(binds=(Bind(field, kind or field, load),))
