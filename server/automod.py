"""Automod: messages of spaces are looked at before they are stored, by the rules that count there.

Rule 1: what is looked for is known as of the space's structure, under which the author's right to write is decided: a
message is stored under the rules of the moment at which it is stored.
Rule 2: who may only look for something is told nothing of it: authors hear the rule's own words, never what it found.
Rule 3: long texts are looked at beside the event loop, so that nobody else waits for them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct

from protocol.automod import Automod
from protocol.error import Forbidden, Invalid, Refusal
from server import matcher
from server.matcher import Links, Parts, Patterns, Unusable, Words, within
from server.name import skeleton
from storage import automod as rows
from storage.window import Use, Windows

if TYPE_CHECKING:
    from storage.pool import Database

log = logging.getLogger("onesocket.automod")

MOST_RULES, MOST_PATTERNS = 50, 100
_LONG, _LONG_FOR_PATTERNS = 1000, 200  # characters: on the event loop nothing takes longer than a few milliseconds
_WEIGHT, _OF_PATTERN = 1_000_000, 1000  # terms that this process keeps at once, and for how many a pattern counts
_DEFAULT = "a rule of this space does not let this through"
_COUNTED = ("mentions", "repeats", "floods")
_TERMS: dict[str, Callable[[str], Any]] = {
    "words": matcher.phrase,
    "parts": matcher.part,
    "patterns": matcher.pattern,
    "links": matcher.host,
}


def check(rule: Automod) -> None:
    """Refuse a rule that says too little, or what nobody can look for."""
    read = _TERMS.get(rule.kind)
    if read is None and rule.terms:
        raise Invalid(f"{rule.kind} are counted: there is nothing to look for", field="terms")
    if read is not None and not rule.terms and not rule.allow:
        raise Invalid("say what to look for", field="terms")
    if rule.allow and rule.kind != "links":
        raise Invalid("only hosts are allowed", field="allow")
    if rule.kind == "patterns" and len(rule.terms) > matcher.MOST_PATTERNS:
        raise Invalid(f"a rule has at most {matcher.MOST_PATTERNS} patterns", field="terms")
    if read is not None:
        _check_terms(rule.terms, read)
    if rule.kind in _COUNTED and (not rule.most or (not rule.seconds and rule.kind != "mentions")):
        raise Invalid("say more than how many, and in how many seconds", field="most")
    if not (rule.refuse or rule.report or rule.timeout):
        raise Invalid("say what follows: refuse, report or timeout", field="refuse")


def _check_terms(terms: Sequence[str], read: Callable[[str], Any]) -> None:
    for term in terms:
        try:
            read(term)
        except Unusable as reason:
            raise Invalid(str(reason), field="terms") from None


class Case(Struct, frozen=True, eq=False):
    """A message that is looked at: `name` tells it from others of its author; None, if it was counted already."""

    space: UUID
    rules: int
    account: UUID
    channel: UUID
    places: Collection[UUID]
    roles: Collection[UUID]
    text: str
    mentions: int
    name: str | None


class Ruleset:
    """The rules of a space that are in force, made ready; they are known by their place here, as bits."""

    def __init__(self, rules: Sequence[Automod]) -> None:
        self.rules = [rule for rule in rules if rule.enabled]
        self._words, self._parts = Words(self._terms("words")), Parts(self._terms("parts"))
        self._patterns = Patterns(
            (number, term) for number, rule in enumerate(self.rules) if rule.kind == "patterns" for term in rule.terms
        )
        self._links = [
            (1 << number, frozenset(map(matcher.host, rule.terms)), rule.allow)
            for number, rule in enumerate(self.rules)
            if rule.kind == "links"
        ]
        self.long = _LONG_FOR_PATTERNS if self._patterns.steps else _LONG
        self._folds = any(rule.kind in ("words", "parts") for rule in self.rules)
        self._exempt: dict[UUID, int] = {}
        for number, rule in enumerate(self.rules):
            for id in (*rule.roles, *rule.channels):
                self._exempt[id] = self._exempt.get(id, 0) | 1 << number
        count = sum(len(rule.terms) * (_OF_PATTERN if rule.kind == "patterns" else 1) for rule in self.rules)
        self.weight = 1 + count

    def _terms(self, kind: str) -> list[tuple[int, str]]:
        read = matcher.phrase if kind == "words" else matcher.part
        return [
            (number, read(term)) for number, rule in enumerate(self.rules) if rule.kind == kind for term in rule.terms
        ]

    def exempt(self, ids: Iterable[UUID]) -> int:
        """The rules that do not count for who has these roles, in these places."""
        found = 0
        for id in ids:
            found |= self._exempt.get(id, 0)
        return found

    def look(self, text: str) -> int:
        """The rules that find something in a text."""
        found = self._patterns.found(text)
        if self._folds:
            folded = skeleton(text)
            found |= self._words.found(folded) | self._parts.found(folded)
        return found | self._linking(text) if self._links else found

    def _linking(self, text: str) -> int:
        links, found = Links.of(text), 0
        for bit, hosts, allow in self._links:
            if allow:
                hit = any(not within(one, hosts) for one in links.linked)
            else:
                hit = any(within(one, hosts) for one in links.linked | links.named)
            found |= bit if hit else 0
        return found

    def uses(self, case: Case, exempt: int) -> list[tuple[int, Use]]:
        """What is counted of a message, each with the bit of its rule."""
        found = []
        for number, rule in enumerate(self.rules):
            if rule.kind not in _COUNTED or exempt >> number & 1 or not rule.seconds or case.name is None:
                continue
            weight = case.mentions if rule.kind == "mentions" else 1
            if weight:
                key = f"{rule.id}:{case.account}" + (_digest(case.text) if rule.kind == "repeats" else "")
                found.append((number, Use(key, rule.seconds, case.name, weight)))
        return found

    def mentioning(self, case: Case) -> int:
        """The rules for which one message mentions too many."""
        return sum(
            1 << number
            for number, rule in enumerate(self.rules)
            if rule.kind == "mentions" and not rule.seconds and case.mentions > rule.most
        )


def _digest(text: str) -> str:
    return ":" + blake2b("".join(skeleton(text).split()).encode(), digest_size=12).hexdigest()


def refusal(hits: Sequence[Automod]) -> Refusal | None:
    """What the author is told, if one of them refuses."""
    first = next((rule for rule in hits if rule.refuse), None)
    return Forbidden(first.message or _DEFAULT) if first is not None else None


class Judge:
    """Looks at messages, with the rules of spaces that were read last."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._known: OrderedDict[tuple[UUID, int], Ruleset] = OrderedDict()
        self._weight = 0

    async def judge(self, db: Database, cases: Sequence[Case]) -> list[list[Automod]]:
        """The rules that each breaks, in the order of the rules."""
        found: list[int] = []
        counted: list[tuple[int, int, int, Use]] = []
        rulesets = [await self._ruleset(db, case.space, case.rules) for case in cases]
        for number, (case, ruleset) in enumerate(zip(cases, rulesets, strict=True)):
            exempt = ruleset.exempt((*case.roles, *case.places))
            look = ruleset.look
            hits = await asyncio.to_thread(look, case.text) if len(case.text) > ruleset.long else look(case.text)
            found.append((hits | ruleset.mentioning(case)) & ~exempt)
            counted += [(number, bit, ruleset.rules[bit].most, use) for bit, use in ruleset.uses(case, exempt)]
        totals = await self._windows.count([use for *_, use in counted]) if counted else ()
        for (number, bit, most, _), total in zip(counted, totals, strict=True):
            found[number] |= (total > most) << bit
        return [
            [rule for bit, rule in enumerate(ruleset.rules) if hits >> bit & 1]
            for hits, ruleset in zip(found, rulesets, strict=True)
        ]

    async def _ruleset(self, db: Database, space: UUID, number: int) -> Ruleset:
        """Those under a number; if that has moved on they are newer, and what they decide is decided anew."""
        known = self._known.get((space, number))
        if known is not None:
            self._known.move_to_end((space, number))
            return known
        made = await asyncio.to_thread(Ruleset, await rows.of(db, space))
        if (space, number) not in self._known:
            self._known[space, number] = made
            self._weight += made.weight
        while self._weight > _WEIGHT and len(self._known) > 1:
            self._weight -= self._known.popitem(last=False)[1].weight
        return made
