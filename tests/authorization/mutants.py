"""Servers that lack one check each. The matrix must notice every one of them: that is what proves it.

- rules (here): each gate of each op, each of its binds, and for ops in person the weaker rule of everybody logged in
- queries.py: conditions on whose a row is, whether it still counts, and who may see it
- checks.py: functions that look at less than they should, or whose text lacks a condition

Some things are looked at twice: by the rule, and again when the streams are held, so that nothing decided before
is done after. There the matrix must hold without the first, and notice when both are gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from protocol import permission
from protocol.invite import Invite
from protocol.permission import MANAGE_ROLES, Permission
from server import access, friend, group
from server.context import Context, Session
from server.fact import Change
from server.handlers import channel as handlers
from server.handlers import role
from server.rule import LOGGED_IN, Bind, Rule
from server.structure import Resident, Structures
from storage import invite as invites
from storage import space as spaces
from storage.pool import Pool, Transaction
from storage.standing import Standing
from tests.authorization.matrix import GATES, IDS, ROWS, Scene
from tests.authorization.queries import queried, query
from tests.authorization.world import World

Load = Callable[..., Awaitable[Any]]


def rules(world: World, op: str) -> Iterator[tuple[str, Rule, Sequence[Scene]]]:
    """Every way to forget one check of an op's rule that is not looked at twice, and where that shows."""
    rule = world.rules[op]
    for gate in rule.gates:
        yield f"without {gate.__name__}", Rule(tuple(one for one in rule.gates if one is not gate), rule.binds), GATES
        if gate.__name__ == "in_person":
            yield "for everybody who is logged in", Rule(LOGGED_IN.gates, rule.binds), GATES
    for bind in rule.binds:
        if (op, bind.field) not in UNNOTICEABLE and (op, bind.field) not in RECHECKED:
            yield f"with {bind.field} for anybody", for_anybody(world, op, bind.field), ROWS if bind.within else IDS
        if bind.needs and op not in HELD_TO_NEEDS:
            yield f"with {bind.field} whatever is allowed there", without_needs(world, op), ROWS


def for_anybody(world: World, op: str, field: str) -> Rule:
    """An op's rule with a field that means to everybody what it means to somebody."""
    rule = world.rules[op]
    binds = [
        replace(one, load=_for_anybody(world, one), at_once=None, needs=0) if one.field == field else one
        for one in rule.binds
    ]
    return Rule(rule.gates, tuple(binds))


def without_needs(world: World, op: str) -> Rule:
    """An op's rule that finds what its ids mean, and does not ask what is allowed there."""
    rule = world.rules[op]
    return Rule(rule.gates, tuple(replace(one, needs=0) for one in rule.binds))


# What is allowed is looked at again when the streams are held, by `ruling` or `Change.standing`.
HELD_TO_NEEDS = (
    "poll.close",
    "channel.create",
    "channel.delete",
    "channel.reorder",
    "channel.remove_member",
    "space.update",
    "member.kick",
    "member.ban",
    "member.unban",
    "member.timeout",
    "role.create",
    "role.update",
    "role.delete",
    "role.reorder",
    "role.grant",
    "role.revoke",
    "invite.create",
    "thread.open",
    "report.resolve",
    "automod.create",
    "automod.update",
    "automod.delete",
    "emoji.create",
    "emoji.update",
    "emoji.delete",
    "sticker.create",
    "sticker.update",
    "sticker.delete",
    "call.start",
    "voice.move",
    "voice.mute",
)


_NOT_SO = (
    "call.start",
    "voice.move",
    "voice.mute",
    "poll.close",
    "member.ban",
    "channel.create",
    "channel.delete",
    "channel.remove_member",
    "thread.open",
)


# Where somebody does this to themselves, another thing is wrong with it.
NOT_TO_ONESELF = {
    "channel.remove_member": "channel.remove_member: not one of those who try",
    "member.ban": "member.ban: who is not in it",
}


@contextmanager
def without_held_needs() -> Iterator[None]:
    """The second time, too, nobody asks what is allowed; nor does the algorithm, where it asks once more."""
    shape = access.may_shape

    def shaped(member: access.Member, before: access.Role | None, after: access.Role | None) -> bool:
        roles = [replace(one, permissions=one.permissions | MANAGE_ROLES) for one in member.roles]
        with patch.object(permission, "IN_TIMEOUT", permission.ALL):
            return shape(replace(member, roles=roles), before, after)

    with (
        patch("server.space.check", lambda *_: None),
        patch("server.fact.check", lambda *_: None),
        patch.object(access, "may_shape", shaped),
    ):
        yield


# What no reply and no row would tell.
UNNOTICEABLE = {
    ("presence.unwatch", "users"): "it tells nothing, and changes nothing but what this socket asked for",
    ("channel.remove_member", "user"): "who is in a channel does not depend on who looks: see queries.py",
    **{
        (f"call.{name}", "call"): "which call it is does not depend on who looks: see queries_call.py"
        for name in ("answer", "decline", "end", "signal")
    },
    **{
        (op, field): "who has no seat of their own there finds nobody, whatever the rule says"
        for op in ("call.signal", "voice.signal")
        for field in ("channel", "to")
    },
    ("voice.move", "user"): "who sits there does not depend on who looks",
    ("stage.invite", "user"): "the same",
    ("stage.mute", "user"): "the same",
}


def _for_anybody(world: World, bind: Bind) -> Load:
    """What the id means to whoever else it means something to; in whatever else it is looked for, in that."""

    async def loaded(db: Pool, viewer: UUID, *ids: Any) -> Any:
        return await _first(bind.load(db, one, *ids) for one in _viewers(world, viewer))

    async def found(ctx: Context, *ids: Any) -> Any:
        if not bind.within:
            return await _first(bind.load(Viewer(ctx.app, ctx.db, one), *ids) for one in _viewers(world, ctx.user))
        parent, id = ids
        if isinstance(id, list):
            each = [await found(ctx, parent, one) for one in ([one] for one in id)] if len(id) > 1 else []
            if each:
                return None if None in each else [one[0] for one in each]
        here = await bind.load(ctx, parent, id)
        return here or await _first(
            bind.load(*one, id) for one in [one async for one in _elsewhere(world, ctx, parent)]
        )

    return found if bind.in_context else loaded


async def _first(tries: Iterator[Awaitable[Any]]) -> Any:
    """The first of them that finds something."""
    for one in tries:
        found = await one
        if found is not None:
            return found
    return None


def _viewers(world: World, viewer: UUID) -> Iterator[UUID]:
    yield from (person.id for person in world.people.values() if person.id != viewer)
    yield viewer


async def _elsewhere(world: World, ctx: Context, parent: Any) -> AsyncIterator[tuple[Viewer, Any]]:
    """Every space, or a channel of it, as its owner sees it."""
    for space in world.spaces.values():
        who = Viewer(ctx.app, ctx.db, world.people[space.owner].id)
        if isinstance(parent, Standing):
            room = next(channel.id for channel in world.channels.values() if channel.space == space.name)
            found: Any = (await ctx.app.structures.look(ctx.db, [room], [who.user]))[0]
        else:
            found = await ctx.app.structures.resident(ctx.db, space.id, who.user)
        if found is not None:
            yield who, found


class Viewer(Struct, frozen=True):
    """Somebody else, as far as a context tells who asks."""

    app: Any
    db: Any
    user: UUID
    address: str = "127.0.0.1"


@contextmanager
def ruled(world: World, op: str, rule: Rule) -> Iterator[None]:
    """The server with another rule for one op."""
    one = world.server.router.ops[op]
    one.access = rule
    try:
        yield
    finally:
        one.access = world.rules[op]


# The second time


async def _any_standing(self: Change, user: UUID, channel: UUID, *needs: Permission) -> Standing:
    """How whoever is in the channel, or owns its space, stands there."""
    somebody = await self.tx.fetchval(
        """
        SELECT coalesce(p.owner, (SELECT m.account FROM member m WHERE m.channel = c.id ORDER BY m.account LIMIT 1))
          FROM channel c LEFT JOIN space p ON p.id = c.space WHERE c.id = $1
        """,
        channel,
    )
    found = (await self._structures.look(self.tx, [channel], [somebody]))[0]
    assert found is not None
    return found


async def _no_check(*_: object) -> None:
    return None


def _standing() -> AbstractContextManager[Any]:
    return patch.object(Change, "standing", _any_standing)


def _entry() -> AbstractContextManager[Any]:
    return patch.object(group, "_check_entry", _no_check)


def _scheduled() -> AbstractContextManager[Any]:
    return queried(query("WHERE p.account = $1 AND p.id = $2 FOR UPDATE", "p.account = $1"))


def _seen() -> AbstractContextManager[Any]:
    return patch.object(friend, "check", _no_check)


@contextmanager
def _mark() -> Iterator[None]:
    with (
        _standing(),
        queried(query("m.account = $1 AND m.channel = $2 FOR UPDATE", "m.account = $1")),
        queried(query("account = $1 AND channel = $2 RETURNING", "account = $1")),
    ):
        yield


async def _anybody_sits(self: Structures, db: Any, space: UUID, account: UUID) -> Resident | None:
    """How an account sits in a space; if it does not, as somewhere else, or as the owner does."""
    found = await self.residents(db, [space], [account])
    if found[0] is not None:
        return found[0]
    rows = await db.fetch(
        "SELECT space, account FROM space_member WHERE account = $2 UNION SELECT $1, owner FROM space WHERE id = $1",
        space,
        account,
    )
    seats = await self.residents(db, [row["space"] for row in rows], [row["account"] for row in rows])
    return next((one for one in reversed(seats) if one is not None), None)


def _sitting() -> AbstractContextManager[Any]:
    return patch.object(Structures, "resident", _anybody_sits)


async def _anybodys(ctx: Context, channel: UUID) -> Standing | None:
    """How the owner of its space stands in a channel."""
    owner = await ctx.db.fetchval(
        "SELECT p.owner FROM channel c JOIN space p ON p.id = c.space WHERE c.id = $1", channel
    )
    return (await ctx.app.structures.look(ctx.db, [channel], [owner or ctx.user]))[0]


@contextmanager
def _judging() -> Iterator[None]:
    with _sitting(), _standing():
        yield


def _seeing() -> AbstractContextManager[Any]:
    return patch.object(handlers, "channel_seen", _anybodys)


def _entering() -> AbstractContextManager[Any]:
    return patch.object(spaces, "enterable", lambda db, viewer, id: spaces.get(db, id))


def _holding() -> AbstractContextManager[Any]:
    return patch.object(role, "_held", lambda *_: None)


async def _any_invite(tx: Transaction, account: UUID, code: str) -> Invite | None:
    """An invite, whatever it is still good for, and for whom."""
    row = await tx.fetchrow(f"SELECT {invites.COLUMNS} FROM invite i WHERE i.code = $1", code)
    return invites.invite(row) if row else None


def _letting() -> AbstractContextManager[Any]:
    return patch.object(invites, "letting", _any_invite)


@contextmanager
def _revoking() -> Iterator[None]:
    with _sitting(), queried(query("AND m.account = $1 WHERE i.code = $2", "m.account = $1")):
        yield


@contextmanager
def _sending() -> Iterator[None]:
    with _sitting(), queried(query("m.account = $1 WHERE i.code = $2 AND (i.expires", "m.account = $1")):
        yield


def _queue() -> AbstractContextManager[Any]:
    parameters = "$2::uuid IS NOT NULL AND $3::uuid[] IS NOT NULL AND $4::bool IS NOT NULL"
    return patch("storage.report._SEEN", parameters)


def _ruling() -> AbstractContextManager[Any]:
    return queried(query("r.space = $1 AND r.id = $2", "r.space = $1"))


def _any_of(table: str, rest: str) -> Callable[[], AbstractContextManager[Any]]:
    """Those of all spaces."""
    return lambda: queried(query(f"FROM {table} e WHERE e.space = $1{rest}", "e.space = $1"))


RECHECKED: dict[tuple[str, str], Callable[[], AbstractContextManager[Any]]] = {
    **dict.fromkeys(
        (
            ("channel.update", "channel"),
            ("channel.delete", "channel"),
            ("channel.mute", "channel"),
            ("notification.configure", "channel"),
            ("permission.set", "channel"),
            ("permission.clear", "channel"),
            ("draft.save", "channel"),
            ("scheduled.create", "channel"),
            ("message.edit", "channel"),
            ("message.delete", "channel"),
            ("message.delete_many", "channel"),
            ("message.pin", "channel"),
            ("message.unpin", "channel"),
            ("reaction.add", "channel"),
            ("reaction.remove", "channel"),
            ("poll.vote", "channel"),
            ("poll.close", "channel"),
            ("thread.update", "thread"),
            ("thread.delete", "thread"),
        ),
        _standing,
    ),
    ("invite.accept", "code"): _letting,
    ("invite.revoke", "code"): _revoking,
    ("invite.send", "code"): _sending,
    ("invite.send", "user"): _seen,
    ("channel.join", "channel"): _entry,
    ("channel.get", "channel"): _seeing,
    ("space.join", "space"): _entering,
    ("member.get", "user"): lambda: queried(query("WHERE m.space = $1 AND m.account = $2\n", "m.space = $1")),
    **dict.fromkeys(
        (("role.update", "role"), ("role.delete", "role"), ("role.grant", "role"), ("role.revoke", "role")), _holding
    ),
    ("report.resolve", "report"): _queue,
    ("automod.update", "rule"): _ruling,
    ("automod.delete", "rule"): _ruling,
    ("emoji.update", "emoji"): _any_of("emoji", " ORDER"),
    ("emoji.delete", "emoji"): _any_of("emoji", " AND e.id = $2"),
    ("sticker.update", "sticker"): _any_of("sticker", " ORDER"),
    ("sticker.delete", "sticker"): _any_of("sticker", " AND e.id = $2"),
    ("scheduled.update", "scheduled"): _scheduled,
    ("scheduled.cancel", "scheduled"): _scheduled,
    **dict.fromkeys(
        (
            ("friend.request", "user"),
            ("friend.accept", "user"),
            ("friend.decline", "user"),
            ("friend.remove", "user"),
        ),
        _seen,
    ),
    **dict.fromkeys(
        (
            *((op, "space") for op in HELD_TO_NEEDS if op not in _NOT_SO),
            ("space.delete", "space"),
            ("space.leave", "space"),
            ("space.transfer", "space"),
            ("space.transfer", "user"),
            ("member.update", "space"),
            ("member.update", "user"),
            ("member.kick", "user"),
            ("member.timeout", "user"),
            ("role.grant", "user"),
            ("role.revoke", "user"),
        ),
        _sitting,
    ),
    ("notification.configure", "space"): _sitting,
    ("voice.move", "channel"): _judging,
    ("voice.mute", "channel"): _judging,
    ("voice.mute", "user"): _sitting,
    ("message.mark_read", "channel"): _mark,
    ("message.mark_delivered", "channel"): _mark,
}


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
