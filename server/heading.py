"""What a page says of itself: title, description, site and picture, from its first part.

Rule 1: in one pass: however a page is made, its time grows with its length. Only the tags that matter reach the
standard library's parser, one by one, and each is short.
Rule 2: what is found is text: one line, of bounded length, with nothing invisible in it, and URLs of http and https.
"""

from __future__ import annotations

import codecs
import html
import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from msgspec import Struct

TITLE, DESCRIPTION, SITE, URL = 200, 500, 80, 2048
_TAG, _LOOKED = 4096, 32 * 1024
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")
_DECLARED = re.compile(rb"<meta[^>]{0,100}?charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([a-zA-Z0-9_:.-]{2,40})", re.I)
# As browsers read names; all other names are UTF-8 to us.
_CODECS = {
    "cp1252": "iso-8859-1 latin1 ascii us-ascii windows-1252 cp1252",
    "cp1254": "iso-8859-9 windows-1254",
    "cp874": "windows-874 tis-620",
    "cp932": "shift_jis sjis windows-31j",
    "euc_jp": "euc-jp",
    "iso2022_jp": "iso-2022-jp",
    "gb18030": "gb2312 gbk gb18030",
    "big5hkscs": "big5",
    "cp949": "euc-kr",
    "utf-16-le": "utf-16 utf-16le",
    "utf-16-be": "utf-16be",
    "koi8-r": "koi8-r",
    "koi8-u": "koi8-u",
    **{f"cp125{digit}": f"windows-125{digit}" for digit in (0, 1, 3, 5, 6, 7, 8)},
    **{f"iso8859-{number}": f"iso-8859-{number}" for number in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
}
_CHARSETS = {name: codec for codec, names in _CODECS.items() for name in names.split()}
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_TITLES = ("og:title", "twitter:title")
_DESCRIPTIONS = ("og:description", "twitter:description", "description")
_SITES = ("og:site_name", "application-name")
_IMAGES = ("og:image:secure_url", "og:image:url", "og:image", "twitter:image", "twitter:image:src")
_WANTED = frozenset((*_TITLES, *_DESCRIPTIONS, *_SITES, *_IMAGES))
# What may hold things that look like tags, and how it ends.
_SKIPPED = {"script": "</script", "style": "</style", "noscript": "</noscript", "template": "</template"}
_SKIPPED |= {"textarea": "</textarea", "iframe": "</iframe", "svg": "</svg"}
_LOWER = {letter: letter + 32 for letter in range(ord("A"), ord("Z") + 1)}  # and nothing else: places stay the same
_LOOKED_AT = re.compile(rf"<(!--|(?:meta|title|body|{'|'.join(_SKIPPED)})(?![a-z0-9-]))")
_META = re.compile(r"""<meta(?:[^>"']++|"[^"]*+"|'[^']*+')*+>""")
_WORTH_IT = re.compile("og:|twitter:|description|application-name")


class Heading(Struct, frozen=True):
    """What was found."""

    title: str | None = None
    description: str | None = None
    site: str | None = None
    image: str | None = None


def heading(body: bytes, charset: str, url: str) -> Heading:
    """What a page says of itself."""
    said, title = _said(text(body, charset))
    return Heading(
        title=line(_first(said, _TITLES) or title, TITLE),
        description=line(_first(said, _DESCRIPTIONS), DESCRIPTION),
        site=line(_first(said, _SITES), SITE),
        image=_picture(_first(said, _IMAGES), url),
    )


def text(body: bytes, charset: str) -> str:
    """Decoded by its mark, by what the server said, by what the page says, in this order."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    declared = _DECLARED.search(body[:2048])
    if not charset and declared is not None:
        charset = declared[1].decode("ascii")
        if charset.lower().startswith("utf-16"):  # it could not have been read
            charset = "utf-8"
    return body.decode(_CHARSETS.get(charset.lower(), "utf-8"), "replace")


def line(found: str | None, longest: int) -> str | None:
    """One line of text, None for nothing."""
    words = " ".join(_INVISIBLE.sub(" ", (found or "")[: 8 * longest]).split())
    return (words if len(words) <= longest else words[: longest - 1].rstrip() + "…") or None


class _Attributes(HTMLParser):
    """The attributes of one tag."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found = {name: value or "" for name, value in reversed(attrs)}  # the first of a name counts


def _said(page: str) -> tuple[dict[str, str], str | None]:
    """The first of each wanted property, and the title."""
    said: dict[str, str] = {}
    title: str | None = None
    at, looked_at, low = 0, 0, page.translate(_LOWER)
    while looked_at < _LOOKED and (found := _LOOKED_AT.search(low, at)) is not None:
        name, at = found[1], found.start()
        if name in _SKIPPED:
            at = _behind(low, _SKIPPED[name], found.end())
        elif name == "!--":
            at = _behind(page, "-->", found.end())
        elif name == "meta":
            end = _end_of_tag(low, at)
            if _WORTH_IT.search(low, at, end):
                _note(page[at:end], said)
                looked_at += end - at
            at = end
        elif name == "title" and title is None:
            start = _behind(page, ">", at)
            at = _behind(low, "</title", start)
            title = html.unescape(page[start : min(at, start + 8 * TITLE)].partition("<")[0])
        elif name == "body" and said:
            break
        else:
            at = found.end()
    return said, title


def _behind(page: str, end: str, at: int) -> int:
    """The place behind the next `end`, or the end of the page."""
    found = page.find(end, at)
    return len(page) if found < 0 else found + len(end)


def _end_of_tag(low: str, at: int) -> int:
    """Behind the `>` that is in no quotes; where the quotes do not match, behind the first."""
    limit = at + _TAG
    if (whole := _META.match(low, at, limit)) is not None:
        return whole.end()
    end = low.find(">", at, limit)
    return limit if end < 0 else end + 1


def _note(tag: str, said: dict[str, str]) -> None:
    parser = _Attributes()
    parser.feed(tag)
    found = parser.found
    for key in ("property", "name", "itemprop"):
        wanted = found.get(key, "").strip().lower()
        if wanted in _WANTED and found.get("content", "").strip():
            said.setdefault(wanted, found["content"])


def _first(said: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((said[name] for name in names if name in said), None)


def _picture(found: str | None, url: str) -> str | None:
    """A picture's URL as it may be shown to clients, None for what is none."""
    try:
        whole = urljoin(url, (found or "").strip())
        parts = urlsplit(whole)
        known = found and parts.scheme in ("http", "https") and parts.hostname and parts.username is None
    except ValueError:
        return None
    return whole if known and len(whole) <= URL and re.fullmatch(r"[\x21-\x7e]+", whole) else None
