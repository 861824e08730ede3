"""Kinds of ids: which ones must look as if there were nothing behind them, and to whom a good one does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from msgspec import Struct

from tests.authorization.people import Person
from tests.authorization.world import BLOCKS, World

EVERYBODY_ELSE = frozenset({"stranger", "blocked", "blocker", "administrator", "owner"})
Choosing = Callable[[World, Person], UUID]


class Kind(Struct, frozen=True):
    """`hidden`: ids that who may call the op must not reach; `outsiders`: actors who must not reach the sample's."""

    hidden: Mapping[str, Choosing]
    outsiders: frozenset[str]


def _other(world: World, me: Person, *, blocks: bool) -> UUID:
    """Somebody who blocks me, or whom I block."""
    pairs = [(one, two) if blocks else (two, one) for one, two in BLOCKS]
    return next(world.people[one].id for one, two in pairs if two == me.name)


KINDS = {
    "user": Kind(
        hidden={
            "a deleted account": lambda world, me: world.gone.id,
            "somebody who blocks me": lambda world, me: _other(world, me, blocks=True),
            "somebody I block": lambda world, me: _other(world, me, blocks=False),
            "one of my devices": lambda world, me: me.phone.id,
        },
        outsiders=frozenset({"blocked", "blocker"}),
    ),
    "device": Kind(
        hidden={
            "somebody else's device": lambda world, me: world.sid.phone.id,
            "a device that was revoked": lambda world, me: me.lost.id,
            "one of my API keys": lambda world, me: me.full.id,
            "my account": lambda world, me: me.id,
        },
        outsiders=EVERYBODY_ELSE,
    ),
    "api_key": Kind(
        hidden={
            "somebody else's key": lambda world, me: world.sid.full.id,
            "a key that was revoked": lambda world, me: me.withdrawn.id,
            "one of my devices": lambda world, me: me.phone.id,
            "my account": lambda world, me: me.id,
        },
        outsiders=EVERYBODY_ELSE,
    ),
}


def kind(name: str) -> Kind:
    """A kind of id."""
    assert name in KINDS, f"which ids of a {name} must be hidden, and from whom? Say so in tests/authorization/kinds.py"
    return KINDS[name]
