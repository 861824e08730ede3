"""Functions that look at less than they should: others in their place, or their own text without a condition."""

from __future__ import annotations

import hmac
import inspect
import textwrap
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any
from unittest.mock import patch
from uuid import UUID

from msgspec import Struct

from protocol.error import Missing
from server import friend, group, login, notification, outside, poll, posting, totp
from server.arrival import Arrivals
from server.context import Context, Session
from server.fact import Change
from server.grant import Grants
from server.handlers import channel, message, scheduled, session
from server.handlers import poll as poll_ops
from server.router import Router
from server.rule import Bind
from server.secret import Claims, Keyring
from server.stream import Streams
from storage import account, device
from storage import user as users
from storage.account import Login
from storage.standing import Standing
from tests.authorization.queries import StaleError
from tests.authorization.world import World


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


async def _resolve_nothing(self: Bind, ctx: Context, frame: Any, resolved: Any) -> Any:
    return await self._find(ctx, getattr(frame, self.field))


async def _told_apart(self: Bind, ctx: Context, frame: Any, resolved: Any) -> Any:
    """Hidden and missing with different words."""
    found = await self._find(ctx, getattr(frame, self.field))
    if found is None:
        there = await ctx.db.fetchval(
            "SELECT EXISTS (SELECT FROM account WHERE id = $1 UNION SELECT FROM device WHERE id = $1 "
            "UNION SELECT FROM api_key WHERE id = $1 UNION SELECT FROM stream WHERE id = $1)",
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

    def applied(self, world: World) -> AbstractContextManager[Any]:
        """The server with it."""
        return patch.object(self.owner, self.attribute, self.value)


class Text(Struct, frozen=True):
    """A function in whose text something else stands, and the ops each of which must notice."""

    owner: Any
    attribute: str
    where: str
    instead: str
    ops: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.attribute}: {self.instead} for {self.where}"

    def applied(self, world: World) -> AbstractContextManager[Any]:
        """The server with it."""
        found = inspect.getattr_static(self.owner, self.attribute)
        text = textwrap.dedent(inspect.getsource(found))
        if text.count(self.where) != 1:
            raise StaleError(f"{self.where!r} stands {text.count(self.where)} times in {self.attribute}")
        names: dict[str, Any] = {}
        code = "from __future__ import annotations\n" + text.replace(self.where, self.instead)
        exec(code, inspect.unwrap(found).__globals__, names)
        declared = getattr(found, "__op__", None)
        if declared is not None:
            handler = names[self.attribute].__op__.handler
            return patch.object(world.server.router.ops[declared.name], "handler", handler)
        return patch.object(self.owner, self.attribute, names[self.attribute])


class Function(Struct, frozen=True):
    """An SQL function with something else in its text."""

    where: str
    instead: str
    ops: tuple[str, ...] = ("message.send",)
    function: str = "message_append"

    @property
    def name(self) -> str:
        return f"{self.function}: {self.instead} for {self.where}"

    @asynccontextmanager
    async def written(self, world: World) -> AsyncIterator[None]:
        """The database with it."""
        text = await world.function(self.function)
        if text.count(self.where) != 1:
            raise StaleError(f"{self.where!r} stands {text.count(self.where)} times in {self.function}")
        await world.define(text.replace(self.where, self.instead))
        try:
            yield
        finally:
            await world.define(text)


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
_SEEN = ("user.get", "user.list", "user.search")
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
    Code(
        "hidden and missing differ",
        Bind,
        "resolve",
        _told_apart,
        ("user.get", "device.revoke", "api_key.revoke", "message.pins"),
    ),
    Code("refusals are told to others", Router, "_refuse", _told_to_others, ("user.get", "device.list")),
    Code("others see the address", users, "COLUMNS", users.COLUMNS.replace("a.bio", "a.email AS bio"), _SEEN),
    Code("others see the place", users, "COLUMNS", users.COLUMNS.replace("a.city", "a.latitude::text AS city"), _SEEN),
    Code("every scope allows everything", Session, "allows", lambda self, op: True, _SCOPED),
    Code("a scope allows its whole domain", Session, "allows", _siblings, _SCOPED),
    Code("a scope allows what begins like it", Session, "allows", _beginnings, ("user.blocked",)),
    Code("a scope for one op allows nothing", Session, "allows", _everything_only, _SCOPED),
    Code("a scope for a domain allows nothing", Session, "allows", _ops_only, _SCOPED),
)


_HELD = ("message.edit", "message.pin", "reaction.add", "scheduled.create")
TEXTS = (
    # who may do what to a channel
    Text(group, "update", 'standing.kind == "group" or ', "", ("channel.update: how long messages stay",)),
    Text(
        group,
        "update",
        'given.keys() - {"disappears_after"}',
        "False",
        ("channel.update: how long they stay between two", "channel.update: for how many days they are kept"),
    ),
    Text(channel, "leave", 'channel.kind != "group"', "False", ("channel.leave",)),
    Text(channel, "add_member", 'channel.kind != "group"', "False", ("channel.add_member",)),
    Text(channel, "remove_member", "user.id == ctx.user", "False", ("channel.remove_member",)),
    # who may write, and what
    Text(Change, "standing", "check(found.allowed, bits(needs))", "pass", _HELD),
    Text(message, "edit", "before.author != ctx.user", "False", ("message.edit",)),
    Text(message, "edit", "before.forwarded is not None", "False", ("message.edit",)),
    Text(message, "edit", "await change.check_seeing(channel.id, after.mentions)", "pass", ("message.edit",)),
    Text(message, "_delete", "check(standing.allowed, _MANAGE)", "pass", ("message.delete", "message.delete_many")),
    Text(message, "_delete", "any(one.author", "all(one.author", ("message.delete_many",)),
    Text(posting, "_decided", "channel.writes and ", "", ("message.send",)),
    Text(scheduled, "_held", "held.begun", "False", ("scheduled.update", "scheduled.cancel")),
    Text(scheduled, "_check_unsent", "is not None", "is False", ("scheduled.create",)),
    # who may choose, and who is told what
    Text(poll, "_open", "poll.closed_at is not None", "False", ("poll.vote",)),
    Text(poll, "vote", "options[-1] >= len(poll.options)", "False", ("poll.vote",)),
    Text(poll, "vote", "and not poll.multiple", "and False", ("poll.vote",)),
    Text(poll, "held", " or found[0].poll is None", "", ("poll.vote", "poll.close")),
    Text(
        poll, "_choose", "user=None if poll.anonymous else account", "user=account", ("poll.vote: for the first time",)
    ),
    Text(
        poll,
        "_choose",
        "None if poll.anonymous else list(options)",
        "list(options)",
        ("poll.vote: for the first time",),
    ),
    Text(poll, "close", "if message.author == user else", "if True else", ("poll.close",)),
    Text(poll_ops, "voters", "message.poll.anonymous", "False", ("poll.voters",)),
    # who may turn to whom, and who is told what has become of it
    Text(friend, "request", "me == user", "False", ("friend.request",)),
    Text(friend, "_check_asking", "not await friends.may_ask(change.tx, me, user)", "False", ("friend.request",)),
    Text(friend, "accept", ' or found.state == "waiting"', "", ("friend.accept",)),
    Text(friend, "accept", "found is None or ", "found and ", ("friend.accept",)),
    Text(friend, "end", "found.state in states", "True", ("friend.decline", "friend.remove")),
    Text(friend, "part", "((one, other), (other, one))", "((one, other),)", ("friend.decline", "friend.remove")),
    Text(friend, "part", "((one, other), (other, one))", "((other, one),)", ("friend.decline", "friend.remove")),
    Text(group, "_block", "await friend.part(change, account, user)", "pass", ("user.block: a friend",)),
    Text(group, "pair", "await friend.check_opening(change, one, other)", "pass", ("channel.open_direct",)),
    # who is notified of what
    Text(notification, "_stale", "one.gone or ", "", ("notification.list",)),
    Text(
        notification,
        "_stale",
        "or one.notification.channel not in there",
        "",
        ("notification.list", "notification.counts"),
    ),
    Text(notification, "settings", "(one.channel or one.space) in there", "True", ("notification.settings",)),
    Text(
        friend,
        "_become",
        "await notification.forget(change, user, me, kinds=notification.FRIENDS)",
        "pass",
        ("friend.accept",),
    ),
    # what this process remembers
    Text(
        Grants,
        "known",
        "stream.access == standing.access",
        "True",
        ("typing.start", "message.history: in a space, the same page from memory"),
    ),
    Text(message, "history", "ctx.user not in stream.page.hiders", "True", ("message.history",)),
    Text(message, "_newest", "ctx.user in hiders", "False", ("message.history",)),
    # who is told
    Text(message, "_tell_receipt", "channel.writes", "True", ("message.mark_read",)),
    Text(message, "readers", "not channel.writes", "False", ("message.readers",)),
    Text(group, "_tell_entered", ", last=None", "", ("channel.add_member",)),
    Text(Streams, "pass_on", "ctx.session.account != by", "True", ("typing.start",)),
    Text(session, "_hear", 'ctx.session.allows("message.history")', "True", ("session.resume",)),
    Text(session, "_enter", 'session.allows("channel.list")', "True", ("session.resume",)),
    Text(session, "_enter", 'session.allows("account.get")', "True", ("session.resume",)),
)
# What is looked at twice, on the way in and where it is done: each holds without the other.
TWICE = {
    "message.history: before a seq": (
        Text(Grants, "known", "stream.access == standing.access", "True", ()),
        Text(Standing, "check", 'not rows or rows[0]["access"] != self.access', "False", ()),
    ),
    "channel.leave: a group of somebody else's": (
        Text(Arrivals, "_has_left", "left is not None", "False", ()),
        Text(Streams, "_check_some", "session.account not in members", "False", ()),
    ),
}
_VERSION = "s.access + coalesce((SELECT g.access FROM stream g WHERE g.id = s.guard), 0)"
FUNCTIONS = (
    Function("CASE WHEN m.channel = i.channel THEN 1 ELSE 3 END", "1"),
    Function(f"WHEN {_VERSION}\n                         IS DISTINCT FROM i.access THEN 2", ""),
    Function("r.channel = i.channel AND r.seq", "r.seq"),
    Function("r.seq = (i.extra ->> 'reply_to')::bigint", "true"),
    Function("AND r.deleted_at IS NULL", ""),
    Function("r.channel = i.channel AND r.account", "r.account"),
    Function("AND r.account = t.account::uuid", ""),
    Function("m.author = i.author AND", ""),
    Function("AND m.nonce = i.nonce", ""),
    Function("ON s.id = i.channel", "ON true"),
    Function("WHERE s.id = p.channel", ""),
    # of what is in a space
    Function("AND s.guard IS NULL AND EXISTS", "AND EXISTS", ("message.send: where only mods are",)),
)
