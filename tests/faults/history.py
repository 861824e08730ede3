"""What happened, as clients, readers and the database tell it; all times are of one monotonic clock.

Rule: an attempt that was cut off or timed out is `info`, never `fail`: it may have happened.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

Did = Literal["send", "edit", "delete", "react", "unreact", "kick", "add", "mark", "look", "read"]
Type = Literal["invoke", "ok", "fail", "info"]


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One end of one attempt. The attempts of an op share its nonce.

    A look must show what had come to be at `seq`, and did if its end has the same; the end of a read has the head told.
    """

    t: float
    client: str
    f: Did
    channel: str
    nonce: str
    type: Type
    seq: int = 0
    user: str = ""  # who does it; of a kick and an add, to whom
    target: int = 0  # the message that is changed, or the mark that is asked for
    text: str = ""  # words or emoji; of what did not work, why
    page: list[int] = []  # the messages that were told of


class Heard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one reader learnt: where a stream starts and ends for it, and what came in between."""

    t: float
    kind: Literal["start", "fact", "end", "reset", "passing"]
    stream: str
    seq: int = 0
    ev: str = ""
    body: dict[str, Any] = {}


class Reader(Struct, frozen=True):
    """Everything that one reader learnt, in that order."""

    name: str
    user: str
    heard: list[Heard]


class Fault(Struct, frozen=True):
    """When something was broken, until it was whole again."""

    name: str
    start: float
    end: float
    excuses: bool = True  # whether deliveries may be late; nothing waits for Redis


class Fact(Struct, frozen=True, kw_only=True):
    """A fact as the database has it; of a message, `message` is its own seq."""

    seq: int
    ev: str
    user: str = ""  # the author, or who joined or left
    message: int = 0


class Message(Struct, frozen=True, kw_only=True):
    """A message as the database has it at the end."""

    seq: int
    author: str
    nonce: str
    text: str
    deleted: bool = False
    reactions: list[tuple[str, str]] = []  # (emoji, user), sorted


class Database(Struct, frozen=True, kw_only=True):
    """The truth at the end."""

    heads: dict[str, int]
    facts: dict[str, list[Fact]]
    messages: dict[str, list[Message]]
    members: dict[str, list[str]] = {}  # who was there when the channel was made
    deadlocks: int = 0


class Told(Struct, frozen=True):
    """What one node told at the end, when it was asked for all, or the newest, messages of a channel."""

    node: str
    channel: str
    messages: list[dict[str, Any]]
    newest: int = 0  # so many were asked for


class Log(Struct):
    """Everything that was written down of one run."""

    history: list[Entry] = []
    readers: list[Reader] = []
    faults: list[Fault] = []
    told: list[Told] = []


T = TypeVar("T")


class Recorder:
    """Writes down what happens, line by line, and keeps it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, Log()
        folder.mkdir(parents=True, exist_ok=True)
        self._history = (folder / "history.jsonl").open("ab", buffering=1 << 16)
        self._encode = msgspec.json.Encoder().encode

    @staticmethod
    def now() -> float:
        """The clock."""
        return time.monotonic()

    def note(self, entry: Entry) -> None:
        """Append to the history."""
        self.log.history.append(entry)
        self._history.write(self._encode(entry) + b"\n")

    def reader(self, name: str, user: str) -> Reader:
        """A reader's own log."""
        self.log.readers.append(Reader(name, user, []))
        return self.log.readers[-1]

    def close(self, database: Database | None = None) -> None:
        """Write down what is left, for whoever looks into what went wrong."""
        self._history.close()
        for reader in self.log.readers:
            self._write(f"reader-{reader.name}.jsonl", reader.heard)
        self._write("faults.jsonl", self.log.faults)
        if database is not None:
            (self.folder / "database.json").write_bytes(self._encode(database))

    def _write(self, name: str, lines: list[Any]) -> None:
        (self.folder / name).write_bytes(b"".join(self._encode(line) + b"\n" for line in lines))
