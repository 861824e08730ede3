"""A socket that hears rooms and writes to some: it checks every event, and costs little.

Rule 1: frames are told apart by how they begin; only the reply to the login is parsed as JSON.
Rule 2: whatever comes as the same bytes to all members of a room is read once: where a chunk equals the one that
another member just got, and continues this member's sequence, too, only the numbers are taken over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID, uuid4

import msgspec

from bench.load.check import Echo, Sequence
from bench.load.histogram import BUCKET_NS
from bench.load.plan import Seat
from bench.load.room import Chunk, Room
from bench.load.tally import Tally
from bench.wire import RawSocket, masked, request
from protocol.session import Cursor, SessionOpen, SessionResume

_CREATED = b'{"ev":"message.created","stream":"'
_STREAM = b'","stream":"'
_SEQ_AT = 36 + len(b'","seq":')
_TEXT = b'"text":"@'
_SENT = b'"ok":{"seq":'
_WORDS = b"that is what a usual message looks like in length."


class Question(NamedTuple):
    """A request that waits for its reply; `then` hears the reply when it is no refusal."""

    since: int
    then: Callable[[bytes], None]


class _Named(msgspec.Struct):
    id: str


class _Place(msgspec.Struct):
    channel: _Named
    head: int


class _Opened(msgspec.Struct):
    account: str
    head: int = 0
    channels: list[_Place] = []
    reset: list[str] = []


class _Welcome(msgspec.Struct):
    ok: _Opened


_welcome = msgspec.json.Decoder(_Welcome).decode


class Member(RawSocket):
    """The socket of a seat."""

    __slots__ = (
        "_echo",
        "_gone",
        "_home",
        "_nonce",
        "_noted",
        "_number",
        "_open",
        "_rooms",
        "_signature",
        "_stamp",
        "leaving",
        "mismatched",
        "newest",
        "pending",
        "probe",
        "seat",
        "sequences",
        "tally",
    )

    def __init__(self, login: bytes, logged_in: asyncio.Future[bytes], seat: Seat, number: int, tally: Tally) -> None:
        super().__init__(login, logged_in)
        self.seat, self.tally = seat, tally
        self.pending: dict[int, Question] = {}
        self.sequences: dict[bytes, Sequence] = {}
        self.newest: dict[bytes, int] = {}
        self.probe = self.leaving = False
        self._home: tuple[Room, Sequence] | None = None
        self._echo: Echo | None = Echo() if seat.writes else None
        self._open = self._gone = False
        self._noted: list[tuple[int, int]] | None = None
        self._number = self._stamp = self.mismatched = 0
        self._rooms: dict[bytes, Room] = {}
        self._signature, self._nonce = b" %08d" % number, str(uuid4())[:24].encode()

    # Coming and going

    def resumes(self, before: Member) -> None:
        """Go on where another socket of the same seat ended."""
        self.sequences, self._echo, self._number = before.sequences, before._echo, before._number
        self.newest, self.probe = before.newest, before.probe
        self._rooms, self.mismatched = before._rooms, before.mismatched

    def welcome(self, body: bytes) -> None:
        if body.startswith(b'{"re":0,"ok"'):
            opened = _welcome(body).ok
            places = {place.channel.id.encode(): place.head for place in opened.channels}
            places[opened.account.encode()] = opened.head
            self.tally.reset += len(opened.reset)
            for stream, head in places.items():
                if self.sequences.setdefault(stream, Sequence(head)).last < head:
                    self.tally.refuse("session.resume was answered before everything that was missed had come")
            self._open = True
            self.tally.opened += 1
        super().welcome(body)

    def settle_in(self, rooms: list[Room]) -> None:
        """Know one's rooms, once the session is open."""
        missing = [room.id.decode() for room in rooms if room.id not in self.sequences]
        if missing:
            raise ConnectionError(f"session.open did not list the channel {missing[0]}")
        for room in rooms:
            room.begin(self.sequences[room.id].last)
            self._rooms[room.id] = room
        if len(rooms) == 1 and self._echo is None:
            self._home = rooms[0], self.sequences[rooms[0].id]

    def fail(self, reason: str) -> None:
        if self._open and not self.leaving and not self._gone:
            self.tally.drop(reason)
        self._gone = self._open
        super().fail(reason)

    def leave(self) -> None:
        """Close."""
        self.leaving = True
        self.send(masked(b"\x03\xe8", 8))

    # What comes

    def _frames(self, data: bytes) -> int:
        self.tally.now = time.monotonic_ns()
        if self._home is None:
            return super()._frames(data)
        room, sequence = self._home
        chunk = room.chunk
        if sequence.last + 1 == chunk.first and data == chunk.data:
            sequence.last = chunk.last
            self._delivered(chunk)
            return len(data)
        noted = self._noted = []
        used = super()._frames(data)
        if self._noted is noted and noted and used == len(data):
            room.chunk = Chunk(data, noted[0][0], noted[-1][0], tuple(stamp for _, stamp in noted if stamp))
        self._noted = None
        return used

    def _delivered(self, chunk: Chunk) -> None:
        tally = self.tally
        tally.delivered += chunk.last - chunk.first + 1
        if self.probe:
            for stamp in chunk.stamps:
                tally.delivery[(tally.now - stamp) // BUCKET_NS] += 1

    def _frame(self, opcode: int, body: bytes) -> None:
        if opcode != 1:
            self._noted = None
            super()._frame(opcode, body)
        elif body.startswith(b'{"ev"'):
            self._event(body)
        else:
            self._noted = None
            self._reply(body)

    def _event(self, body: bytes) -> None:
        if body.startswith(_CREATED):
            at = len(_CREATED)
            stamp = self._created(body, at)
        else:
            at, stamp = body.find(_STREAM, 7, 80) + len(_STREAM), 0
            if at < len(_STREAM):
                self.tally.passing += 1
                self._noted = None
                return
        self._fact(body[at : at + 36], _seq_of(body, at), stamp)

    def _fact(self, stream: bytes, seq: int, stamp: int) -> None:
        self.tally.delivered += 1
        room, sequence = self._rooms.get(stream), self.sequences.get(stream)
        if room is not None and not room.agrees(seq, stamp):
            self.mismatched += 1
        if sequence is None:  # a channel that was joined after the session was opened
            self.sequences[stream] = Sequence(seq)
        elif seq == sequence.last + 1:
            sequence.last = seq
            if self._noted is not None:
                if self._home is not None and sequence is self._home[1]:
                    self._noted.append((seq, stamp))
                else:
                    self._noted = None
        else:
            sequence.take(seq)
            self._noted = None

    def _created(self, body: bytes, at: int) -> int:
        """Note a message; when it was sent, 0 for a stranger's."""
        text = body.find(_TEXT, at) + len(_TEXT)
        if text < len(_TEXT):
            return 0
        stamp = int(body[text : text + 19])
        if self.probe:
            self.tally.delivery[(self.tally.now - stamp) // BUCKET_NS] += 1
        if self._echo is not None:
            seq = _seq_of(body, at)
            self.newest[body[at : at + 36]] = seq
            if body.startswith(self._signature, text + 19):
                self._echo.heard(stamp, seq)
        return stamp

    def _reply(self, body: bytes) -> None:
        end = body.index(b",")
        number = int(body[6:end])
        if number == 0:
            self.welcome(body)
            return
        question = self.pending.pop(number)
        self.tally.answered += 1
        if body.startswith(b'"ok"', end + 1):
            question.then(body)
        else:
            self.tally.refuse(body.decode())

    # What is sent

    def ask(self, op: bytes, fields: bytes, since: int, then: Callable[[bytes], None]) -> None:
        """Send a request; `fields` is JSON without the braces."""
        self._number += 1
        self.pending[self._number] = Question(since, then)
        self.send(masked(b'{"op":"%b","id":%d,%b}' % (op, self._number, fields)))

    def say(self, room: Room, since: int, then: Callable[[int], None]) -> None:
        """Send a message that tells when it was sent; `then` hears its seq."""
        assert self._echo is not None
        stamp = self._stamp = max(since, self._stamp + 1)
        self._echo.said(stamp)

        def said(body: bytes) -> None:
            seq = sent_seq(body)
            self._echo_acked(stamp, seq)
            room.acked = max(room.acked, seq)
            self.tally.said(stamp)
            then(seq)

        words = room.id, stamp, self._signature, _WORDS, self._nonce, self._number
        fields = b'"channel":"%b","text":"@%019d%b %b","nonce":"%b%012x"' % words
        self.ask(b"message.send", fields, stamp, said)

    def _echo_acked(self, stamp: int, seq: int) -> None:
        if self._echo is not None:
            self._echo.acked(stamp, seq)

    # What was wrong

    def wrong(self, rooms: list[Room], heads: list[int]) -> tuple[int, int, int, int]:
        """Lost, duplicated, reordered and mismatched, given the heads of this seat's rooms."""
        known = dict(zip((room.id for room in rooms), heads, strict=True))
        lost = sum(one.lost(known.get(stream, 0)) for stream, one in self.sequences.items())
        duplicated = sum(one.duplicated for one in self.sequences.values())
        reordered = sum(one.reordered for one in self.sequences.values())
        if self._echo is None:
            return lost, duplicated, reordered, self.mismatched
        mismatched = self.mismatched + self._echo.mismatched
        return lost + self._echo.lost, duplicated + self._echo.duplicated, reordered, mismatched

    def complete(self, rooms: list[Room], heads: list[int]) -> bool:
        """Whether everything that must have come has come."""
        if self._echo is not None and self._echo.lost:
            return False
        return all(self.sequences[room.id].last >= head for room, head in zip(rooms, heads, strict=True))


def opening(seat: Seat) -> bytes:
    """The first request of a new session."""
    return request(SessionOpen(token=seat.token))


def resuming(member: Member) -> bytes:
    """The first request of a session that goes on."""
    cursors = [Cursor(stream=UUID(stream.decode()), seq=one.last) for stream, one in member.sequences.items()]
    return request(SessionResume(token=member.seat.token, cursors=cursors))


def sent_seq(body: bytes) -> int:
    """The seq in the reply to a message, or to a change of one."""
    _, _, rest = body.partition(_SENT)
    return int(rest.partition(b",")[0].rstrip(b"}"))


def _seq_of(body: bytes, stream_at: int) -> int:
    at = stream_at + _SEQ_AT
    return int(body[at : body.index(b",", at)])
