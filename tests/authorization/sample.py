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

    `prepare` is SQL that makes it wrong (`$1`: the account); `burns`: tables whose rows such a try may use up.
    """

    code: str
    frame: Making
    prepare: str = ""
    burns: tuple[str, ...] = ()


class Sample(Struct, frozen=True):
    """The frame with which `by` succeeds, and what is special about the op.

    by: the person who may, in person; for a public op, the person whose secret is in the frame
    prepare: SQL that it takes (`$1`: the account of `by`)
    wrong: what is refused to `by` as well
    touches: whose rows it changes besides the actor's own; None is nobody's: the frame holds a secret that counts
    reaches: hidden ids of kinds.py that this op may reach nevertheless
    outsiders: actors for whom its ids are hidden; not given: those that the kind of id names
    insiders: actors who may as well, although the kind of id hides it from them
    shows_blocked: whether one sees whom one has blocked
    proves: whether a reply is what it should be
    """

    frame: Making
    by: str = "ann"
    prepare: str = ""
    wrong: Mapping[str, Wrong] = {}
    touches: frozenset[str | None] = frozenset()
    reaches: frozenset[str] = frozenset()
    outsiders: frozenset[str] | None = None
    insiders: frozenset[str] = frozenset()
    shows_blocked: bool = False
    proves: Callable[[Any], bool] = _anything


def sample(op: str) -> Sample:
    """The sample of an op."""
    domain, _, short = op.partition(".")
    where = f"tests/authorization/samples/{domain}.py"
    try:
        samples = importlib.import_module(f"tests.authorization.samples.{domain}").SAMPLES
    except ModuleNotFoundError:
        samples = {}
    assert short in samples, f"{op} has no sample: add the frame with which it succeeds to SAMPLES in {where}"
    found: Sample = samples[short]
    return found
