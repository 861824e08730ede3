"""Servers that lack one check each. The matrix must notice every one of them: that is what proves it.

- rules: each gate of each op, each of its binds, and for ops in person the weaker rule of everybody who is logged in
- queries: conditions on whose a row is, whether it still counts, and who may see it
- code: passwords, codes, tickets, tokens and scopes that are not looked at
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.error import Missing
from server import login, outside, totp
from server.access import LOGGED_IN, Bind, Rule
from server.context import Context, Session
from server.router import Router
from server.secret import Claims, Keyring
from storage import account, device
from storage import user as users
from storage.account import Login
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
    with (
        patch.object(Context, "user", user),
        patch.object(Context, "device", property(lambda ctx: (ctx.session or session).device)),
    ):
        yield


# Queries


class Query(Struct, frozen=True):
    """SQL in which a condition is missing, and the ops each of which must notice."""

    where: str
    missing: str
    ops: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.ops[0]} without {self.missing}"

    @property
    def instead(self) -> str:
        """The same with a condition that is always true, and knows the types of its parameters."""
        if " OR (" in self.missing or self.missing.endswith(" OR "):
            return self.where.replace(self.missing, "")
        parameter = re.search(r"\$\d", self.missing)
        always = f"{parameter[0]}::{_TYPES.get(self.missing, 'uuid')} IS NOT NULL" if parameter else "true"
        return self.where.replace(self.missing, always)


def _query(where: str, missing: str, *ops: str) -> Query:
    assert where.count(missing) == 1, f"{missing} stands {where.count(missing)} times in {where}"
    return Query(where, missing, ops)


_TYPES = {"kind = $2": "text", "tries < $3": "int", "lower(a.email) = lower($2)": "text"}
_SEEN = ("user.get", "user.list", "user.search")
_TICKETS = ("account.verify_email", "account.reset_password", "account.claim", "account.link_external")
_TRIED = (*_TICKETS, "account.login_second_step")
QUERIES = (
    # who may see whom
    _query("a.deleted_at IS NULL AND NOT EXISTS", "a.deleted_at IS NULL", *_SEEN),
    _query("(b.account = a.id AND b.blocked = $1) OR (b.account", "(b.account = a.id AND b.blocked = $1) OR ", *_SEEN),
    _query(" OR (b.account = $1 AND b.blocked = a.id)", " OR (b.account = $1 AND b.blocked = a.id)", *_SEEN),
    _query("a.id <> $1 AND a.deleted_at IS NULL", "a.deleted_at IS NULL", "user.block"),
    _query(
        "NOT EXISTS (SELECT FROM block b WHERE b.account = a.id AND b.blocked = $1)",
        "NOT EXISTS (SELECT FROM block b WHERE b.account = a.id AND b.blocked = $1)",
        "user.block",
    ),
    _query("k.account = $1 AND k.blocked = $2", "k.account = $1", "user.unblock"),
    _query("k.account = $1 AND lower", "k.account = $1", "user.blocked"),
    _query("FROM block WHERE account = $1 AND blocked", "account = $1", "user.unblock"),
    # whose a thing is
    _query("id = $2 AND account = $1 AND revoked_at", "account = $1", "device.revoke", "api_key.revoke"),
    _query("WHERE account = $1 AND revoked_at IS NULL AND expires_at", "account = $1", "device.list"),
    _query("WHERE account = $1 AND revoked_at IS NULL ORDER BY created_at", "account = $1", "api_key.list"),
    _query("WHERE account = $1 AND id < $2", "account = $1", "audit.list"),
    _query("WHERE account = $1 AND provider = $2", "account = $1", "account.unlink_external"),
    _query("FROM account a WHERE a.id = $1 AND", "a.id = $1", "account.get", "account.export"),
    _query("bio = $3 WHERE id = $1", "id = $1", "account.update"),
    _query("SET password_hash = $2 WHERE id = $1", "id = $1", "account.reset_password"),
    _query("SET push = $2 WHERE id = $1", "id = $1", "device.set_push"),
    _query("account = $1 AND revoked_at IS NULL AND id IS DISTINCT", "account = $1", "device.revoke_others"),
    _query("DELETE FROM audit WHERE account = $1", "account = $1", "account.delete"),
    _query("DELETE FROM two_factor WHERE account = $1", "account = $1", "two_factor.disable"),
    # whether it still counts
    _query("id = $2 AND account = $1 AND revoked_at IS NULL", "revoked_at IS NULL", "device.revoke", "api_key.revoke"),
    _query("account = $2 AND revoked_at IS NULL AND expires_at", "account = $2", "session.open"),
    _query("account = $2 AND revoked_at IS NULL AND expires_at", "revoked_at IS NULL", "session.open"),
    _query("AND expires_at > now() RETURNING true", "expires_at > now()", "session.open"),
    _query("a.id = $1 AND a.deleted_at IS NULL", "a.deleted_at IS NULL", "session.open"),
    _query("k.revoked_at IS NULL", "k.revoked_at IS NULL", "session.open"),
    _query(
        "(k.expires_at IS NULL OR k.expires_at > now())", "k.expires_at IS NULL OR k.expires_at > now()", "session.open"
    ),
    _query("d.revoked_at IS NULL AND d.expires_at", "d.revoked_at IS NULL", "account.refresh"),
    _query("d.expires_at > now() AND a.deleted_at", "d.expires_at > now()", "account.refresh"),
    _query("a.deleted_at IS NULL AS alive", "a.deleted_at IS NULL", "account.refresh"),
    _query("hash = $1 AND kind = $2", "kind = $2", *_TRIED),
    _query("kind = $2 AND expires_at > now()", "expires_at > now()", *_TRIED),
    _query("AND tries < $3", "tries < $3", "account.login_second_step"),
    _query("a.deleted_at IS NULL AND\n", "a.deleted_at IS NULL", "account.login"),
    _query("lower($2) AND a.email_verified_at IS NOT NULL", "a.email_verified_at IS NOT NULL", "account.login"),
    _query(
        "lower($1) AND a.email_verified_at IS NOT NULL", "a.email_verified_at IS NOT NULL", "account.forgot_password"
    ),
    _query(
        "last_step = 0 WHERE two_factor.confirmed_at IS NULL", "two_factor.confirmed_at IS NULL", "two_factor.enable"
    ),
)


@contextmanager
def queried(query: Query) -> Iterator[None]:
    """The server with one fragment of SQL written otherwise."""
    used = 0

    def mutated(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, text: str, *values: Any) -> Any:
            nonlocal used
            used += query.where in text
            return method(self, text.replace(query.where, query.instead), *values)

        return call

    with ExitStack() as stack:
        for kind in (Pool, Transaction):
            for name in ("fetch", "fetchrow", "fetchval", "execute"):
                stack.enter_context(patch.object(kind, name, mutated(getattr(kind, name))))
        yield
    if not used:
        raise StaleError(f"no query of {query.ops} has {query.where!r}")


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


_refuse = Router._refuse


def _told_to_others(self: Router, ctx: Context, *values: Any) -> None:
    """What was refused to one is an event for all the others."""
    _refuse(self, ctx, *values)
    for socket in ctx.app.gateway.sockets:
        if socket is not ctx.socket and socket.conversation is not None:
            socket.send(b'{"ev":"something.refused"}')


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
    Code(
        "the second factor is not asked for", login, "finish", _unguarded, ("account.login", "account.login_external")
    ),
    Code("every state is right", hmac, "compare_digest", lambda one, two: True, _FROM_OUTSIDE),
    Code("every redirect is allowed", outside, "_allowed", lambda *_: True, ("account.start_external",)),
    Code("tokens are not verified", Keyring, "read_access", _unsigned, ("session.open",)),
    Code("what is missing is handed on", Bind, "resolve", _resolve_nothing, ("user.get", "device.revoke")),
    Code("hidden and missing differ", Bind, "resolve", _told_apart, ("user.get", "device.revoke", "api_key.revoke")),
    Code("refusals are told to others", Router, "_refuse", _told_to_others, ("user.get", "device.list")),
    Code("others see the address", users, "_PUBLIC", users._PUBLIC.replace("a.bio", "a.email AS bio"), _SEEN),
    Code("others see the place", users, "_PUBLIC", users._PUBLIC.replace("a.city", "a.latitude::text AS city"), _SEEN),
    Code("every scope allows everything", Session, "allows", lambda self, op: True, _SCOPED),
    Code("a scope allows its whole domain", Session, "allows", _siblings, _SCOPED),
    Code("a scope allows what begins like it", Session, "allows", _beginnings, ("user.blocked",)),
    Code("a scope for one op allows nothing", Session, "allows", _everything_only, _SCOPED),
    Code("a scope for a domain allows nothing", Session, "allows", _ops_only, _SCOPED),
)
