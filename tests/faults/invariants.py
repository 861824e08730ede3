"""The nine invariants, and a tenth about PostgreSQL; each takes time linear in what it looks at."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Literal

from msgspec import Struct

from tests.faults.evidence import Evidence, Op, segments
from tests.faults.history import Entry

Harm = Literal["lost", "duplicated", "reordered", "gap", "other"]

LATEST = 2.0  # seconds with nothing broken within which everything is delivered
USUAL = 0.5  # seconds within which 95 of 100 are delivered while nothing is broken
SOME = 100  # deliveries that make a percentile worth looking at

FACT_OF = {
    "send": "message.created",
    "edit": "message.edited",
    "delete": "message.deleted",
    "react": "reaction.added",
    "unreact": "reaction.removed",
}


class Violation(Struct, frozen=True):
    """Something that must not be: against which invariant, what it does to a user, and where to look."""

    invariant: str
    harm: Harm
    detail: str


def acked_is_stored_once(e: Evidence) -> Iterator[Violation]:
    """1: whatever was acknowledged is in the database, once, where the reply said."""
    name = "1 acked is stored once"
    for nonce, places in e.stored.items():
        if len(places) > 1:
            yield Violation(name, "duplicated", f"nonce {nonce} is stored {len(places)} times")
    for op in e.of(*FACT_OF):
        if op.acked is None or not op.acked.seq:
            continue
        seqs = {ok.seq for ok in op.oks}
        if op.first.f == "send" and len(seqs) > 1:
            yield Violation(name, "duplicated", f"{op} was acknowledged as {sorted(seqs)}")
        for seq in seqs:
            yield from _is_stored(e, op, seq, name)


def _is_stored(e: Evidence, op: Op, seq: int, name: str) -> Iterator[Violation]:
    fact = e.facts.get(op.first.channel, {}).get(seq)
    message = e.messages.get(op.first.channel, {}).get(seq)
    if fact is None:
        yield Violation(name, "lost", f"{op} was acknowledged as {seq}, which is not there")
    elif fact.ev != FACT_OF[op.first.f]:
        yield Violation(name, "lost", f"{op} was acknowledged as {seq}, where a {fact.ev} is")
    elif op.first.f == "send" and (message is None or message.nonce != op.first.nonce):
        yield Violation(name, "lost", f"{op} was acknowledged as {seq}, where another message is")
    elif op.first.f != "send" and fact.message != op.first.target:
        yield Violation(name, "lost", f"{op} was acknowledged as {seq}, where another message was changed")


def refused_is_absent(e: Evidence) -> Iterator[Violation]:
    """2: what was refused did not happen."""
    for op in e.of("send"):
        if op.refused and op.first.nonce in e.stored:
            yield Violation("2 refused is absent", "other", f"{op} was refused, and is stored")


def numbers_have_no_gap(e: Evidence) -> Iterator[Violation]:
    """3: the facts of a stream, messages among them, are numbered 1 to its head."""
    for stream, facts in e.database.facts.items():
        seqs = sorted(fact.seq for fact in facts)
        head = e.database.heads.get(stream, 0)
        for before, seq in zip([0, *seqs], [*seqs, head + 1], strict=True):
            if seq <= before:
                yield Violation("3 numbers have no gap", "duplicated", f"{stream}: {seq} after {before}, head {head}")
            elif seq > before + 1:
                yield Violation("3 numbers have no gap", "gap", f"{stream}: {seq} after {before}, head {head}")


def readers_agree_with_the_database(e: Evidence) -> Iterator[Violation]:
    """4: every reader got every fact from where it started, once, in order, and as it is."""
    from tests.faults.model import disagreements, misinformation

    name = "4 readers agree with the database"
    for reader in e.readers:
        for one in reader.heard:
            if one.kind == "reset" and not e.absences.get((one.stream, reader.user)):
                yield Violation(name, "lost", f"{reader.name} was told to read {one.stream} again")
        for stream, parts in segments(reader).items():
            for part in parts:
                where = f"{reader.name} in {stream}"
                yield from _in_order(part.start, [fact.seq for fact in part.facts], where, name)
                for fact in part.facts:
                    stored = e.facts.get(stream, {}).get(fact.seq)
                    if stored is None or stored.ev != fact.ev:
                        there = stored.ev if stored else "nothing"
                        yield Violation(name, "other", f"{where}: {fact.ev} {fact.seq} is {there} in the database")
                last = part.facts[-1].seq if part.facts else part.start
                if part is parts[-1] and not part.over and last < e.database.heads.get(stream, 0):
                    harm = f"{where}: the last one heard is {last} of {e.database.heads[stream]}"
                    yield Violation(name, "lost", harm)
        for detail in disagreements(e, reader):
            yield Violation(name, "other", detail)
    for told in e.log.told:
        yield from (Violation(name, "other", detail) for detail in misinformation(e, told))


def _in_order(start: int, seqs: list[int], where: str, name: str) -> Iterator[Violation]:
    if start < 0:
        yield Violation(name, "other", f"{where}: {seqs[0]} came of a stream that had not begun")
        start = seqs[0] - 1
    seen, last = {start}, start
    for seq in seqs:
        if seq in seen:
            yield Violation(name, "duplicated", f"{where}: {seq} came again after {last}")
        elif seq < last:
            yield Violation(name, "reordered", f"{where}: {seq} came after {last}")
        elif seq > last + 1:
            yield Violation(name, "gap", f"{where}: {seq} came after {last}")
        seen.add(seq)
        last = max(last, seq)


def own_writes_are_read(e: Evidence) -> Iterator[Violation]:
    """5: who was told of a seq finds it at the next look, on any node."""
    for op in e.of("look"):
        for ok in op.oks:
            if ok.seq != op.first.seq:
                harm = f"{op} did not find {op.first.seq}, as {op.first.target} was then"
                yield Violation("5 own writes are read", "lost", harm)


def pages_have_no_hole(e: Evidence) -> Iterator[Violation]:
    """4: a page has every message between its first and its last, in order."""
    stored = {channel: sorted(messages) for channel, messages in e.messages.items()}
    for op in e.of("look", "read"):
        seqs = stored.get(op.first.channel, [])
        for page in (ok.page for ok in op.oks if ok.page):
            there = seqs[bisect_left(seqs, page[0]) : bisect_right(seqs, page[-1])]
            if page != there:
                yield Violation("4 readers agree with the database", "gap", f"{op} was told {page}, there is {there}")


def order_is_real_time(e: Evidence) -> Iterator[Violation]:
    """6: what was acknowledged before something else was asked for stands before it."""
    asked = [(op.first.t, 1, op, ok.seq) for op in e.of(*FACT_OF) for ok in op.oks if ok.seq]
    acked = [(ok.t, 0, op, ok.seq) for op in e.of(*FACT_OF) for ok in op.oks if ok.seq]
    highest: dict[str, int] = defaultdict(int)
    for _, is_ask, op, seq in sorted(asked + acked, key=lambda one: one[:2]):
        channel = op.first.channel
        if not is_ask:
            highest[channel] = max(highest[channel], seq)
        elif seq <= highest[channel]:
            yield Violation("6 order is real time", "reordered", f"{op} got {seq}, {highest[channel]} was known before")


def order_is_as_written(e: Evidence) -> Iterator[Violation]:
    """6: what one client wrote without waiting stands in the order in which it was written."""
    last: dict[tuple[str, str], tuple[int, Op]] = {}
    for op in sorted(e.of("send"), key=lambda one: one.first.t):
        if op.attempts > 1 or op.acked is None:
            continue
        key = op.first.client, op.first.channel
        before, other = last.get(key, (0, op))
        if op.acked.seq < before:
            detail = f"{op} got {op.acked.seq}, {other.first.nonce} before it {before}"
            yield Violation("6 order is real time", "reordered", detail)
        last[key] = max(before, op.acked.seq), op


def marks_never_fall(e: Evidence) -> Iterator[Violation]:
    """7: how far somebody has read never goes back, whoever is told."""
    name = "7 marks never fall"
    acked = [(ok.t, 0, op.first, ok.seq) for op in e.of("mark") for ok in op.oks]
    asked = [(op.first.t, 1, op.first, ok.seq) for op in e.of("mark") for ok in op.oks]
    highest: dict[tuple[str, str], int] = defaultdict(int)
    for _, is_ask, first, read in sorted(acked + asked, key=lambda one: one[:2]):
        key = first.user, first.channel
        if not is_ask:
            highest[key] = max(highest[key], read)
        elif read < max(highest[key], first.target):
            yield Violation(name, "other", f"{first.user} in {first.channel}: {read} after {highest[key]}")
    for reader in e.readers:
        told: dict[tuple[str, str, str], int] = defaultdict(int)
        for one in reader.heard:
            if one.ev not in ("message.receipt", "message.read"):
                continue
            channel, user, read = one.body["channel"], one.body.get("user", reader.user), one.body["read"]
            if read < told[one.ev, channel, user]:
                detail = f"{reader.name}: {one.ev} of {user} in {channel}: {read} after {told[one.ev, channel, user]}"
                yield Violation(name, "other", detail)
            told[one.ev, channel, user] = max(told[one.ev, channel, user], read)


def kicked_is_out(e: Evidence) -> Iterator[Violation]:
    """8: nothing of a member comes after their removal, nothing is told or shown to them, nothing taken from them."""
    name = "8 kicked is out"
    for channel, messages in e.database.messages.items():
        for message in messages:
            if e.outside(channel, message.author, message.seq) is not None:
                yield Violation(name, "other", f"{channel}: {message.author} wrote {message.seq}, and was no member")
    for reader in e.readers:
        for one in reader.heard:
            absence = e.outside(one.stream, reader.user, one.seq) if one.kind == "fact" else None
            if absence is not None and one.t < absence.asked:
                yield Violation(name, "other", f"{reader.name} heard {one.stream} {one.seq}, and was no member")
    yield from _shown(e, name)
    yield from _taken(e, name)


def _shown(e: Evidence, name: str) -> Iterator[Violation]:
    """Pages as they were when the one who asked was no member, told before anybody asked for them to come back."""
    for op in e.of("look", "read"):
        for ok in op.oks:
            newest = max([ok.seq, *ok.page])
            absence = e.outside(ok.channel, ok.user, newest)
            if absence is not None and ok.t < absence.asked:
                yield Violation(name, "other", f"{ok.user} read {ok.channel} up to {newest}, and was no member")


def _taken(e: Evidence, name: str) -> Iterator[Violation]:
    """Sends that were begun after a kick was acknowledged and before anybody asked for the member to come back."""
    moments: list[tuple[float, str, Entry]] = []
    for op in e.of("kick", "add", "send"):
        if op.first.f == "send" and op.acked is not None:
            moments.append((op.first.t, "send", op.first))
        elif op.first.f == "kick" and op.acked is not None:
            moments.append((op.acked.t, "kick", op.first))
        elif op.first.f == "add":
            moments.append((op.first.t, "add", op.first))
    out: set[tuple[str, str]] = set()
    for _, what, entry in sorted(moments, key=lambda one: one[0]):
        key = entry.channel, entry.user
        if what == "kick":
            out.add(key)
        elif what == "add":
            out.discard(key)
        elif key in out:
            yield Violation(name, "other", f"{entry.user} sent {entry.nonce} after the kick was acknowledged")


def delivery_is_prompt(e: Evidence) -> Iterator[Violation]:
    """9: what was acknowledged is delivered soon, without counting the times in which something was broken."""
    name = "9 delivery is prompt"
    for one in e.deliveries:
        if one.took > LATEST:
            yield Violation(name, "other", f"{one.what} came {one.took:.1f} s late")
    usual = [one.took for one in e.deliveries if one.quiet]
    if len(usual) >= SOME and percentile(usual, 0.95) > USUAL:
        yield Violation(name, "other", f"with nothing broken the 95th percentile is {percentile(usual, 0.95):.2f} s")


def percentile(values: list[float], share: float) -> float:
    """The value that this share of the others is not above; 0 where there is none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def no_deadlock(e: Evidence) -> Iterator[Violation]:
    """10: transactions lock in one order: PostgreSQL never had to end one for another."""
    if e.database.deadlocks:
        yield Violation("10 no deadlock", "other", f"PostgreSQL broke up {e.database.deadlocks} deadlocks")


INVARIANTS: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    acked_is_stored_once,
    refused_is_absent,
    numbers_have_no_gap,
    readers_agree_with_the_database,
    pages_have_no_hole,
    own_writes_are_read,
    order_is_real_time,
    order_is_as_written,
    marks_never_fall,
    kicked_is_out,
    delivery_is_prompt,
    no_deadlock,
)
