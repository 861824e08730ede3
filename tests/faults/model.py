"""A client's picture of a channel, made of what it was told, and where it differs from the database.

A fact that is told late may tell of a message as it is now: words may run ahead of their fact, and never fall behind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from tests.faults.evidence import Evidence, segments
from tests.faults.history import Heard, Message, Reader, Told


@dataclass
class Seen:
    """A message as one client sees it."""

    author: str
    text: str
    deleted: bool = False
    reactions: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def of(cls, body: dict[str, Any]) -> Seen:
        """From a message in an event."""
        reactions = {(one["emoji"], user) for one in body.get("reactions", ()) for user in one["users"]}
        return cls(body["author"], body.get("text", ""), body.get("deleted_at") is not None, reactions)


def apply(state: dict[int, Seen], fact: Heard) -> None:
    """What a client does with one fact; messages from before its time it does not know."""
    body = fact.body
    if fact.ev in ("message.created", "message.edited"):
        if fact.ev == "message.created" or body["message"]["seq"] in state:
            state[body["message"]["seq"]] = Seen.of(body["message"])
    elif fact.ev == "message.deleted":
        for seq in body["messages"]:
            if seq in state:
                state[seq] = Seen(state[seq].author, "", deleted=True)
    elif fact.ev in ("reaction.added", "reaction.removed") and body["message"] in state:
        seen = state[body["message"]]
        if not seen.deleted:
            change = seen.reactions.add if fact.ev == "reaction.added" else seen.reactions.discard
            change((body["emoji"], body["user"]))


def disagreements(e: Evidence, reader: Reader) -> Iterator[str]:
    """Where a reader's pictures of its channels are not what is stored."""
    words = attempted(e)
    for channel, parts in segments(reader).items():
        if channel not in e.database.messages:
            continue
        for part in parts:
            yield from _words(e, channel, part.facts, words, reader)
        if parts[-1].over:
            continue
        state: dict[int, Seen] = {}
        for fact in parts[-1].facts:
            apply(state, fact)
        for seq, seen in state.items():
            stored = e.messages[channel].get(seq)
            if stored is None or seen != _as_seen(stored):
                yield f"{reader.name} in {channel}: sees {seq} as {seen}, stored is {stored}"


def misinformation(e: Evidence, told: Told) -> Iterator[str]:
    """Where a node told another history than the database has."""
    stored = [(one.seq, _as_seen(one)) for one in e.database.messages[told.channel]]
    heard = [(one["seq"], Seen.of(one)) for one in told.messages]
    asked = sorted(stored, key=lambda one: one[0])[-told.newest :]  # from the first on where all were asked for
    for ours, theirs in zip_longest(asked, heard):
        if ours != theirs:
            yield f"{told.node} told of {told.channel}: {theirs}, stored is {ours}"


def _as_seen(stored: Message) -> Seen:
    if stored.deleted:
        return Seen(stored.author, "", deleted=True)
    return Seen(stored.author, stored.text, reactions=set(stored.reactions))


Words = dict[tuple[str, int], dict[str, int]]


def attempted(e: Evidence) -> Words:
    """(channel, message) → every text that anybody ever gave it, and the seq at which it got it, 0 if nobody knows."""
    found: Words = defaultdict(dict)
    for op in e.of("send", "edit"):
        if op.first.f == "send":
            for channel, message in e.stored.get(op.first.nonce, ()):
                found[channel, message.seq][op.first.text] = message.seq
        else:
            seq = op.acked.seq if op.acked is not None and op.attempts == 1 else 0
            found[op.first.channel, op.first.target][op.first.text] = seq
    return found


def _words(e: Evidence, channel: str, facts: list[Heard], words: Words, reader: Reader) -> Iterator[str]:
    """Whether what was told are somebody's words for this message, and no older ones than it had by then."""
    newest: dict[int, int] = {}
    for fact in facts:
        if fact.ev not in ("message.created", "message.edited"):
            continue
        seq, text = fact.body["message"]["seq"], fact.body["message"].get("text", "")
        known = words.get((channel, seq), {})
        where = f"{reader.name} in {channel}: {fact.ev} {fact.seq} tells {seq}"
        if fact.body["message"].get("deleted_at"):
            stored = e.messages[channel].get(seq)
            if stored is None or not stored.deleted:
                yield f"{where} as deleted, which it is not"
        elif text not in known:
            yield f"{where} as {text!r}, which nobody wrote"
        elif known[text] and known[text] < newest.get(seq, 0):
            yield f"{where} in older words than before"
        else:
            newest[seq] = max(newest.get(seq, 0), known[text])
