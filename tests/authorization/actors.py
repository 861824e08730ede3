"""Who tries. Each actor opens a socket in its own way; what it must be told is in matrix.py."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from tests.authorization.people import Person
from tests.authorization.world import World

Showing = Callable[[World, Person], str]


class Actor(Struct, frozen=True):
    """A role; `token` is what it shows, given who may call the op.

    shut: the code with which its token is refused; it then speaks for nobody
    key: it is a program with an API key
    scoped: whether the key's scopes contain the op
    person: who it is, where that is not the one who may
    """

    name: str
    token: Showing | None = None
    shut: str = ""
    key: bool = False
    scoped: bool = False
    person: str = ""


def by(name: str) -> Actor:
    """Somebody in person."""
    return Actor(name, _person(name), person=name)


def _person(name: str) -> Showing:
    return lambda world, me: world.people[name].access(world.server)


NOBODY = Actor("nobody")
IN_PERSON = Actor("who may", lambda world, me: me.access(world.server))
KEYS = (
    Actor("a key for everything", lambda world, me: me.full.secret, key=True, scoped=True),
    Actor("a key for the op", lambda world, me: world.keys["exact"].secret, key=True, scoped=True),
    Actor("a key for the domain", lambda world, me: world.keys["domain"].secret, key=True, scoped=True),
    Actor("a key for all but the op", lambda world, me: world.keys["narrow"].secret, key=True),
)
SHUT = (
    Actor("a revoked device", lambda w, me: me.access(w.server, me.lost), shut="session_revoked"),
    Actor("a device that expired", lambda w, me: me.access(w.server, me.stale), shut="session_revoked"),
    Actor(
        "somebody else's device",
        lambda w, me: w.server.keys.access(me.id, w.sid.phone.id, 3600),
        shut="session_revoked",
    ),
    Actor("a deleted account", lambda w, me: w.gone.access(w.server), shut="session_revoked"),
    Actor("a revoked key", lambda w, me: me.withdrawn.secret, shut="unauthenticated"),
    Actor("a key that expired", lambda w, me: me.outdated.secret, shut="unauthenticated"),
    Actor("a deleted account's key", lambda w, me: w.gone.full.secret, shut="unauthenticated"),
)
# What PEOPLE are to each other matters everywhere, what ROLES are only where something stands in a channel.
PEOPLE = (
    Actor("stranger", _person("sid"), person="sid"),
    Actor("blocked", _person("ivy"), person="ivy"),
    Actor("blocker", _person("kim"), person="kim"),
    Actor("administrator", _person("adm"), person="adm"),
    Actor("owner", _person("own"), person="own"),
)
ROLES = (
    Actor("ex-member", _person("eve"), person="eve"),
    Actor("member", _person("tom"), person="tom"),
    Actor("foreign owner", _person("fay"), person="fay"),
)
# Who tries where a space is concerned: the club (spaces.py). PEOPLE who are not named here are strangers to it.
RESIDENTS = (
    PEOPLE[0],
    *PEOPLE[3:],
    ROLES[2],
    Actor("banned", _person("ivy"), person="ivy"),
    Actor("kicked", _person("eve"), person="eve"),
    Actor("member", _person("tom"), person="tom"),
    Actor("timed out", _person("kim"), person="kim"),
    Actor("lower role", _person("lea"), person="lea"),
    Actor("same height", _person("bea"), person="bea"),
    Actor("chief", _person("cal"), person="cal"),
    Actor("space owner", _person("max"), person="max"),
)
ANYBODY = (NOBODY, PEOPLE[0], Actor("a stranger's key", lambda world, me: world.sid.full.secret, person="sid"))
