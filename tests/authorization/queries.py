"""SQL in which a condition is missing.

Not here are conditions that keep numbers (how many drafts or pins there may be, the number of a revision), those whose
loss finds more than is looked at, and those that keep what can only change while somebody looks: mutants.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from msgspec import Struct

from storage.pool import Pool, Transaction


class StaleError(Exception):
    """A mutant changes nothing: what it takes away is no longer there."""


class Query(Struct, frozen=True):
    """SQL in which a condition is missing, and the ops (or samples of ops) each of which must notice.

    other: what stands there, if that is not simply `where` without `missing`
    """

    where: str
    missing: str
    ops: tuple[str, ...] = ()
    other: str = ""

    def __str__(self) -> str:
        return f"{self.ops[0]} {'with ' + self.other if self.other else 'without ' + self.missing}"

    @property
    def instead(self) -> str:
        """The same with a condition that is always true, and knows the types of its parameters."""
        if self.other:
            return self.other
        if " OR (" in self.missing or self.missing.endswith(" OR "):
            return self.where.replace(self.missing, "")
        return self.where.replace(self.missing, " AND ".join(_always(self.missing)) or "true")


def _always(condition: str) -> Iterator[str]:
    """What is true of parameters whatever they are, and tells their types."""
    for parameter, cast in re.findall(r"(\$\d)(::\w+(?:\[\])?)?", condition):
        yield f"{parameter}{cast or f'::{_type(condition)}'} IS NOT NULL"


def _type(condition: str) -> str:
    return next((one for words, one in _TYPES.items() if re.search(words, condition)), "uuid")


# What a parameter of a condition is, if not an id.
_TYPES = {
    r"\bkind\b|email|emoji|provider|username": "text",
    r"tries|LIMIT": "int",
    r"seq|head|delivered|cleared|read\b": "bigint",
}


def each(text: str, *ops: str) -> Iterator[Query]:
    """SQL without each of the conditions in braces."""
    before, conditions, after = re.split("[{}]", text)
    for condition in conditions.split(" AND "):
        yield query(before + conditions + after, condition, *ops)


def swap(where: str, other: str, *ops: str) -> Query:
    """SQL that is another."""
    return Query(where, where, ops, other)


def query(where: str, missing: str, *ops: str) -> Query:
    assert where.count(missing) == 1, f"{missing} stands {where.count(missing)} times in {where}"
    return Query(where, missing, ops)


@contextmanager
def queried(query: Query) -> Iterator[None]:
    """The server with one fragment of SQL written otherwise."""
    used = 0

    def mutated(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, text: str, *values: Any) -> Any:
            nonlocal used
            used += query.where in text
            return method(self, text.replace(query.where, query.instead), *values)

        return call

    with ExitStack() as stack:
        for kind in (Pool, Transaction):
            for name in ("fetch", "fetchrow", "fetchval", "execute"):
                stack.enter_context(patch.object(kind, name, mutated(getattr(kind, name))))
        try:
            yield
        finally:
            if not used:
                raise StaleError(f"no query of {query.ops} has {query.where!r}")
