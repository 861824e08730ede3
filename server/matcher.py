"""What is looked for in messages: words, parts of words, patterns and links; how much there is to look for is bounded.

Rule 1: the time it takes grows with the length of the text alone, whatever the text and whatever is looked for: tables
        for words and parts, and an engine without backtracking for patterns (RE2).
Rule 2: words and parts are compared by what they look like, as names are.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from server.name import skeleton

MOST_PATTERNS, _LONGEST_PATTERN, _MOST_STEPS = 20, 200, 1000
_START, _LONGEST_PART, _LONGEST_PHRASE = 2, 32, 4
_HOST = 253
_MEMORY = 1 << 18
_WORD = re.compile(r"\w+")
_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"]+", re.I)
_NAMED = re.compile(r"(?<![\w.-])[\w-]+(?:\.[\w-]+)+")


class Unusable(ValueError):
    """A term that cannot be looked for, and why."""


# Words


def phrase(term: str) -> str:
    """A term as whole words."""
    words = _WORD.findall(skeleton(term))
    if not 0 < len(words) <= _LONGEST_PHRASE:
        raise Unusable(f"a term has one to {_LONGEST_PHRASE} words")
    return " ".join(words)


def part(term: str) -> str:
    """A term as part of words."""
    found = skeleton(term).strip()
    if not 2 <= len(found) <= _LONGEST_PART:
        raise Unusable(f"a part of a word has 2 to {_LONGEST_PART} letters")
    return found


class Words:
    """Whole words and phrases, each of some rules; these are bits."""

    def __init__(self, terms: Iterable[tuple[int, str]]) -> None:
        self._rules = _by_term(terms)
        self._lengths = sorted({term.count(" ") + 1 for term in self._rules})

    def found(self, text: str) -> int:
        """The rules of those that are in a text that was folded."""
        words = _WORD.findall(text)
        found = 0
        for length in self._lengths:
            said = set(words) if length == 1 else {" ".join(some) for some in _runs(words, length)}
            for term in said & self._rules.keys():
                found |= self._rules[term]
        return found


def _runs(words: Sequence[str], length: int) -> Iterator[Sequence[str]]:
    return (words[at : at + length] for at in range(len(words) - length + 1))


def _by_term(terms: Iterable[tuple[int, str]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for rule, term in terms:
        found[term] = found.get(term, 0) | 1 << rule
    return found


class Parts:
    """Parts of words, each of some rules, in order.

    Of those that something begins with, the last one not behind it begins with all the others: one look finds them.
    """

    def __init__(self, terms: Iterable[tuple[int, str]]) -> None:
        rules = _by_term(terms)
        self._terms = sorted(rules)
        self._starts = {term[:_START] for term in self._terms}
        self._longest = max(map(len, self._terms), default=0)
        self._above: list[int] = []  # of each the longest that it begins with, -1 for none
        self._rules: list[int] = []  # its own, and those of all that it begins with
        chain: list[int] = []
        for number, term in enumerate(self._terms):
            while chain and not term.startswith(self._terms[chain[-1]]):
                chain.pop()
            self._above.append(chain[-1] if chain else -1)
            self._rules.append(rules[term] | (self._rules[chain[-1]] if chain else 0))
            chain.append(number)

    def found(self, text: str) -> int:
        """The rules of those that are in a text that was folded."""
        starts, longest, found = self._starts, self._longest, 0
        places = [at for at in range(len(text)) if text[at : at + _START] in starts]
        for window in {text[at : at + longest] for at in places}:
            found |= self._beginning(window)
        return found

    def _beginning(self, window: str) -> int:
        number = bisect_right(self._terms, window) - 1
        while number >= 0 and not window.startswith(self._terms[number]):
            number = self._above[number]
        return self._rules[number] if number >= 0 else 0


# Patterns


def pattern(term: str) -> Any:
    """A pattern that is looked for anywhere, without regard to case."""
    import re2

    if len(term) > _LONGEST_PATTERN:
        raise Unusable(f"a pattern has at most {_LONGEST_PATTERN} characters")
    options = re2.Options()
    options.max_mem, options.case_sensitive, options.never_capture, options.log_errors = _MEMORY, False, True, False
    try:
        found = re2.compile(term, options)
    except re2.error as error:
        raise Unusable(f"this is no pattern: {_words(error)}") from None
    if found.programsize > _MOST_STEPS:
        raise Unusable("this pattern is too large: repeat less")
    if found.search(""):
        raise Unusable("this pattern is in every text")
    return found


def _words(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)


class Patterns:
    """Patterns, each of a rule."""

    def __init__(self, terms: Iterable[tuple[int, str]]) -> None:
        self._patterns = [(rule, pattern(term)) for rule, term in terms]
        self.steps = sum(one.programsize for _, one in self._patterns)

    def found(self, text: str) -> int:
        """The rules of those that a text matches; of a rule one is enough."""
        found = 0
        for rule, one in self._patterns:
            if not found >> rule & 1 and one.search(text):
                found |= 1 << rule
        return found


# Links


def host(term: str) -> str:
    """A host, as links to it are compared."""
    found = _plain(term.removeprefix("*.").strip("."))
    if not found or len(found) > _HOST or not _NAMED.fullmatch(found):
        raise Unusable("a host is written like example.org")
    return found


def _plain(name: str) -> str:
    """A host as it is compared: what looks like dots and digits are some, and other scripts are as in links."""
    folded = unicodedata.normalize("NFKC", name).casefold().replace("\u3002", ".")
    try:
        return folded.encode("idna").decode() if not folded.isascii() else folded
    except UnicodeError:
        return folded


class Links(Struct, frozen=True):
    """The hosts that a text names: in links, and also by name alone."""

    linked: frozenset[str]
    named: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Links:
        """Those of a text as it was written."""
        text = unicodedata.normalize("NFKC", text)
        linked = frozenset(filter(None, map(_host_of, _URL.findall(text))))
        return cls(linked, frozenset(_plain(name[-_HOST:]) for name in _NAMED.findall(text)))


def _host_of(url: str) -> str:
    try:
        name = urlsplit(url if "://" in url else f"//{url}").hostname or ""
    except ValueError:
        return "?"
    return _plain(name.strip(".")[-_HOST:])


def within(name: str, hosts: frozenset[str]) -> bool:
    """Whether a host is one of these, or below one."""
    labels = name.split(".")
    return any(".".join(labels[at:]) in hosts for at in range(len(labels)))
