"""One socket: bytes in, messages out, on websockets' Sans-I/O core. Knows nothing of ops or accounts.

Rule 1: no task and no timer per socket; the gateway's one sweep keeps all deadlines.
Rule 2: both directions are bounded: a client that floods is not read, one that does not read is closed.
Rule 3: what is sent within one turn of the event loop leaves in one write.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
from typing import TYPE_CHECKING, Protocol, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from server import proxy
from server.http import Answer

if TYPE_CHECKING:
    from server.gateway import Gateway

_HANDSHAKE_BYTES = 16384
_PING = b"\x89\x00"
_silent = logging.getLogger("onesocket.websockets")
_silent.setLevel(logging.ERROR)


class Conversation(Protocol):
    """What the application does with a socket's messages."""

    def text(self, data: bytes) -> None:
        """A complete text message, valid UTF-8."""

    def binary(self, data: bytes) -> None:
        """A complete binary message."""

    def flooded(self, data: bytes, retry_after: float) -> None:
        """A text message beyond the rate; it must not be acted on."""

    def closed(self) -> None:
        """The socket is gone."""


def frame(opcode: int, body: bytes) -> bytes:
    """A complete unmasked frame."""
    size = len(body)
    if size < 126:
        return bytes((0x80 | opcode, size)) + body
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + body
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + body


class Socket(asyncio.Protocol):
    """A connection, from its first byte to its last."""

    __slots__ = (
        "_decoder",
        "_even",
        "_inside",
        "_opcode",
        "_out",
        "_parts",
        "_paused",
        "address",
        "close_code",
        "conversation",
        "full",
        "gateway",
        "heard",
        "number",
        "opening",
        "protocol",
        "received",
        "refused",
        "secure",
        "transport",
    )

    def __init__(self, gateway: Gateway) -> None:
        self.gateway, self.number = gateway, gateway.next_number()
        self.conversation: Conversation | None = None
        self.address, self.secure = "", False
        self.heard = gateway.tick
        self.received, self.refused, self.close_code = 0, 0, 0
        self.full = False
        self.opening: bytes | None = b"" if gateway.proxied else None
        self._out: list[bytes] = []
        self._inside = False
        self._paused = 0
        self._even = 0.0
        self._opcode = 0
        self._parts: list[bytes] | None = None
        self._decoder: codecs.IncrementalDecoder | None = None

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        limits = self.gateway.config
        self.transport.set_write_buffer_limits(high=limits.write_buffer_bytes // 4)
        self.protocol = ServerProtocol(
            extensions=self.gateway.extensions,
            max_size=limits.frame_bytes_before_login,
            logger=_silent,
        )
        self.address = proxy.peer(transport.get_extra_info("peername"))
        self.secure = transport.get_extra_info("ssl_object") is not None
        self.gateway.connected(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.gateway.lost(self)
        if self.conversation is not None:
            self.conversation.closed()
            self.conversation = None

    def eof_received(self) -> bool:
        self.protocol.receive_eof()
        self._flush()
        return False

    def data_received(self, data: bytes) -> None:
        self.heard = self.gateway.tick
        if self.conversation is None:
            self.received += len(data)
            if self.received > _HANDSHAKE_BYTES:
                self.transport.abort()
                return
            if self.opening is not None:
                data = self._after_proxy_line(data)
        self._inside = True
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self._frame(event)
            elif isinstance(event, Request):
                self._request(event)
        self._inside = False
        self._flush()

    def _after_proxy_line(self, data: bytes) -> bytes:
        self.opening = (self.opening or b"") + data
        try:
            found = proxy.parse(self.opening)
        except ValueError:
            self.transport.abort()
            return b""
        if found is None:
            return b""
        self.opening = None
        if found.address is not None:
            self.address = found.address
        return found.rest

    def _request(self, request: Request) -> None:
        answer = self.gateway.answer(self, request)
        if isinstance(answer, Answer):
            response = answer.response(request)
            self.protocol.send_response(response)
            return
        response = self.protocol.accept(request)
        self.protocol.send_response(response)
        if response.status_code == 101:
            self._flush()
            self.conversation = self.gateway.opened(self)

    # Messages in

    def _frame(self, event: Frame) -> None:
        opcode = event.opcode
        if self.conversation is None or self.close_code:
            return
        wait = self._over_rate()
        if opcode is Opcode.CLOSE:
            return
        if event.fin and self._parts is None and opcode is Opcode.TEXT:
            self._text(bytes(event.data), wait)
        elif opcode is Opcode.PING or opcode is Opcode.PONG:
            if wait > 0 and self.count_refused() > self.gateway.config.frames_in_burst:
                self.close(4429, "too many control frames")
        else:
            self._fragment(event, wait)

    def _over_rate(self) -> float:
        """Seconds by which this frame comes too early, 0 when it is in time."""
        gateway = self.gateway
        now = gateway.loop.time()
        even = max(self._even, now) + gateway.frame_interval
        ahead = even - now - gateway.frame_burst
        if ahead > 0:
            return ahead
        self._even = even
        return 0.0

    def _text(self, data: bytes, wait: float) -> None:
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_DATA, "invalid UTF-8")
                return
        self._deliver(Opcode.TEXT, data, wait)

    def _fragment(self, event: Frame, wait: float) -> None:
        """A part of a message; text is checked as it comes, so that bad bytes fail at once."""
        if self._parts is None:
            self._parts, self._opcode = [], event.opcode
            self._decoder = codecs.getincrementaldecoder("utf-8")() if event.opcode is Opcode.TEXT else None
        data = bytes(event.data)
        if self._decoder is not None:
            try:
                self._decoder.decode(data, final=event.fin)
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_DATA, "invalid UTF-8")
                return
        self._parts.append(data)
        if event.fin:
            whole, self._parts, self._decoder = b"".join(self._parts), None, None
            self._deliver(self._opcode, whole, wait)

    def _deliver(self, opcode: int, data: bytes, wait: float) -> None:
        assert self.conversation is not None
        if wait > 0:
            self.conversation.flooded(data, wait)
        elif opcode == Opcode.TEXT:
            self.conversation.text(data)
        else:
            self.conversation.binary(data)

    def count_refused(self) -> int:
        """One more frame of this socket that had to be refused unseen."""
        self.refused += 1
        self.gateway.count_refused(self)
        return self.refused

    # Messages out

    def send(self, body: bytes) -> None:
        """Send a text message."""
        if self.close_code:
            return
        if self.protocol.extensions:
            self.protocol.send_text(body)
            self._out.extend(self.protocol.data_to_send())
        else:
            self._out.append(frame(1, body))
        if not self._inside:
            self.gateway.flush_soon(self)

    def send_message(self, body: bytes, text: bool) -> None:
        """Send a message of either kind (the echo of the conformance tests)."""
        if text or self.close_code:
            self.send(body)
            return
        if self.protocol.extensions:
            self.protocol.send_binary(body)
            self._out.extend(self.protocol.data_to_send())
        else:
            self._out.append(frame(2, body))
        if not self._inside:
            self.gateway.flush_soon(self)

    def flush(self) -> None:
        """Write what has gathered (called by the gateway, once a turn)."""
        self._flush()

    def _flush(self) -> None:
        out, self._out = self._out, []
        out.extend(self.protocol.data_to_send())
        if not out or self.transport.is_closing():
            return
        if self.full and not self.close_code and self._unread > self.gateway.config.write_buffer_bytes:
            self.too_slow()
            return
        self.transport.write(b"".join(out))
        if out[-1] == b"":
            self.close_code = self.close_code or self._sent_code()
            self.transport.close()

    @property
    def _unread(self) -> int:
        return self.transport.get_write_buffer_size()

    def _sent_code(self) -> int:
        sent = self.protocol.close_sent
        return sent.code if sent is not None else 1006

    def pause_writing(self) -> None:
        self.full = True
        self.gateway.full(self)
        self.pause_reading()

    def resume_writing(self) -> None:
        self.full = False
        self.gateway.not_full(self)
        self.resume_reading()

    @property
    def paused(self) -> bool:
        """Whether nothing is read from it at the moment."""
        return self._paused > 0

    def pause_reading(self) -> None:
        """Stop reading; as many times must be resumed."""
        self._paused += 1
        if self._paused == 1 and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take one pause back."""
        if self._paused == 0:
            return
        self._paused -= 1
        if self._paused == 0 and not self.transport.is_closing():
            self.transport.resume_reading()

    # Ending

    def ping(self) -> None:
        """Ask the other side whether it lives."""
        if self.protocol.state is OPEN and not self.close_code:
            self.transport.write(_PING)

    def close(self, code: int, reason: str) -> None:
        """End the conversation with a close frame; what was sent before it still arrives."""
        if self.close_code:
            return
        if self.protocol.state is not OPEN:
            self.transport.abort()
            return
        self.close_code = code
        self.protocol.send_close(code, reason.encode()[:120].decode(errors="ignore"))
        self.gateway.closing(self)
        if self._paused and not self.transport.is_closing():
            self._paused = 0
            self.transport.resume_reading()
        if not self._inside:
            self._flush()

    def _fail(self, code: CloseCode, reason: str) -> None:
        self.close_code = int(code)
        self.protocol.fail(code, reason)

    def too_slow(self) -> None:
        """The other side does not read: tell it, should it ever look, and let go."""
        self.close(4503, "you did not read what you were sent: reconnect and resume")

    def abort(self) -> None:
        """Let go without a word."""
        self.transport.abort()
