"""Servers that lack one check each. The matrix must notice every one of them: that is what proves it.

- rules: each gate of each op, each of its binds, and for ops in person the weaker rule of everybody who is logged in
- queries: conditions on whose a row is, whether it still counts, and who may see it
- code: passwords, codes, tickets, tokens and scopes that are not looked at
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.error import Missing
from server import login, outside, totp
from server.access import LOGGED_IN, Bind, Rule
from server.context import Context, Session
from server.login import Login
from server.secret import Claims, Keyring
from storage import account, device
from storage.pool import Pool, Transaction
from tests.authorization.world import World

Load = Callable[[Pool, UUID, UUID], Awaitable[Any]]


class StaleError(Exception):
    """A mutant changes nothing: what it takes away is no longer there."""


# Rules


def rules(world: World, op: str) -> Iterator[tuple[str, Rule]]:
    """Every way to forget one check of an op's rule."""
    rule = world.rules[op]
    for gate in rule.gates:
        yield f"without {gate.__name__}", Rule(tuple(one for one in rule.gates if one is not gate), rule.binds)
        if gate.__name__ == "in_person":
            yield "for everybody who is logged in", Rule(LOGGED_IN.gates, rule.binds)
    for bind in rule.binds:
        anybody = msgspec.structs.replace(bind, load=_for_anybody(world, bind.load))
        binds = tuple(anybody if one is bind else one for one in rule.binds)
        yield f"with {bind.field} for anybody", Rule(rule.gates, binds)


def _for_anybody(world: World, load: Load) -> Load:
    """What the id means to whoever it means something to."""

    async def loaded(db: Pool, viewer: UUID, thing: UUID) -> Any:
        for one in (viewer, *(person.id for person in world.people.values())):
            found = await load(db, one, thing)
            if found is not None:
                return found
        return None

    return loaded


@contextmanager
def ruled(world: World, op: str, rule: Rule) -> Iterator[None]:
    """The server with another rule for one op."""
    one = world.server.router.ops[op]
    one.access = rule
    try:
        yield
    finally:
        one.access = world.rules[op]


@contextmanager
def without_second_line(world: World) -> Iterator[None]:
    """A context that takes a socket of nobody for ann's, where it should refuse: the gates alone must hold."""
    session = Session(account=world.ann.id, device=world.ann.phone.id)
    user = property(lambda ctx: (ctx.session or session).account)
    with patch.object(Context, "user", user), patch.object(
        Context, "device", property(lambda ctx: (ctx.session or session).device)
    ):
        yield


# Queries


class Query(Struct, frozen=True):
    """A fragment of SQL that is written otherwise, and the ops one of which must notice."""

    was: str
    becomes: str
    ops: tuple[str, ...]


_SEEN = ("user.get", "user.list", "user.search")
_ANY = "$1::uuid IS NOT NULL"
_TICKETS = ("account.verify_email", "account.reset_password", "account.claim", "account.link_external", "account.login_second_step")
QUERIES = (
    # who may see whom
    Query("a.deleted_at IS NULL AND NOT EXISTS", "NOT EXISTS", _SEEN),
    Query("(b.account = a.id AND b.blocked = $1) OR ", "", _SEEN),
    Query(" OR (b.account = $1 AND b.blocked = a.id)", "", _SEEN),
    Query("WHERE a.id = $2 AND a.id <> $1 AND a.deleted_at IS NULL", "WHERE a.id = $2 AND a.id <> $1", ("user.block",)),
    Query("AND NOT EXISTS (SELECT FROM block b WHERE b.account = a.id AND b.blocked = $1)", "", ("user.block",)),
    Query("WHERE k.account = $1 AND k.blocked = $2", f"WHERE {_ANY} AND k.blocked = $2", ("user.unblock",)),
    Query("WHERE k.account = $1 AND lower", f"WHERE {_ANY} AND lower", ("user.blocked",)),
    Query("FROM block WHERE account = $1 AND blocked = $2", f"FROM block WHERE {_ANY} AND blocked = $2", ("user.unblock",)),
    # whose a thing is
    Query("WHERE id = $2 AND account = $1 AND revoked_at", f"WHERE id = $2 AND {_ANY} AND revoked_at", ("device.revoke",)),
    Query("WHERE id = $2 AND account = $1 AND revoked_at", f"WHERE id = $2 AND {_ANY} AND revoked_at", ("api_key.revoke",)),
    Query("account = $1 AND revoked_at IS NULL AND expires_at", f"{_ANY} AND revoked_at IS NULL AND expires_at", ("device.list",)),
    Query("WHERE account = $1 AND revoked_at IS NULL ORDER BY created_at", f"WHERE {_ANY} AND revoked_at IS NULL ORDER BY created_at", ("api_key.list",)),
    Query("WHERE account = $1 AND id < $2", f"WHERE {_ANY} AND id < $2", ("audit.list",)),
    Query("WHERE account = $1 AND provider = $2", f"WHERE {_ANY} AND provider = $2", ("account.unlink_external",)),
    Query("FROM account a WHERE a.id = $1 AND", f"FROM account a WHERE {_ANY} AND", ("account.get", "account.export")),
    Query("UPDATE account SET display_name = $2, bio = $3 WHERE id = $1", f"UPDATE account SET display_name = $2, bio = $3 WHERE {_ANY}", ("account.update",)),
    Query("SET password_hash = $2 WHERE id = $1", f"SET password_hash = $2 WHERE {_ANY}", ("account.reset_password",)),
    Query("SET push = $2 WHERE id = $1", f"SET push = $2 WHERE {_ANY}", ("device.set_push",)),
    Query("WHERE account = $1 AND revoked_at IS NULL AND id IS DISTINCT", f"WHERE {_ANY} AND revoked_at IS NULL AND id IS DISTINCT", ("device.revoke_others",)),
    Query("DELETE FROM audit WHERE account = $1", f"DELETE FROM audit WHERE {_ANY}", ("account.delete",)),
    Query("DELETE FROM two_factor WHERE account = $1", f"DELETE FROM two_factor WHERE {_ANY}", ("two_factor.disable",)),
    # whether it still counts
    Query("account = $1 AND revoked_at IS NULL", "account = $1", ("device.revoke",)),
    Query("account = $1 AND revoked_at IS NULL", "account = $1", ("api_key.revoke",)),
    Query("account = $2 AND revoked_at IS NULL AND expires_at", "$2::uuid IS NOT NULL AND revoked_at IS NULL AND expires_at", ("session.open",)),
    Query("account = $2 AND revoked_at IS NULL AND expires_at", "account = $2 AND expires_at", ("session.open",)),
    Query("revoked_at IS NULL AND expires_at > now() RETURNING true", "revoked_at IS NULL RETURNING true", ("session.open",)),
    Query("a.id = $1 AND a.deleted_at IS NULL", "a.id = $1", ("session.open",)),
    Query("AND k.revoked_at IS NULL", "", ("session.open",)),
    Query("AND (k.expires_at IS NULL OR k.expires_at > now())", "", ("session.open",)),
    Query("d.revoked_at IS NULL AND d.expires_at", "d.expires_at", ("account.refresh",)),
    Query("AND d.expires_at > now() AND a.deleted_at", "AND a.deleted_at", ("account.refresh",)),
    Query("AND a.deleted_at IS NULL AS alive", "AS alive", ("account.refresh",)),
    Query("hash = $1 AND kind = $2", "hash = $1 AND $2::text IS NOT NULL", _TICKETS),
    Query("kind = $2 AND expires_at > now()", "kind = $2", _TICKETS),
    Query("AND tries < $3", "AND $3::int IS NOT NULL", ("account.login_second_step",)),
    Query("a.deleted_at IS NULL AND\n", "true AND\n", ("account.login",)),
    Query("lower(a.email) = lower($2) AND a.email_verified_at IS NOT NULL", "lower(a.email) = lower($2)", ("account.login",)),
    Query("lower(a.email) = lower($1) AND a.email_verified_at IS NOT NULL", "lower(a.email) = lower($1)", ("account.forgot_password",)),
    Query("last_step = 0 WHERE two_factor.confirmed_at IS NULL", "last_step = 0", ("two_factor.enable",)),
)  # fmt: skip


@contextmanager
def queried(query: Query) -> Iterator[None]:
    """The server with one fragment of SQL written otherwise."""
    used = 0

    def mutated(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, text: str, *values: Any) -> Any:
            nonlocal used
            used += query.was in text
            return method(self, text.replace(query.was, query.becomes), *values)

        return call

    names = ("fetch", "fetchrow", "fetchval", "execute")
    with contextmanager(_all)(
        [patch.object(kind, name, mutated(getattr(kind, name))) for kind in (Pool, Transaction) for name in names]
    ):
        yield
    if not used:
        raise StaleError(f"no query of {query.ops} has {query.was!r}")


def _all(contexts: list[AbstractContextManager[Any]]) -> Iterator[None]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        for one in contexts:
            stack.enter_context(one)
        yield


# Code


async def _unasked(ctx: Context, password: str) -> Login:
    found = await account.login(ctx.db, ctx.user)
    assert found is not None
    return found


async def _fresh(*_: object) -> bool:
    return True


async def _no_check(*_: object) -> None:
    return None


async def _unguarded(ctx: Context, db: Any, who: Login, device_name: str, how: str) -> Any:
    return await login.new_device(ctx, db, who.id, device_name, how)


def _unsigned(self: Keyring, token: str) -> Claims:
    import jwt

    found = jwt.decode(token, options={"verify_signature": False})
    return Claims(UUID(found["sub"]), UUID(found["sid"]))


async def _resolve_nothing(self: Bind, ctx: Context, frame: Any) -> Any:
    return await self.load(ctx.db, ctx.user, getattr(frame, self.field))


async def _told_apart(self: Bind, ctx: Context, frame: Any) -> Any:
    """Hidden and missing with different words."""
    found = await self.load(ctx.db, ctx.user, getattr(frame, self.field))
    if found is None:
        there = await ctx.db.fetchval(
            "SELECT EXISTS (SELECT FROM account WHERE id = $1 UNION SELECT FROM device WHERE id = $1 "
            "UNION SELECT FROM api_key WHERE id = $1)",
            getattr(frame, self.field),
        )
        raise Missing("you may not see this") if there else Missing()
    return found


def _siblings(self: Session, op: str) -> bool:
    return "*" in self.scopes or op.partition(".")[0] in {scope.partition(".")[0] for scope in self.scopes}


def _beginnings(self: Session, op: str) -> bool:
    return "*" in self.scopes or any(op.startswith(scope) for scope in self.scopes)


def _everything_only(self: Session, op: str) -> bool:
    return "*" in self.scopes


def _ops_only(self: Session, op: str) -> bool:
    return "*" in self.scopes or op in self.scopes


class Code(Struct, frozen=True):
    """A function that does less than it should, and the ops each of which must notice."""

    name: str
    owner: Any
    attribute: str
    value: Any
    ops: tuple[str, ...]

    def applied(self) -> AbstractContextManager[Any]:
        """The server with it."""
        return patch.object(self.owner, self.attribute, self.value)


_WITH_PASSWORD = (
    "account.unlink_external",
    "account.change_password",
    "account.change_email",
    "account.delete",
    "api_key.create",
    "two_factor.enable",
    "two_factor.renew",
    "two_factor.disable",
)
_WITH_CODE = ("account.login_second_step", "account.delete", "two_factor.renew", "two_factor.disable")
_FROM_OUTSIDE = ("account.login_external", "account.link_external")
_SCOPED = ("user.get", "user.blocked", "account.get", "session.close")
CODE = (
    Code("the password is not looked at", login, "confirm", _unasked, _WITH_PASSWORD),
    Code("every login is fresh", device, "fresh", _fresh, _WITH_PASSWORD),
    Code("the code is not looked at", login, "check_code", _no_check, _WITH_CODE),
    Code("every code is right", totp, "match", lambda secret, code, last, now=None: 1 << 41, ("two_factor.confirm",)),
    Code("the second factor is not asked for", login, "finish", _unguarded, ("account.login", "account.login_external")),
    Code("every state is right", outside.hmac, "compare_digest", lambda one, two: True, _FROM_OUTSIDE),
    Code("every redirect is allowed", outside, "_allowed", lambda *_: True, ("account.start_external",)),
    Code("tokens are not verified", Keyring, "read_access", _unsigned, ("session.open",)),
    Code("what is missing is handed on", Bind, "resolve", _resolve_nothing, ("user.get", "device.revoke")),
    Code("hidden and missing differ", Bind, "resolve", _told_apart, ("user.get", "device.revoke", "api_key.revoke")),
    Code("every scope allows everything", Session, "allows", lambda self, op: True, _SCOPED),
    Code("a scope allows its whole domain", Session, "allows", _siblings, _SCOPED),
    Code("a scope allows what begins like it", Session, "allows", _beginnings, ("user.blocked",)),
    Code("a scope for one op allows nothing", Session, "allows", _everything_only, _SCOPED),
    Code("a scope for a domain allows nothing", Session, "allows", _ops_only, _SCOPED),
)
