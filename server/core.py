"""websockets' Sans-I/O core as our sockets use it, and the frames that they build without it."""

from __future__ import annotations

import codecs
from typing import Any

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled part
    from websockets.utils import apply_mask

_PLAIN = 0x81  # a whole text message in one frame, with no extension bits
_MASKED = 0x80
_BULK = 16384

Fault = tuple[CloseCode, str]


class Core(ServerProtocol):
    """websockets' protocol, but for three things: pongs, the end of half a message, and plain frames.

    Nearly all frames are whole text messages. `take` cuts what comes in at the borders of frames, unmasks those
    itself and leaves everything else to the parser, which takes ten times as long: a frame goes to one or the other as
    a whole, so the parser always stands where it can go on.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._head = b""  # the beginning of a frame's header
        self._owed = 0  # bytes of the frame that the parser is in
        self.max_text: int = self.max_message_size or 1 << 62  # binary messages may be larger

    def limit(self, text: int, binary: int) -> None:
        """How large messages may be from now on."""
        self.max_text, self.max_message_size = text, max(text, binary)

    def take(self, data: bytes) -> list[Frame | bytes]:
        """What has come: plain text messages as bytes, everything else as frames."""
        if self._head:
            data, self._head = self._head + data, b""
        found: list[Frame | bytes] = []
        at, end = 0, len(data)
        while at < end:
            if not self._owed:
                start, stop = _borders(data, at, end)
                if not start:
                    self._head = data[at:]
                    break
                if data[at] == _PLAIN and stop <= end and self._plain(stop - start, data[at + 1]):
                    found.append(apply_mask(data[start:stop], data[start - 4 : start]))
                    at = stop
                    continue
                if self.eof_sent:  # nothing that still comes is looked at
                    break
                if stop - start > self.max_text and self._begins_text(data[at], data[at + 1]):
                    self.fail(*_too_long(stop - start, self.max_text))
                    break
                self._owed = stop - at
            part = data[at : at + self._owed]
            self.receive_data(part)
            found += [event for event in self.events_received() if isinstance(event, Frame)]
            at, self._owed = at + len(part), self._owed - len(part)
        return found

    def _begins_text(self, first: int, second: int) -> bool:
        """Whether a frame is the first, or all, of a text, and nothing is wrong with it but perhaps its size."""
        return first & 0x7F == Opcode.TEXT and second >= _MASKED and self.current_size is None and self._state is OPEN

    def _plain(self, size: int, second: int) -> bool:
        """Whether a text frame needs no parser: nothing about it, or about the connection, is special."""
        return (
            second >= _MASKED
            and self.current_size is None
            and not self.extensions
            and self._state is OPEN
            and size <= self.max_text
        )

    def send_frame(self, frame: Frame) -> None:
        """Pongs are the socket's: within the rate, and in order with its replies."""
        if frame.opcode is not Opcode.PONG:
            super().send_frame(frame)

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        """A close in the middle of a message is a close, not an error."""
        if self.close_rcvd is not None and self.state is OPEN:
            code, reason = self.close_rcvd.code, ""
        super().fail(CloseCode.NORMAL_CLOSURE if code == CloseCode.NO_STATUS_RCVD else code, reason)


class Parts:
    """A message that comes in several frames; text is checked as it comes, so that bad bytes fail at once."""

    __slots__ = ("_decoder", "_most", "data", "opcode")

    def __init__(self, opcode: Opcode, most: int) -> None:
        """`most`: how long a text may be."""
        self.opcode, self.data, self._most = opcode, bytearray(), most
        self._decoder = codecs.getincrementaldecoder("utf-8")() if opcode is Opcode.TEXT else None

    def add(self, data: bytes, last: bool) -> Fault | None:
        """One more part; what is wrong then, if that makes it no text, or too long a one."""
        self.data += data
        if self._decoder is None:
            return None
        try:
            self._decoder.decode(data, final=last)
        except UnicodeDecodeError:
            return CloseCode.INVALID_DATA, "invalid UTF-8"
        return _too_long(len(self.data), self._most) if len(self.data) > self._most else None


def fault(data: bytes, most: int) -> Fault | None:
    """What is wrong with a text, if something is: the parser lets pass what a binary message may be."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return CloseCode.INVALID_DATA, "invalid UTF-8"
    return _too_long(len(data), most) if len(data) > most else None


def _too_long(size: int, most: int) -> Fault:
    return CloseCode.MESSAGE_TOO_BIG, f"over size limit ({size} > {most} bytes)"


def is_bulk(event: Frame, parts: Parts | None) -> bool:
    """Large binary messages are not counted frame by frame: who takes them bounds what is under way."""
    before = len(parts.data) if parts is not None else 0
    return (event if parts is None else parts).opcode is Opcode.BINARY and before + len(event.data) >= _BULK


def _borders(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Where the payload of the frame at `at` starts and stops; zeros while its header is incomplete."""
    size = data[at + 1] & 127 if end - at > 1 else 0
    start = at + (6 if size < 126 else 8 if size == 126 else 14)
    if end < start:
        return (0, 0) if end - at < 2 or data[at + 1] >= _MASKED else (end, end)
    if size >= 126:
        size = int.from_bytes(data[at + 2 : start - 4], "big")
    return start, start + size


def frame(opcode: int, body: bytes) -> bytes:
    """A complete unmasked frame."""
    size = len(body)
    if size < 126:
        return bytes((0x80 | opcode, size)) + body
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + body
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + body


def payload(whole: bytes) -> bytes:
    """What is in such a frame."""
    size = whole[1]
    return whole[2 if size < 126 else 4 if size == 126 else 10 :]


def split(frames: bytes) -> list[bytes]:
    """Such frames, one by one."""
    found, at = [], 0
    while at < len(frames):
        size, start = frames[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(frames[at + 2 : at + 4], "big"), at + 4
        elif size == 127:
            size, start = int.from_bytes(frames[at + 2 : at + 10], "big"), at + 10
        found.append(frames[at : start + size])
        at = start + size
    return found
