"""What a file is by its content. What it is called, and what its sender says, is believed nowhere.

Rule 1: the list is short: whatever is not on it is bytes to save, never shown by a browser. So SVG and HTML are bytes.
Rule 2: a beginning only says which decoder has to accept the whole: a file that is two things at once is refused by
it, or written anew without the other one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from server.media.job import OTHER

HEAD = 4096
_PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
_FILMS = frozenset({"video/mp4", "video/quicktime", "video/webm"})
_SOUNDS = frozenset({"audio/ogg", "audio/mpeg", "audio/mp4", "audio/webm", "audio/flac", "audio/wav"})
_SAME = {"image/jpg": "image/jpeg", "image/apng": "image/png", "audio/mp3": "audio/mpeg", "audio/x-m4a": "audio/mp4"}
_BRANDS = {
    "image/avif": (b"avif", b"avis"),
    "audio/mp4": (b"M4A ", b"M4B "),
    "video/quicktime": (b"qt  ",),
    "video/mp4": (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"dash", b"M4V ", b"MSNV"),
}
_KEPT = re.compile(r"[^\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_LONGEST_NAME = 120


def head(path: Path) -> bytes:
    """The beginning of a file."""
    with path.open("rb") as file:
        return file.read(HEAD)


def sniff(start: bytes) -> str:
    """The type of what begins like this."""
    return next((kind for kind, matches in _SIGNATURES if matches(start)), OTHER)


def family(kind: str) -> str:
    """`image`, `film` (video or audio: they share containers) or `other`."""
    return "image" if kind in _PICTURES else "film" if kind in _FILMS | _SOUNDS else "other"


def known(declared: str) -> str | None:
    """A declared type in our words, None for one that is not looked into."""
    plain = declared.partition(";")[0].strip().lower()
    plain = _SAME.get(plain, plain)
    return plain if family(plain) != "other" else None


def shown_name(declared: str) -> str:
    """A name to show and to save under: no folders, nothing invisible, never empty, not too long."""
    last = re.split(r"[/\\]", declared)[-1]
    clean = "".join(_KEPT.findall(last)).strip(" .")
    stem, dot, suffix = clean.rpartition(".")
    if len(clean) > _LONGEST_NAME and stem and len(suffix) <= 10:
        return stem[: _LONGEST_NAME - len(suffix) - 1] + dot + suffix
    return clean[:_LONGEST_NAME] or "file"


def _starts(*parts: tuple[int, bytes]) -> Callable[[bytes], bool]:
    return lambda start: all(start[at : at + len(part)] == part for at, part in parts)


def _branded(*brands: bytes) -> Callable[[bytes], bool]:
    return lambda start: start[4:8] == b"ftyp" and start[8:12] in brands


def _webm(start: bytes) -> bool:
    return start[:4] == b"\x1a\x45\xdf\xa3" and b"\x42\x82\x84webm" in start[:64]


def _ogg(start: bytes) -> bool:
    return start[:4] == b"OggS" and start[28:36] in (b"OpusHead", b"\x01vorbis\x00")


def _mp3(start: bytes) -> bool:
    """A tag, or the header of a frame of layer III whose rates exist."""
    if start[:3] == b"ID3":
        return True
    return len(start) > 3 and start[0] == 0xFF and start[1] & 0xE6 == 0xE2 and 0 < start[2] >> 4 < 15


_SIGNATURES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("image/png", _starts((0, b"\x89PNG\r\n\x1a\n"), (12, b"IHDR"))),
    ("image/jpeg", _starts((0, b"\xff\xd8\xff"))),
    ("image/gif", _starts((0, b"GIF89a"))),
    ("image/gif", _starts((0, b"GIF87a"))),
    ("image/webp", _starts((0, b"RIFF"), (8, b"WEBP"))),
    *((kind, _branded(*brands)) for kind, brands in _BRANDS.items()),
    ("video/webm", _webm),
    ("audio/ogg", _ogg),
    ("audio/flac", _starts((0, b"fLaC"))),
    ("audio/wav", _starts((0, b"RIFF"), (8, b"WAVE"))),
    ("audio/mpeg", _mp3),
)
