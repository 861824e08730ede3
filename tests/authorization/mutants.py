"""Servers that lack one check each. The matrix must notice every one of them: that is what proves it.

- rules (here): each gate of each op, each of its binds, and for ops in person the weaker rule of everybody logged in
- queries.py: conditions on whose a row is, whether it still counts, and who may see it
- checks.py: functions that look at less than they should, or whose text lacks a condition

Some things are looked at twice: by the rule, and again when the streams are held, so that nothing decided before
is done after. There the matrix must hold without the first, and notice when both are gone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.permission import Permission
from server import friend, group
from server.context import Context, Session
from server.fact import Change
from server.rule import LOGGED_IN, Bind, Rule
from storage.pool import Pool
from storage.standing import Standing
from tests.authorization.matrix import GATES, IDS, Scene
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
            yield f"with {bind.field} for anybody", for_anybody(world, op, bind.field), IDS


def for_anybody(world: World, op: str, field: str) -> Rule:
    """An op's rule with a field that means to everybody what it means to somebody."""
    rule = world.rules[op]
    binds = [
        msgspec.structs.replace(one, load=_for_anybody(world, one), at_once=None) if one.field == field else one
        for one in rule.binds
    ]
    return Rule(rule.gates, tuple(binds))


# What no reply and no row would tell.
UNNOTICEABLE = {
    ("presence.unwatch", "users"): "it tells nothing, and changes nothing but what this socket asked for",
    ("channel.remove_member", "user"): "who is in a channel does not depend on who looks: see queries.py",
}


def _for_anybody(world: World, bind: Bind) -> Load:
    """What the id means to whoever else it means something to."""

    async def loaded(db: Pool, viewer: UUID, *ids: Any) -> Any:
        for one in (*(person.id for person in world.people.values() if person.id != viewer), viewer):
            found = await load(db, one, *ids)
            if found is not None:
                return found
        return None

    async def loaded_in_context(ctx: Context, *ids: Any) -> Any:
        return await loaded(ctx, ctx.user, *ids)  # type: ignore[arg-type]

    async def found_by(ctx: Context, viewer: UUID, *ids: Any) -> Any:
        return await bind.load(Viewer(ctx.app, ctx.db, viewer), *ids)

    load = found_by if bind.in_context else bind.load
    return loaded_in_context if bind.in_context else loaded


class Viewer(Struct, frozen=True):
    """Somebody else, as far as a context tells who asks."""

    app: Any
    db: Any
    user: UUID


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
    return patch.object(friend, "_check", _no_check)


@contextmanager
def _mark() -> Iterator[None]:
    with (
        queried(query("m.account = $1 AND m.channel = $2 FOR UPDATE", "m.account = $1")),
        queried(query("account = $1 AND channel = $2 RETURNING", "account = $1")),
    ):
        yield


RECHECKED: dict[tuple[str, str], Callable[[], AbstractContextManager[Any]]] = {
    **dict.fromkeys(
        (
            ("channel.update", "channel"),
            ("channel.mute", "channel"),
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
        ),
        _standing,
    ),
    ("channel.join", "channel"): _entry,
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
