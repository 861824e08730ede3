"""What is played about one op: the frame, who else tries, and what the op's true rule says about it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgspec import Struct

from protocol.frame import Request
from server.router import Op, id_fields
from tests.authorization.actors import PEOPLE, RESIDENTS, ROLES, Actor
from tests.authorization.kinds import Kind, kind
from tests.authorization.ledger import Rows
from tests.authorization.people import Person
from tests.authorization.sample import Sample
from tests.authorization.world import World


class Part(Struct):
    """One op's part of the matrix."""

    world: World
    op: Op
    sample: Sample
    me: Person
    about: str = ""
    before: Rows = {}
    answer: bytes = b""
    ghosts: dict[tuple[str, str], bytes] = {}
    prepared: str | None = None
    cut: bool = False

    @property
    def gates(self) -> set[str]:
        """What the op's true rule asks for."""
        return {gate.__name__ for gate in self.world.rules[self.op.name].gates}

    @property
    def domain(self) -> str:
        return self.op.name.partition(".")[0]

    @property
    def by_key(self) -> bool:
        return "in_scope" in self.gates

    @property
    def ids(self) -> dict[str, Kind]:
        """Fields that a rule binds, and what may stand there: a thing, or one that is looked for in another."""
        rule = self.world.rules[self.op.name]
        kinds = {bind.argument: bind.kind for bind in rule.binds}
        within = {bind.field: f" in {kinds[bind.within]}" for bind in rule.binds if bind.within}
        found = ((field, of + within.get(field, "")) for field, of in id_fields(self.op.frame))
        return {field: kind(of) for field, of in found}

    @property
    def given(self) -> dict[str, Kind]:
        """Those of these fields in which something stands."""
        frame = self.frame
        return {field: of for field, of in self.ids.items() if getattr(frame, field) not in (None, [])}

    @property
    def in_space(self) -> bool:
        """Whether it is about a space, and what is in it."""
        return self.sample.in_space or kind("space") in self.given.values()

    @property
    def actors(self) -> tuple[Actor, ...]:
        """Who else there is."""
        if self.in_space:
            return RESIDENTS
        return PEOPLE + (ROLES if kind("channel") in self.given.values() else ())

    @property
    def frame(self) -> Request[Any]:
        return self.sample.frame(self.world)

    def sees(self, viewer: str, by: str) -> Collection[str]:
        """Whose canaries somebody may see, once somebody has done it."""
        entered = {
            self.sample.enters[one] for one in ("", viewer) if one in self.sample.enters and (one or by == viewer)
        }
        return self.world.sees(viewer) | entered

    def outsider(self, actor: Actor) -> bool:
        """Whether the sample's ids must not exist for an actor."""
        if actor.name in self.sample.insiders or not self.given:
            return False
        if self.sample.outsiders is not None:
            return actor.name in self.sample.outsiders
        return any(actor.name in one.outsiders for one in self.given.values())
