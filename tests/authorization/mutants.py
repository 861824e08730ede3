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

from server import friend, group
from server.context import Context, Session
from server.fact import Change
from server.rule import LOGGED_IN, Rule
from storage import channel as channels
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
        msgspec.structs.replace(one, load=_for_anybody(world, one.load), at_once=None) if one.field == field else one
        for one in rule.binds
    ]
    return Rule(rule.gates, tuple(binds))


# What no reply and no row would tell.
UNNOTICEABLE = {
    ("presence.unwatch", "users"): "it tells nothing, and changes nothing but what this socket asked for",
    ("channel.remove_member", "user"): "who is in a channel does not depend on who looks: see queries.py",
}


def _for_anybody(world: World, load: Load) -> Load:
    """What the id means to whoever else it means something to."""

    async def loaded(db: Pool, viewer: UUID, *ids: Any) -> Any:
        for one in (*(person.id for person in world.people.values() if person.id != viewer), viewer):
            found = await load(db, one, *ids)
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


# The second time


async def _any_standing(self: Change, user: UUID, channel: UUID, *, writes: bool = True) -> Standing:
    """How whoever is in the channel stands there."""
    somebody = await self.tx.fetchval("SELECT account FROM member WHERE channel = $1 ORDER BY account LIMIT 1", channel)
    found = await channels.member(self.tx, somebody, channel)
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
