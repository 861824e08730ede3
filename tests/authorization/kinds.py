"""Kinds of ids: which ones must look as if there were nothing behind them, and to whom a good one does.

What is looked for in a channel is of a kind of its own ("message in channel"); there, the channel is ann's group, or
the club's hall, in which stands the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from msgspec import Struct

from storage.ids import new_id
from tests.authorization import rooms
from tests.authorization.people import Person
from tests.authorization.world import BLOCKS, World

EVERYBODY_ELSE = frozenset({"stranger", "blocked", "blocker", "administrator", "owner"})
OUTSIDERS = frozenset({"stranger", "blocked", "administrator", "owner", "ex-member", "foreign owner"})
# Of those who try in spaces (actors.py).
NO_RESIDENTS = frozenset({"banned", "kicked"})
Choosing = Callable[[World, Person], UUID | int | str]


class Kind(Struct, frozen=True):
    """`hidden`: ids that who may call the op must not reach; `outsiders`: actors who must not reach the sample's.

    nothing: an id that there never was
    """

    hidden: Mapping[str, Choosing]
    outsiders: frozenset[str]
    nothing: Callable[[], UUID | int | str] = new_id


def _channel(name: str) -> Choosing:
    return lambda world, me: world.channels[name].id


def _space(name: str) -> Choosing:
    return lambda world, me: world.spaces[name].id


def _other(world: World, me: Person, *, blocks: bool) -> UUID:
    """Somebody who blocks me, or whom I block."""
    pairs = [(one, two) if blocks else (two, one) for one, two in BLOCKS]
    return next(world.people[one].id for one, two in pairs if two == me.name)


def _emblem(what: str, other: str) -> Kind:
    """Of spaces."""
    return Kind(
        hidden={
            "one of another space": lambda world, me: world.spaces["den"].emblems[what],
            "one of a space that I was put out of": lambda world, me: world.spaces["hut"].emblems[what],
            "another thing of the space": lambda world, me: world.spaces["club"].emblems[other],
            "a channel": _channel("hall"),
        },
        outsiders=frozenset(),
    )


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
    "scheduled": Kind(
        hidden={
            "somebody else's": lambda world, me: world.scheduled["sid in sid's saved"],
            "a member's, for the same channel": lambda world, me: world.scheduled["tom in group"],
            "my account": lambda world, me: me.id,
        },
        outsiders=EVERYBODY_ELSE,
    ),
    "file": Kind(
        hidden={
            "somebody else's": lambda world, me: world.files["sid"],
            "one that somebody else has begun": lambda world, me: world.files["sid has begun"],
            "one that others send each other": lambda world, me: world.files["fay in foreign"],
            "a member's, in a message that I read": lambda world, me: world.files["tom in group"],
            "my account": lambda world, me: me.id,
        },
        outsiders=EVERYBODY_ELSE,
    ),
    "channel": Kind(
        hidden={
            "somebody else's group": _channel("foreign"),
            "a group that I was in": _channel("left"),
            "a direct channel of others": _channel("sid+own"),
            "somebody else's saved messages": _channel("sid's saved"),
            "one that I do not see, in my space": _channel("attic"),
            "one in a category that I do not see": _channel("loft"),
            "one in somebody else's space": _channel("stove"),
            "one in a space that I was put out of": _channel("hearth"),
            "one in a space that was deleted": _channel("wall"),
            "a space that I am in": _space("club"),
            "somebody else's account": lambda world, me: world.sid.id,
            "my account": lambda world, me: me.id,
            "one of my devices": lambda world, me: me.phone.id,
        },
        outsiders=OUTSIDERS | NO_RESIDENTS,
    ),
    "space": Kind(
        hidden={
            "somebody else's": _space("den"),
            "one that I was put out of": _space("hut"),
            "one that was deleted": _space("ruins"),
            "an open one": _space("fair"),
            "a channel in mine": _channel("hall"),
            "my account": lambda world, me: me.id,
        },
        outsiders=OUTSIDERS | NO_RESIDENTS,
    ),
    "thread": Kind(
        hidden={
            "one in a channel that I do not see": _channel("whisper"),
            "one in somebody else's space": _channel("smoke"),
            "a channel": _channel("hall"),
            "a group of mine": _channel("group"),
            "a space that I am in": _space("club"),
            "my account": lambda world, me: me.id,
        },
        outsiders=OUTSIDERS | NO_RESIDENTS,
    ),
    "invite": Kind(
        hidden={
            "one into a space that I am kept out of": lambda world, me: world.codes["den"],
            "one whose time is over": lambda world, me: world.codes["old"],
            "one that is used up": lambda world, me: world.codes["used"],
            "one into a space that was deleted": lambda world, me: world.codes["ruins"],
        },
        outsiders=frozenset(),
        nothing=lambda: "abcdefghjkmn",
    ),
    "role in space": Kind(
        hidden={
            "one of another space": lambda world, me: world.spaces["den"].roles["cooks"],
            "everyone's of another space": _space("den"),
            "everyone's of a space that I was put out of": _space("hut"),
            "a channel": _channel("hall"),
            "my account": lambda world, me: me.id,
        },
        outsiders=frozenset(),
    ),
    "role in channel": Kind(
        hidden={
            "one of another space": lambda world, me: world.spaces["den"].roles["cooks"],
            "everyone's of another space": _space("den"),
            "a channel": _channel("hall"),
            "my account": lambda world, me: me.id,
        },
        outsiders=frozenset(),
    ),
    "user in space": Kind(
        hidden={
            "somebody who was in it": lambda world, me: world.eve.id,
            "somebody who is kept out of it": lambda world, me: world.ivy.id,
            "somebody who is not in it": lambda world, me: world.own.id,
            "one of my devices": lambda world, me: me.phone.id,
        },
        outsiders=frozenset(),
    ),
    "channel in space": Kind(
        hidden={
            "one that I do not see": _channel("attic"),
            "a category that I do not see": _channel("nook"),
            "one in a category that I do not see": _channel("loft"),
            "one in another space": _channel("stove"),
            "a category in another space": _channel("larder"),
            "a group of mine": _channel("group"),
            "the space": _space("club"),
        },
        outsiders=frozenset(),
    ),
    "report in space": Kind(
        hidden={
            "one of myself": lambda world, me: world.reports["of ann"],
            "one in a channel that I do not see": lambda world, me: world.reports["in the attic"],
            "one in a channel that I did not see": lambda world, me: world.reports["where a channel was"],
            "one of another space": lambda world, me: world.reports["in the den"],
            "one of no space": lambda world, me: world.reports["of nobody's space"],
            "a channel": _channel("hall"),
        },
        outsiders=frozenset(),
    ),
    "automod in space": Kind(
        hidden={
            "one of another space": lambda world, me: world.automods["den"],
            "a channel": _channel("hall"),
            "my account": lambda world, me: me.id,
        },
        outsiders=frozenset(),
    ),
    **dict.fromkeys(("emoji in space", "emoji in channel"), _emblem("emoji", "sticker")),
    **dict.fromkeys(("sticker in space", "sticker in channel"), _emblem("sticker", "emoji")),
    "message in channel": Kind(
        hidden={
            "one that stands in another channel": lambda world, me: 11,
            "a number that is a message in another channel, and here a fact": lambda world, me: 4,
            "one that was taken back": lambda world, me: 5,
            "one that I do not want to see": lambda world, me: 3,
        },
        outsiders=frozenset(),
        nothing=lambda: 2**40,
    ),
    "call in channel": Kind(
        hidden={
            "one in another channel": lambda world, me: rooms.ELSEWHERE,
            "a channel": _channel("group"),
            "my account": lambda world, me: me.id,
        },
        outsiders=frozenset(),
    ),
    "seat in channel": Kind(
        hidden={
            "one in another room": lambda world, me: rooms.seat("own"),
            "somebody's account": lambda world, me: world.tom.id,
        },
        outsiders=frozenset(),
    ),
    "user in channel": Kind(
        hidden={
            "somebody who was in it": lambda world, me: world.eve.id,
            "somebody who is not in it": lambda world, me: world.own.id,
            "one of my devices": lambda world, me: me.phone.id,
        },
        outsiders=frozenset(),
    ),
}


def kind(name: str) -> Kind:
    """A kind of id."""
    assert name in KINDS, f"which ids of a {name} must be hidden, and from whom? Say so in tests/authorization/kinds.py"
    return KINDS[name]
