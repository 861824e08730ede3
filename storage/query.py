"""query: what somebody looks for: how it is read, how it is asked, and where it stands in a text.

Rule: what PostgreSQL finds may be too much, never too little: the present words decide, here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from protocol.error import Invalid
from storage import words

_MOST_TERMS = 20
_QUOTES = str.maketrans("“”„‟«»＂＊", '"""""""*')
_TERM = re.compile(r'(-?)"([^"]*)(?:"|$)|(-?)([^\s"]+)')
_NOTHING = "there is no letter, digit or emoji in this: write a word to look for"
_ONLY_NOT = "this says only what should not be found: write also what should"
_SHORT = {
    True: "write at least three letters behind a leading star, as in *abc or *abc*",
    False: "write at least two letters before a star, as in ab*",
}


class Place(Struct, frozen=True):
    """What stands at one place of a term: `at` counts from its beginning."""

    at: int
    text: str
    open_left: bool = False  # something may stand before it in the same word
    open_right: bool = False

    def fits(self, token: str) -> bool:
        """Whether a word is one like this; parts are those of words that are listed."""
        if self.open_left and token != self.text:
            if not words.listed(token):
                return False
            return self.text in token if self.open_right else token.endswith(self.text)
        return token.startswith(self.text) if self.open_right else token == self.text


class Term(Struct, frozen=True):
    """A word or phrase that should stand there, or should not."""

    places: tuple[Place, ...]
    unwanted: bool = False


class Query(Struct, frozen=True):
    """All of them, and what else a message has to have (see words.py)."""

    terms: tuple[Term, ...]
    marks: tuple[str, ...] = ()
    any: tuple[str, ...] = ()  # of these marks one is enough

    @property
    def parts(self) -> list[str]:
        """Parts of words that are to be looked up in the list of words."""
        return [place.text for term in self.terms for place in term.places if place.open_left]


def parse(text: str, marks: Sequence[str] = ()) -> Query:
    """Read what somebody has written; `Invalid` says what to write instead."""
    found = [term for one in _TERM.finditer(text.translate(_QUOTES)) if (term := _term(one)) is not None]
    if len(found) > _MOST_TERMS:
        raise Invalid(f"at most {_MOST_TERMS} words or phrases: leave some out", field="text")
    if not found and (text.strip() or not marks):
        raise Invalid(_NOTHING, field="text")
    if not marks and all(term.unwanted for term in found):
        raise Invalid(_ONLY_NOT, field="text")
    return Query(tuple(found), tuple(marks))


def check(wanted: Sequence[str]) -> None:
    """That there is something to look for."""
    if not wanted:
        raise Invalid(_NOTHING, field="text")


def _term(found: re.Match[str]) -> Term | None:
    minus, inner = (found[1], found[2]) if found[2] is not None else (found[3], found[4])
    places, at = list[Place](), 0
    for chunk in inner.split():
        some, length = _places(words.fold(chunk.strip("*")))
        places += [msgspec.structs.replace(one, at=at + one.at) for one in _opened(chunk, some)]
        at += length
    return Term(tuple(places), unwanted=bool(minus)) if places else None


def _opened(chunk: str, places: list[Place]) -> list[Place]:
    """With the stars at both ends of it; of scripts without spaces every part is found anyway."""
    if not places:
        return []
    if chunk.startswith("*") and not _dense(places[0].text):
        places[0] = msgspec.structs.replace(places[0], open_left=True)
    if chunk.endswith("*") and not _dense(places[-1].text):
        places[-1] = msgspec.structs.replace(places[-1], open_right=True)
    for one in places:
        if (one.open_left or one.open_right) and not _dense(one.text) and len(one.text) < 2 + one.open_left:
            raise Invalid(_SHORT[one.open_left], field="text")
    return places


def _dense(text: str) -> bool:
    return any(dense for _, dense, _, _ in words.pieces(text))


def _places(folded: str) -> tuple[list[Place], int]:
    """What has to stand where, and how many places that are."""
    found, at = list[Place](), 0
    for piece, dense, _, _ in words.pieces(folded):
        if not dense:
            found.append(Place(at, piece[: words.LONGEST]))
            at += 1
            continue
        pairs = [Place(at + number, piece[number : number + 2]) for number in range(len(piece) - 1)]
        found += pairs or [Place(at, piece, open_right=True)]
        at += len(piece)
    return found, at


# As PostgreSQL is asked


class Asked(Struct, frozen=True):
    """A tsquery ("" for none), and patterns for what it cannot tell: `indexed`, whether there is an index to use."""

    words: str
    patterns: list[str]
    indexed: bool


def asked(query: Query, expanded: Mapping[str, Sequence[str] | None]) -> Asked:
    """`expanded`: the words that contain a part; None for too many of them."""
    wanted, unwanted, patterns = [f"'{mark}'" for mark in query.marks], list[str](), list[str]()
    for term in query.terms:
        many = [place for place in term.places if place.open_left and expanded[place.text] is None]
        if not many:
            (unwanted if term.unwanted else wanted).append(_phrase(term, expanded))
        elif not term.unwanted:
            patterns += [f"%{place.text}%" for place in many]
            wanted += [_operand(place, expanded) for place in term.places if place not in many]
    if query.any:
        wanted.append("(" + " | ".join(f"'{mark}'" for mark in query.any) + ")")
    text = " & ".join([*wanted, *(f"!({one})" for one in unwanted)])
    return Asked(text, patterns, bool(wanted))


def _phrase(term: Term, expanded: Mapping[str, Sequence[str] | None]) -> str:
    text, last = "", 0
    for place in term.places:
        text += (f" <{place.at - last}> " if text else "") + _operand(place, expanded)
        last = place.at
    return f"({text})"


def _operand(place: Place, expanded: Mapping[str, Sequence[str] | None]) -> str:
    if place.open_left:
        fitting = [word for word in expanded[place.text] or () if place.fits(word)]
        return "(" + " | ".join(f"'{word}'" for word in dict.fromkeys([place.text, *fitting])) + ")"
    return f"'{place.text}':*" if place.open_right else f"'{place.text}'"


# As it is decided

_CLUSTER = re.compile(
    ".[\u0300-\u036f\u0591-\u05c7\u0610-\u065f\u0670\u1160-\u11ff\u200b-\u200f\u3099\u309a\ufe00-\ufe0f\uff9e\uff9f]*",
    re.DOTALL,
)
_Range = tuple[int, int]


def matches(query: Query, text: str) -> list[_Range] | None:
    """Where in a text stand the words that are looked for, in order; None when it is not what is looked for."""
    folded = words.fold(text)
    tokens, spans = _tokens(folded)
    found: set[_Range] = set()
    for term in query.terms:
        starts = [at for at in range(len(tokens) - term.places[-1].at) if _fits(term, tokens, at)]
        if bool(starts) == term.unwanted:
            return None
        found |= {_cut(place, spans[at + place.at]) for at in starts for place in term.places}
    origins = _origins(text, folded)
    return _merged(sorted((origins[first][0], origins[last - 1][1]) for first, last in found)) if origins else []


def _fits(term: Term, tokens: Sequence[str], at: int) -> bool:
    return all(place.fits(tokens[at + place.at]) for place in term.places)


def _cut(place: Place, span: _Range) -> _Range:
    """Of scripts without spaces only what was looked for, not what follows."""
    return (span[0], span[0] + len(place.text)) if place.open_right and _dense(place.text) else span


def _origins(text: str, folded: str) -> list[_Range]:
    """Of each character of a folded text where it comes from; of none where that cannot be told."""
    if text.isascii():
        return [(at, at + 1) for at in range(len(text))]
    found, joined = list[_Range](), list[str]()
    for cluster in _CLUSTER.finditer(text):
        part = words.fold(cluster[0])
        joined.append(part)
        found += [cluster.span()] * len(part)
    return found if "".join(joined) == folded else []


def _tokens(folded: str) -> tuple[list[str], list[_Range]]:
    """The same as in words.py, and where each stands."""
    tokens, spans = list[str](), list[_Range]()
    for piece, dense, first, last in words.pieces(folded):
        if dense:
            tokens += [piece[at : at + 2] for at in range(len(piece))]
            spans += [(first + at, min(first + at + 2, last)) for at in range(len(piece))]
        else:
            tokens.append(piece[: words.LONGEST])
            spans.append((first, last))
    return tokens, spans


def _merged(ranges: Sequence[_Range]) -> list[_Range]:
    found: list[_Range] = []
    for first, last in ranges:
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found
