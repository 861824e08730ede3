"""Names that people can tell apart.

Rule: two names that look alike are the same name: they are compared by what they look like (compatibility form, case
folded, accents dropped, look-alike letters of other scripts replaced).
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from protocol.error import Invalid

_JOINERS = "_.-"
_RESERVED = ("everyone", "here", "system", "onesocket", "deleted", "admin", "owner", "support")
# Letters and marks that show nothing at all: Hangul fillers, Khmer inherent vowels, variation selectors.
_INVISIBLE = frozenset(
    map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, 0xFFA0))
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
# Marks put onto letters of any script; those of other blocks are vowels, without which a word is another one.
_DECORATION = ((0x300, 0x36F), (0x483, 0x489), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F))


def clean(name: str) -> str:
    """The name as it is kept; `Invalid` when it has other characters than letters, digits and single joiners."""
    name = unicodedata.normalize("NFKC", name).strip()
    letters = [c for c in name if unicodedata.category(c)[0] in "LN"]
    allowed = all(unicodedata.category(c)[0] in "LMN" or c in _JOINERS for c in name) and not _INVISIBLE & set(name)
    if not allowed or not letters or unicodedata.category(name[0])[0] not in "LN":
        raise Invalid("a username has letters, digits and `_ . -`, and begins with a letter or digit", field="username")
    if not 2 <= len(name) <= 32:
        raise Invalid("a username has 2 to 32 characters", field="username")
    if look(name) in map(look, _RESERVED):
        raise Invalid("this name is reserved", field="username")
    return name


def look(name: str) -> str:
    """What the name looks like; equal for names that would be taken for each other."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    skeleton = "".join(_latin(c) for c in unicodedata.normalize("NFD", folded))
    bare = "".join(c for c in skeleton if not any(first <= ord(c) <= last for first, last in _DECORATION))
    return unicodedata.normalize("NFC", bare).casefold().replace("0", "o").replace("1", "l").replace("i", "l")


def skeleton(text: str) -> str:
    """The same of a text however long, without what shows nothing at all."""
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold()).translate(_table())
    return unicodedata.normalize("NFC", folded).casefold().translate(_DIGITS)


_DIGITS = str.maketrans("01i", "oll")


@lru_cache(1)
def _table() -> dict[int, str | None]:
    """What becomes of each character: look-alikes are letters, and decorations and what shows nothing are gone."""
    from confusable_homoglyphs import confusables

    known = {character for character in confusables.confusables_data if len(character) == 1}
    table: dict[int, str | None] = {ord(one): _latin.__wrapped__(one) for one in known if not one.isascii()}
    unseen = (code for code in (*range(0x20000), *range(0xE0000, 0xE1000)) if unicodedata.category(chr(code)) == "Cf")
    decorations = (code for first, last in _DECORATION for code in range(first, last + 1))
    return table | dict.fromkeys([*unseen, *decorations, *map(ord, _INVISIBLE)])


@lru_cache(4096)
def _latin(character: str) -> str:
    """The Latin letter that a character is taken for, else the first of those it is taken for."""
    if character.isascii():
        return character
    from confusable_homoglyphs import confusables

    options: list[str] = [one["c"] for one in confusables.confusables_data.get(character, ())]
    latin = [one for one in options if one.isascii()]
    if latin:
        return min(latin, key=lambda c: (not c.isalnum(), len(c), c)).casefold()
    return min([character, *(one for one in options if len(one) == 1)])
