"""What somebody has to say about an op, so that the matrix can play it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from protocol.frame import Request

if TYPE_CHECKING:
    from tests.authorization.world import World

Making = Callable[["World"], Request[Any]]


def _anything(reply: Any) -> bool:
    return True


class Wrong(Struct, frozen=True):
    """A frame that is refused even to who may call the op, or (code `ok`) answered as if it had worked.

    `prepare` is SQL that makes it wrong (`$1`: the account); `burns`: tables whose rows such a try may use up; `by`
    is who tries, when that is not who may.
    """

    code: str
    frame: Making
    prepare: str = ""
    burns: tuple[str, ...] = ()
    by: str = ""


class Sample(Struct, frozen=True):
    """The frame with which `by` succeeds, and what is special about the op.

    by: the person who may, in person; for a public op, the person whose secret is in the frame
    prepare: SQL that it takes (`$1`: the account of `by`)
    sits: who sits in which voice channel, or in `CALL` (rooms.py)
    first: what somebody else asks before that
    wrong: what is refused to `by` as well
    touches: whose rows it changes besides the actor's own (`World.owners`); None is nobody's: the frame holds a secret
    told: who is told of which event, and nobody else
    in_space: whether residents of a space try, because it is about something there
    hears: whether it takes a socket that hears messages
    unbound: fields with ids that no rule binds, and of what kind: refused in the same way
    reaches: hidden ids of kinds.py that this op may reach nevertheless
    outsiders: actors for whom its ids are hidden; not given: those that the kind of id names
    insiders: actors who may as well, although the kind of id hides it from them
    enters: who is in which channel when it is done; "" is whoever does it
    refused: actors who see the thing but may not do this, and the code that they are told
    missing: what one is told where there is nothing behind an id, and so where that is hidden
    shows: whose public side one sees, although they block or are blocked, and which canaries that are nobody's own
    shows_told: which canaries those see who are told of it
    shows_own_words: whether one sees what one has said oneself, also what one does not want to see
    shows_blocked: whether one sees whom one has blocked
    proves: whether a reply is what it should be
    sends: whether the events that came before the reply are what they should be
    """

    frame: Making
    by: str = "ann"
    prepare: str = ""
    sits: Mapping[str, tuple[str, ...]] = {}
    first: tuple[str, Making] | None = None
    wrong: Mapping[str, Wrong] = {}
    touches: frozenset[str | None] = frozenset()
    told: Mapping[str, frozenset[str]] = {}
    in_space: bool = False
    hears: bool = False
    unbound: Mapping[str, str] = {}
    reaches: frozenset[str] = frozenset()
    outsiders: frozenset[str] | None = None
    insiders: frozenset[str] = frozenset()
    enters: Mapping[str, str] = {}
    refused: Mapping[str, str] = {}
    missing: str = "missing"
    shows: frozenset[str] = frozenset()
    shows_told: frozenset[str] = frozenset()
    shows_own_words: bool = False
    shows_blocked: bool = False
    proves: Callable[[Any], bool] = _anything
    sends: Callable[[list[Any]], bool] = _anything


def samples(op: str) -> dict[str, Sample]:
    """The samples of an op: the first under "", others under what they are about."""
    domain, _, short = op.partition(".")
    where = f"tests/authorization/samples/{domain}.py"
    try:
        found = importlib.import_module(f"tests.authorization.samples.{domain}").SAMPLES
    except ModuleNotFoundError:
        found = {}
    assert short in found, f"{op} has no sample: add the frame with which it succeeds to SAMPLES in {where}"
    others = {name.partition(": ")[2]: one for name, one in found.items() if name.startswith(f"{short}: ")}
    return {"": found[short], **others}
