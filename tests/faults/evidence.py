"""The records of a run, put in the order in which the invariants ask for them."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, takewhile
from typing import NamedTuple

from tests.faults.history import Database, Entry, Fact, Fault, Heard, Log, Message, Reader

RECOVERY = 3.0  # seconds after a fault that do not count as usual


@dataclass
class Op:
    """What a client wanted, and what became of its attempts."""

    first: Entry
    ends: list[Entry] = field(default_factory=list)
    attempts: int = 0

    @property
    def oks(self) -> list[Entry]:
        return [end for end in self.ends if end.type == "ok"]

    @property
    def acked(self) -> Entry | None:
        """The first yes."""
        return next((end for end in self.ends if end.type == "ok"), None)

    @property
    def refused(self) -> bool:
        """Whether every single attempt was refused: it did not happen."""
        return len(self.ends) == self.attempts and {end.type for end in self.ends} == {"fail"}

    def __str__(self) -> str:
        return f"{self.first.f} {self.first.nonce} of {self.first.client} in {self.first.channel}"


@dataclass
class Segment:
    """What a reader heard of a stream between a start and an end; `over` when the end was told."""

    start: int
    facts: list[Heard] = field(default_factory=list)
    over: bool = False


class Absence(NamedTuple):
    """The seqs at which somebody was put out and came back, and when it was asked to let them back in."""

    left: int
    back: int
    asked: float


class Delivery(NamedTuple):
    """How long something acknowledged took, whether nothing was broken around that time, and what it was."""

    took: float
    quiet: bool
    what: str


class Evidence:
    """A log and a database, indexed."""

    def __init__(self, log: Log, database: Database) -> None:
        self.log, self.database = log, database
        self.readers: list[Reader] = log.readers
        self.ops: dict[str, Op] = {}
        for entry in log.history:
            if entry.type == "invoke":
                self.ops.setdefault(entry.nonce, Op(entry)).attempts += 1
            else:
                self.ops[entry.nonce].ends.append(entry)
        self.stored: dict[str, list[tuple[str, Message]]] = defaultdict(list)
        for channel, messages in database.messages.items():
            for message in messages:
                self.stored[message.nonce].append((channel, message))
        self.facts: dict[str, dict[int, Fact]] = {
            stream: {fact.seq: fact for fact in facts} for stream, facts in database.facts.items()
        }
        self.messages = {c: {m.seq: m for m in messages} for c, messages in database.messages.items()}
        self._faults = merged(log.faults)
        self._excuses = merged([fault for fault in log.faults if fault.excuses])

    def of(self, *kinds: str) -> Iterator[Op]:
        """The ops of some kinds, in the order in which they were begun."""
        return (op for op in self.ops.values() if op.first.f in kinds)

    @cached_property
    def acked_at(self) -> dict[tuple[str, int], float]:
        """When which fact of a channel was acknowledged."""
        found: dict[tuple[str, int], float] = {}
        for op in self.of("send", "edit", "delete", "react", "unreact"):
            if op.acked is not None and op.acked.seq:
                found.setdefault((op.first.channel, op.acked.seq), op.acked.t)
        return found

    @cached_property
    def deliveries(self) -> list[Delivery]:
        """Of all that was acknowledged, to all readers who were members."""
        found = []
        for reader in self.readers:
            for one in reader.heard:
                acked = self.acked_at.get((one.stream, one.seq)) if one.kind == "fact" else None
                if acked is None or self.outside(one.stream, reader.user, one.seq) is not None:
                    continue
                what = f"{reader.name} in {one.stream}: {one.seq}"
                quiet = self.quiet(acked, one.t, RECOVERY)
                found.append(Delivery(self.unhindered(acked, one.t), quiet, what))
        return found

    @cached_property
    def absences(self) -> dict[tuple[str, str], list[Absence]]:
        """(channel, user) → when they were no member. Kicks and adds of one user alternate."""
        adds: dict[tuple[str, str], list[float]] = defaultdict(list)
        for op in self.of("add"):
            adds[op.first.channel, op.first.user].append(op.first.t)
        found: dict[tuple[str, str], list[Absence]] = defaultdict(list)
        for channel, facts in self.database.facts.items():
            for fact in facts:
                spells = found[channel, fact.user]
                if fact.ev == "channel.member_left":
                    times = adds[channel, fact.user]
                    asked = times[len(spells)] if len(spells) < len(times) else float("inf")
                    spells.append(Absence(fact.seq, self.database.heads[channel] + 1, asked))
                elif fact.ev == "channel.member_joined" and spells:
                    spells[-1] = spells[-1]._replace(back=fact.seq)
        return found

    def outside(self, channel: str, user: str, seq: int) -> Absence | None:
        """The absence of somebody from a channel that a seq falls into."""
        return next((one for one in self.absences.get((channel, user), ()) if one.left < seq < one.back), None)

    def unhindered(self, since: float, until: float) -> float:
        """The longest stretch of that time in which nothing hindered: no fault excuses what was late before it."""
        hindering = _within(self._excuses, since, until)
        if not hindering:
            return max(0.0, until - since)
        ends = [since, *(fault.end for fault in hindering)]
        starts = [*(fault.start for fault in hindering), until]
        return max(0.0, *(start - end for end, start in zip(ends, starts, strict=True)))

    def quiet(self, since: float, until: float, margin: float) -> bool:
        """Whether nothing was broken then, nor shortly before."""
        return not _within(self._faults, since - margin, until)


def _within(faults: list[Fault], since: float, until: float) -> list[Fault]:
    """Those of merged faults that reach into that time."""
    first = bisect_left(faults, since, key=lambda one: one.end)
    return list(takewhile(lambda one: one.start <= until, islice(faults, first, None)))


def merged(faults: list[Fault]) -> list[Fault]:
    """Overlapping faults as one, by time."""
    found: list[Fault] = []
    for fault in sorted(faults, key=lambda one: one.start):
        if found and fault.start <= found[-1].end:
            found[-1] = Fault(found[-1].name, found[-1].start, max(found[-1].end, fault.end))
        else:
            found.append(fault)
    return found


def segments(reader: Reader) -> dict[str, list[Segment]]:
    """What a reader heard of each stream; facts without a start are a segment that starts at -1."""
    found: dict[str, list[Segment]] = defaultdict(list)
    for one in reader.heard:
        parts = found[one.stream]
        if one.kind == "start":
            parts.append(Segment(one.seq))
        elif one.kind == "fact":
            if not parts or parts[-1].over:
                parts.append(Segment(-1))
            parts[-1].facts.append(one)
        elif one.kind == "end" and parts:
            parts[-1].over = True
    return found
