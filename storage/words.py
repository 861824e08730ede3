"""words: what a text is found by, in whatever language, without being told which.

Words are runs of letters and digits, without case and accents. Scripts that set no spaces (Chinese, Japanese, Korean,
Thai and their neighbours) give every two characters in a row, so that any part of what is written there is found; the
last character of a run stands for itself. Emoji are words.

Rule: what is searched for is cut by the same functions as what is stored.
"""

from __future__ import annotations

import re
import unicodedata
from binascii import b2a_base64
from collections.abc import Iterator
from functools import lru_cache
from operator import add
from uuid import UUID

from protocol.message import Message

LONGEST = 64  # of a word that is longer this is what it is found by
_PLAIN = re.compile(r"[a-z0-9]+")
# Accents of European scripts, points of Hebrew and Arabic, and what joins or parts letters without being seen. Marks of
# other scripts are vowels: there they stay.
_LOST = re.compile(
    "[\u00ad\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff\u200b-\u200f\u2060\u20d0-\u20f0\ufe00-\ufe2f]+"
)
_ALIKE = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "ı": "i", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe"}
    | {chr(letter): chr(letter - 0x60) for letter in (*range(0x30A1, 0x30F7), 0x30FD, 0x30FE)}  # katakana: hiragana
)
_DENSE = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0f40-\u0fbc\u1000-\u103f\u1050-\u108f\u1100-\u11ff\u1780-\u17d3"
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u3131-\u318e\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
_EMOJI = "\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
_ANY = re.compile(
    rf"(?P<dense>[{_DENSE}]+)|(?P<emoji>[{_EMOJI}])"
    rf"|(?:(?![{_DENSE}{_EMOJI}])[^\W_]|[\u0730-\u074a\u07a6-\u07b0\u0900-\u0963\u0966-\u096f\u0971-\u0dff])+"
)
_LINK = re.compile(r"\b(?:https?://|www\.)\w", re.IGNORECASE)


def fold(text: str) -> str:
    """The same without case and accents, and with one way to write what can be written in several."""
    if text.isascii():
        return text.lower()
    bare = _LOST.sub("", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFC", bare).translate(_ALIKE)


def pieces(folded: str) -> Iterator[tuple[str, bool, int, int]]:
    """Runs in a folded text: what it is, whether it is of a script without spaces, and where it begins and ends."""
    for found in (_PLAIN if folded.isascii() else _ANY).finditer(folded):
        yield found[0], found.lastgroup == "dense", found.start(), found.end()


def tokens(folded: str) -> list[str]:
    """What stands at each place of a folded text, in order."""
    if folded.isascii():
        words = _PLAIN.findall(folded)
        return [word[:LONGEST] for word in words] if len(folded) > LONGEST else words
    found: list[str] = []
    for piece, dense, _, _ in pieces(folded):
        if dense:
            found += [piece[at : at + 2] for at in range(len(piece))]
        else:
            found.append(piece[:LONGEST])
    return found


_LISTED = re.compile(r"(?!(?:\D*\d){4}).{4,40}")


def listed(token: str) -> bool:
    """Whether it is kept in the list of words, where parts are looked for: not numbers and ids, which never end."""
    return _LISTED.fullmatch(token) is not None


def grams(word: str) -> list[str]:
    """Every three letters in a row."""
    return [word[at : at + 3] for at in range(len(word) - 2)]


# What is no word; no word begins like these


@lru_cache(10_000)
def author(account: UUID) -> str:
    """Who has written it."""
    return "@" + _short(account)


def mention(one: UUID) -> str:
    """Who is mentioned, or which role."""
    return "!" + _short(one)


ANY_HASHTAG = "'#':*"  # as PostgreSQL is asked


def hashtag(tag: str) -> str:
    """How it is tagged."""
    return "#" + "".join(character for character in fold(tag) if character.isalnum())


def having(what: str) -> str:
    """That it has a link, a mention…"""
    return "+" + what


def _short(id: UUID) -> str:
    return b2a_base64(id.bytes)[:22].decode()


def marks(message: Message) -> list[str]:
    """What a message has besides words."""
    found = [author(message.author)]
    if message.mentions or message.mention_roles or message.mention_everyone:
        found += [having("mention"), *map(mention, (*message.mentions, *message.mention_roles))]
        if message.mention_roles:
            found.append(having("role"))
        if message.mention_everyone:
            found.append(having("everyone"))
    if message.hashtags:
        found += map(hashtag, message.hashtags)
    if message.reply_to:
        found.append(having("reply"))
    if message.pinned_at:
        found.append(having("pin"))
    text = message.text
    if ("://" in text or "ww." in text or "WW." in text) and _LINK.search(text):
        found.append(having("link"))
    return found


_NUMBERS = [f":{place}" for place in range(1, 1 + 2**14)]  # further places are the last one to PostgreSQL


def document(message: Message) -> tuple[str, list[str]]:
    """What a message is found by, as PostgreSQL reads a tsvector; and its words."""
    found = tokens(fold(message.text))
    placed = list(map(add, found, _NUMBERS))
    return " ".join(placed + marks(message)), found
