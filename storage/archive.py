"""The file a backup is: a plain tar archive, written in one pass and checked before it is believed.

Rule 1: a target is there whole or not at all: bytes go to a file beside it that gets its name at the end.
Rule 2: nobody but the owner can read it, from its first byte on.
Rule 3: members are asked for by name, and never unpacked by theirs.

A member's size stands before its bytes, and a database has none before it is dumped. So the header is written
twice: once to keep its place, and again when the size is known.
"""

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

BLOCK = tarfile.BLOCKSIZE
CHUNK = 1 << 20


class BackupError(Exception):
    """A backup can't be made, read or restored; the message says why."""


class ArchiveWriter:
    """Writes members one after the other. Leaving the block by an exception leaves no file."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._size = 0
        self._start = 0
        self._name = ""
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        handle, path = tempfile.mkstemp(dir=self._target.parent, prefix=f".{self._target.name}.", suffix=".partial")
        self._partial = Path(path)
        self._file: BinaryIO = os.fdopen(handle, "wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def begin(self, name: str) -> None:
        self._name, self._size, self._digest = name, 0, hashlib.sha256()
        self._start = self._file.tell()
        self._file.write(_header(name, 0))

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._digest.update(chunk)
        self._size += len(chunk)

    def finish(self) -> str:
        """Complete the member; the SHA-256 of its content."""
        self._file.write(bytes(-self._size % BLOCK))
        end = self._file.tell()
        self._file.seek(self._start)
        self._file.write(_header(self._name, self._size))
        self._file.seek(end)
        return self._digest.hexdigest()

    def add(self, name: str, content: bytes) -> str:
        self.begin(name)
        self.write(content)
        return self.finish()

    def publish(self) -> None:
        """Bring everything to the disk and give it its name."""
        self._file.write(bytes(2 * BLOCK))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._partial.replace(self._target)
        sync_folder(self._target.parent)


class ArchiveReader:
    """Reads members by name. Whatever is wrong with the file is a BackupError."""

    def __init__(self, source: Path) -> None:
        self._source = source
        try:
            self._tar = tarfile.open(source, "r:")  # noqa: SIM115  (closed by close)
            self._members = {member.name: member for member in self._tar.getmembers() if member.isreg()}
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise BackupError(f"{source} is damaged or not a backup: {error}") from error
        except OSError as error:
            raise BackupError(f"{source} cannot be read: {error.strerror}") from error

    def close(self) -> None:
        self._tar.close()

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str, limit: int) -> bytes:
        """A small member, whole."""
        member = self._member(name)
        if member.size > limit:
            raise BackupError(f"{self._source} is damaged: {name} has {member.size} bytes")
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """A member's bytes, in pieces, and all of them."""
        member = self._member(name)
        content, left = self._tar.extractfile(member), member.size
        try:
            while content and left and (chunk := content.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk
        except (tarfile.TarError, OSError) as error:
            raise BackupError(f"{self._source} cannot be read: {error}") from error
        if left:
            raise BackupError(f"{self._source} is damaged: {name} ends too early")

    def sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        for chunk in self.chunks(name):
            digest.update(chunk)
        return digest.hexdigest()

    def _member(self, name: str) -> tarfile.TarInfo:
        if name not in self._members:
            raise BackupError(f"{self._source} is damaged or not a backup: it has no {name}")
        return self._members[name]


def write_private(path: Path, content: bytes) -> None:
    """Put a file where it belongs in one step, readable to its owner only."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """A name is on the disk when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member.tobuf(tarfile.GNU_FORMAT)
