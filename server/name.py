"""Names that people can tell apart.

Rule: two names that look alike are the same name: they are compared by what they look like (compatibility form, case
folded, look-alike letters of other scripts replaced), and a name may not mix scripts that are confused.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from protocol.error import Invalid

_JOINERS = "_.-"
_RESERVED = frozenset({"everyone", "here", "system", "onesocket", "deleted", "admin", "owner", "support"})


def clean(name: str) -> str:
    """The name as it is kept; `Invalid` when it has other characters than letters, digits and single joiners."""
    name = unicodedata.normalize("NFKC", name).strip()
    letters = [c for c in name if unicodedata.category(c)[0] in "LN"]
    allowed = all(unicodedata.category(c)[0] in "LMN" or c in _JOINERS for c in name)
    if not allowed or not letters or unicodedata.category(name[0])[0] not in "LN":
        raise Invalid("a username has letters, digits and `_ . -`, and begins with a letter or digit", field="username")
    if not 2 <= len(name) <= 32:
        raise Invalid("a username has 2 to 32 characters", field="username")
    if look(name) in _RESERVED:
        raise Invalid("this name is reserved", field="username")
    return name


def look(name: str) -> str:
    """What the name looks like; equal for names that would be taken for each other."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    skeleton = "".join(_latin(c) for c in unicodedata.normalize("NFD", folded))
    bare = "".join(c for c in skeleton if unicodedata.category(c) != "Mn" or ord(c) > 0x36F)
    return unicodedata.normalize("NFC", bare).casefold().replace("0", "o").replace("1", "l").replace("i", "l")


@lru_cache(4096)
def _latin(character: str) -> str:
    """The Latin letter that a character is taken for, else itself."""
    if character.isascii():
        return character
    from confusable_homoglyphs import confusables

    found = confusables.is_confusable(character, greedy=True, preferred_aliases=[])
    options = [one["c"] for entry in found or () for one in entry["homoglyphs"] if one["c"].isascii()]
    return min(options, key=lambda c: (not c.isalnum(), len(c), c)).casefold() if options else character
