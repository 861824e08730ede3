"""What the server asks of a process that decodes, what that answers, and what comes of it.

Rule: an answer comes from a process that a hostile file may have taken over: every field of it is bounded, and nothing
in it names a path.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

Code = Literal[
    "wrong_type",  # not what it was said to be, or not what this purpose takes
    "unreadable",  # broken, or cut off
    "unsupported",  # nothing here can look at it
    "too_large_picture",  # more pixels or frames than are decoded here
    "too_large_result",
    "too_long",
    "over_time",
    "over_memory",
    "infected",
    "unscanned",  # it has to be scanned, and was not
    "overloaded",  # too many wait
]
Kind = Literal["image", "animation", "video", "audio", "other"]
Name = Literal["original", "thumbnail", "thumbnail_large", "poster"]
NAMES: tuple[Name, ...] = ("original", "thumbnail", "thumbnail_large", "poster")
OTHER = "application/octet-stream"
WAVEFORM = 64

Side = Annotated[int, Meta(ge=1, le=65535)]


class Rejected(Exception):
    """A file that is not taken; `code` is for programs, `detail` for the log."""

    def __init__(self, code: Code, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code: Code = code
        self.detail = detail


class Bounds(Struct, frozen=True):
    """What one job may use, and what is decoded at all."""

    memory: int = 1024 * 2**20  # bytes of address space
    cpu: int = 20  # seconds
    wall: float = 60.0  # seconds
    output: int = 64 * 2**20  # bytes of one file
    pixels: int = 40_000_000
    side: int = 16_383  # also the most that WebP has
    frames: int = 600
    frame_pixels: int = 150_000_000  # of all frames together
    voice: int = 600  # seconds of a voice message
    waveform: int = 1200  # seconds of sound beyond which there is no waveform


class Job(Struct, frozen=True):
    """One file to look at. `type` is what its content says; results go to files in `folder`."""

    source: str
    folder: str
    type: str
    purpose: str
    bounds: Bounds
    parent: int


class Made(Struct, frozen=True):
    """A file that was written."""

    name: Name
    type: Literal["image/jpeg", "image/png", "image/webp"]
    width: Side
    height: Side


class Progress(Struct, frozen=True, tag="progress"):
    """How far it is, from 0 to 1."""

    done: Annotated[float, Meta(ge=0, le=1)]


class Done(Struct, frozen=True, tag="done"):
    """What was found."""

    kind: Kind
    width: Side | None = None
    height: Side | None = None
    duration: Annotated[float, Meta(ge=0, le=10**7)] | None = None
    waveform: Annotated[bytes, Meta(min_length=WAVEFORM, max_length=WAVEFORM)] | None = None
    preview: Annotated[bytes, Meta(max_length=1024)] | None = None
    made: Annotated[list[Made], Meta(max_length=len(NAMES))] = []


class Refused(Struct, frozen=True, tag="refused"):
    """Why it was not taken."""

    code: Code
    detail: Annotated[str, Meta(max_length=300)] = ""


Answer = Progress | Done | Refused


class Variant(Struct, frozen=True):
    """A file that was made of one. `original` takes the place of what was uploaded, which is kept nowhere."""

    name: Name
    path: Path
    type: str
    size: int
    width: int
    height: int


class Result(Struct, frozen=True):
    """What a file is. Its variants lie in `folder` until `Processor.discard`."""

    name: str  # as it may be shown and saved
    type: str  # what it is served as
    kind: Kind
    inline: bool  # False: only ever as an attachment
    width: int | None
    height: int | None
    duration: float | None
    waveform: bytes | None
    preview: str | None  # a WebP picture of a few pixels, in base64
    variants: list[Variant]
    folder: Path


Told = Callable[[float], None]
