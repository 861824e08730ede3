"""file: uploads, over the socket itself; what is done with them is said by who uses them: messages, avatars, …

How bytes come: `file.begin` answers with a number, the offset to begin at, and how much may be under way. Then binary
frames: four bytes of that number, eight of the offset (both big endian), and the bytes that stand there. `file.stored`
tells how far they are written, and so makes room for more; `file.finish` ends it.
"""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from protocol.frame import (
    Body,
    ChannelId,
    Event,
    FileId,
    FileName,
    Limit,
    Line,
    MessageSeq,
    Nothing,
    Request,
    Slug,
    Time,
)

Purpose = Literal["attachment", "voice", "avatar", "emoji", "sticker", "backup"]
State = Literal["uploading", "processing", "ready", "refused"]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="SHA-256 of all of it, in hex.")]
MediaType = Annotated[
    str,
    Meta(
        max_length=100,
        pattern=r"^[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*$(?!\n)",
        description="Like `image/png`.",
    ),
]
Size = Annotated[int, Meta(ge=1, le=2**45)]
Offset = Annotated[int, Meta(description="How many bytes are written, from the first on.")]
Given = Annotated[
    list[FileId],
    Meta(
        max_length=10,
        description="Your own, `ready`, uploaded as `attachment` or `voice`. The message may stand behind what is "
        "sent right after it.",
    ),
]
ORIGINAL = "original"


class Details(Body, frozen=True, omit_defaults=True):
    """What was found out about the content; what is not known, or makes no sense for it, is left out."""

    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    preview: Annotated[str, Meta(description="A tiny blurred picture of it, as base64.")] = ""
    waveform: Annotated[str, Meta(description="How loud it is from beginning to end, as base64: a byte each.")] = ""
    variants: Annotated[list[str], Meta(description="What else there is of it, for `file.link`.")] = []


class File(Body, frozen=True):
    """One of your files."""

    id: UUID
    purpose: Purpose
    name: str
    type: str
    size: int
    hash: str
    state: Annotated[State, Meta(description="Only a `ready` one can be sent or looked at.")]
    created_at: Time
    details: Details | None
    url: Annotated[str | None, Meta(description="Where everybody can see it: of avatars, emoji and stickers.")]


class Attached(Body, frozen=True, omit_defaults=True):
    """A file that a message carries; `file.link` with that message's place tells where it can be read."""

    id: UUID
    name: str
    type: str
    size: int
    purpose: Purpose = "attachment"
    details: Details | None = None


# Passing


class FileStored(Event, tag="file.stored", frozen=True):
    """So much of what this socket sends is written: as much more may be under way."""

    number: int
    file: UUID
    offset: Offset


class FileFailed(Event, tag="file.failed", frozen=True):
    """What this socket sends under a number is not taken any more; `file.begin` again goes on where it stopped."""

    number: int
    file: Annotated[UUID | None, Meta(description="None where the number stands for nothing.")]
    code: Annotated[str, Meta(description="That of a refusal: `invalid` for bytes that are not the next, …")]
    message: str


class FileChanged(Event, tag="file.changed", frozen=True):
    """One of your files is another thing now: it was looked at, and is ready or refused. Not kept: see `file.get`."""

    file: File


# Ops


class Begun(Body, frozen=True):
    """Where to go on. A file that you have uploaded before is `ready` at once: then there is no number."""

    file: File
    number: Annotated[int | None, Meta(description="What binary frames of this socket begin with.")]
    offset: Offset
    window: Annotated[int, Meta(description="How many bytes may be sent beyond what `file.stored` has told.")]
    part: Annotated[int, Meta(description="How many bytes of the file one binary frame may carry at most.")]


class FileBegin(Request[Begun], tag="file.begin", frozen=True):
    """Upload a file, or go on with it, over whichever socket: what the others send of it is not taken any more.

    Four at once over one socket. `too_large` for its purpose; `full` where your files, or the server's disk, have no
    room for it. What is not gone on with for a day is forgotten, and so is what no message carries within a day.
    """

    purpose: Purpose
    name: FileName
    size: Size
    hash: Hash
    type: MediaType = "application/octet-stream"


class FileFinish(Request[File], tag="file.finish", frozen=True):
    """All of it was sent: it is written and compared with its hash, then answered. `damaged` where that is another:
    then nothing is kept of it. `conflict` when something is missing.
    """

    file: FileId


class FileCancel(Request[Nothing], tag="file.cancel", frozen=True):
    """Do not go on with it, and keep nothing of it. `conflict` once it is finished."""

    file: FileId


class FileGet(Request[File], tag="file.get", frozen=True):
    """One of your files."""

    file: FileId


class Files(Body, frozen=True):
    """Your files, the newest first; `next` asks for the page after it."""

    files: list[File]
    used: Annotated[int, Meta(description="How many bytes all of them take, also those that are being uploaded.")]
    quota: Annotated[int, Meta(description="How many they may.")]
    next: str | None


class FileList(Request[Files], tag="file.list", frozen=True):
    """Your files, page by page."""

    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50


class Link(Body, frozen=True):
    """Where a file can be read, by whoever knows this address, until a time."""

    url: str
    until: Annotated[Time | None, Meta(description="None for what everybody can see.")]


class FileLink(Request[Link], tag="file.link", frozen=True):
    """Where to read a file: your own, or (with its place) one that a message carries which you can read."""

    file: FileId
    channel: ChannelId | None = None
    seq: MessageSeq | None = None
    variant: Annotated[Slug, Meta(description="`original`, or one of the file's `variants`.")] = ORIGINAL


class FileDelete(Request[Nothing], tag="file.delete", frozen=True):
    """Delete one of your files. `conflict` while a message carries it: take that back first."""

    file: FileId
