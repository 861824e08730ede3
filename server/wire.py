"""One socket: bytes in, messages out, on websockets' Sans-I/O core. Knows nothing of ops or accounts.

Rule 1: no task and no timer per socket; the gateway's one sweep keeps all deadlines.
Rule 2: both directions are bounded: a client that floods is not read, one that does not read is closed.
Rule 3: what is sent within one turn of the event loop leaves in one write.
Rule 4: an end is told before it comes: the close frame goes out, then the end of the stream, and what still arrives
is thrown away for a moment, since a reset would destroy what the other side has not read yet.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import CONNECTING, OPEN

from server import proxy
from server.core import Core, Parts, fault, frame, is_bulk, payload, split
from server.http import Answer, complaint

if TYPE_CHECKING:
    from server.conversation import Conversation
    from server.gateway import Gateway

_HANDSHAKE_BYTES = 16384
_AT_ONCE = 4096
_PING = b"\x89\x00"
_silent = logging.getLogger("onesocket.websockets")
_silent.setLevel(logging.ERROR)


class Socket(asyncio.Protocol):
    """A connection, from its first byte to its last."""

    __slots__ = (
        "_even",
        "_inside",
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
        "streamed",
        "transport",
    )

    def __init__(self, gateway: Gateway) -> None:
        self.gateway, self.number = gateway, gateway.next_number()
        self.conversation: Conversation | None = None
        self.address, self.secure = "", False
        self.heard = gateway.tick
        self.received, self.refused, self.close_code = 0, 0, 0
        self.full = self.streamed = False
        self.opening: bytes | None = b"" if gateway.proxied else None
        self._out: list[bytes] = []
        self._inside = False
        self._paused = 0
        self._even = 0.0
        self._parts: Parts | None = None

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        limits = self.gateway.config
        self.transport.set_write_buffer_limits(high=limits.write_buffer_bytes // 4)
        self.protocol = Core(
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
        self.flush()
        return False

    def data_received(self, data: bytes) -> None:
        self.heard = self.gateway.tick
        if self.conversation is None or self in self.gateway.door:
            self.gateway.door.knock(self, data)
        else:
            self.take(data)

    def take(self, data: bytes) -> None:
        """Bytes, in order."""
        self._inside = True
        if self.conversation is None or len(data) > _AT_ONCE:
            self._read_in_steps(data)
        else:
            self._read(data)
        self._inside = False
        self.flush()

    def _read_in_steps(self, data: bytes) -> None:
        """The handshake first, then not too many frames at once: those behind a flood are not even parsed."""
        if self.conversation is None:
            data = self._open(data)
        for at in range(0, len(data), _AT_ONCE):
            self._read(data[at : at + _AT_ONCE])

    def _read(self, data: bytes) -> None:
        for event in self.protocol.take(data):
            if isinstance(event, bytes):
                if not self.close_code:
                    self._text(event, self._over_rate())
            else:
                self._frame(event)

    # Before the conversation

    def _open(self, data: bytes) -> bytes:
        """Up to the answer to the handshake; returns what came behind it, which nobody has looked at yet."""
        if self.protocol.eof_sent:
            return b""
        self.received += len(data)
        if self.received > _HANDSHAKE_BYTES:
            self._turn_away(Answer(431, b"the request is too large\n"))
            return b""
        if self.opening is not None:
            data = self._after_proxy_line(data)
        while data and self.conversation is None and not (self.protocol.eof_sent or self.streamed):
            end = data.find(b"\n") + 1 or len(data)
            line, data = data[:end], data[end:]
            self._handshake(line)
        return data if self.conversation is not None else b""

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

    def _handshake(self, line: bytes) -> None:
        self.protocol.receive_data(line)
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self._request(event)
                return
        if self.protocol.handshake_exc is not None:
            self._turn_away(complaint(self.protocol.handshake_exc))

    def _request(self, request: Request) -> None:
        answer = self.gateway.answer(self, request)
        if isinstance(answer, Answer):
            self._turn_away(answer, request.method)
            return
        if answer is not None:
            self.streamed = True
            self.gateway.streamed(self)
            answer.begin(self)
            return
        response = self.protocol.accept(request)
        if response.status_code != 101:
            self._turn_away(Answer.refused(response), request.method)
            return
        self.protocol.send_response(response)
        self.flush()
        self.conversation = self.gateway.opened(self)

    def _turn_away(self, answer: Answer, method: str = "GET") -> None:
        """Answer, and say that nothing more comes."""
        response = answer.response(method)
        if self.protocol.eof_sent:  # it gave up by itself, with words of its own or none
            self.protocol.data_to_send()
            self._out += (response.serialize(), b"")
        else:
            self.protocol.send_response(response)

    # Messages in

    def _frame(self, event: Frame) -> None:
        opcode = event.opcode
        wait = 0.0 if is_bulk(event, self._parts) else self._over_rate()
        if self.close_code:
            if wait > 0:
                self._fail(self.close_code, "")
        elif event.fin and self._parts is None and opcode is Opcode.TEXT:
            self._text(bytes(event.data), wait)
        elif event.fin and self._parts is None and opcode is Opcode.BINARY:
            self._deliver(opcode, bytes(event.data), wait)
        elif opcode is Opcode.PING or opcode is Opcode.PONG:
            if wait > 0:
                self._refuse_part()
            elif opcode is Opcode.PING:
                self._out.append(frame(Opcode.PONG, bytes(event.data)))
        elif opcode is not Opcode.CLOSE:
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
        if not data.isascii() or len(data) > self.protocol.max_text:
            wrong = fault(data, self.protocol.max_text)
            if wrong is not None:
                self._fail(*wrong)
                return
        self._deliver(Opcode.TEXT, data, wait)

    def _fragment(self, event: Frame, wait: float) -> None:
        if self._parts is None:
            self._parts = Parts(event.opcode, self.protocol.max_text)
        wrong = self._parts.add(bytes(event.data), event.fin)
        if wrong is not None:
            self._fail(*wrong)
        elif event.fin:
            whole, self._parts = self._parts, None
            self._deliver(whole.opcode, bytes(whole.data), wait)
        elif wait > 0:
            self._refuse_part()

    def _deliver(self, opcode: int, data: bytes, wait: float) -> None:
        assert self.conversation is not None
        if wait > 0:
            self.conversation.flooded(data, wait)
        elif opcode == Opcode.TEXT:
            self.conversation.text(data)
        else:
            self.conversation.binary(data)

    def _refuse_part(self) -> None:
        """A frame beyond the rate that nobody can be answered about: a ping, or a part of a message."""
        if self.count_refused() > self.gateway.config.frames_in_burst:
            self.close(4429, "too many frames: slow down, then come back")

    def count_refused(self) -> int:
        """One more frame of this socket that had to be refused unseen; how many that makes lately."""
        self.refused += 1
        self.gateway.count_refused(self)
        return self.refused

    # Messages out

    def send(self, body: bytes, opcode: int = Opcode.TEXT) -> None:
        """Send a message: text, unless the opcode says otherwise."""
        if self.close_code:
            return
        if not (self._inside or self._out):
            self.gateway.flush_soon(self)
        extensions = self.protocol.extensions
        if extensions:
            whole = Frame(Opcode(opcode), body)
            self._out.append(whole.serialize(mask=False, extensions=extensions))
        else:
            self._out.append(frame(opcode, body))

    def push(self, frames: bytes) -> None:
        """Send finished text frames, the same bytes that others get."""
        if self.close_code:
            return
        if not (self._inside or self._out):
            self.gateway.flush_soon(self)
        if self.protocol.extensions:
            for one in split(frames):
                self.send(payload(one))
        else:
            self._out.append(frames)

    def flush(self) -> None:
        """Write what has gathered (called by the gateway, once a turn)."""
        out, self._out = self._out, []
        if self.protocol.writes:
            out += self.protocol.data_to_send()
        if not out or self.transport.is_closing():
            return
        if self.full and not self.close_code:
            unread = self.transport.get_write_buffer_size()
            if unread > self.gateway.config.write_buffer_bytes:
                self.too_slow()
                return
        self.transport.write(b"".join(out) if len(out) > 1 else out[0])
        if not out[-1]:
            self._hang_up()

    def pause_writing(self) -> None:
        self.full = True
        self.gateway.full(self)
        if not self.close_code:
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
        if self.protocol.state is OPEN and not self.close_code and not self.transport.is_closing():
            self.transport.write(_PING)

    def close(self, code: int, reason: str) -> None:
        """End the conversation with a close frame; what was sent before it still arrives."""
        if self.protocol.state is CONNECTING and not self.close_code:
            self.transport.abort()
        if self.close_code or self.protocol.state is not OPEN:
            return
        self.close_code = code
        self.protocol.send_close(code, reason.encode()[:120].decode(errors="ignore"))
        self.gateway.closing(self)
        self._read_on()
        if not self._inside:
            self.flush()

    def too_slow(self) -> None:
        """The other side does not read: tell it, should it ever look, and let go."""
        if self.close_code or self.protocol.state is not OPEN:
            self.transport.abort()
        else:
            self.close(4503, "you did not read what you were sent: reconnect and resume")

    def abort(self) -> None:
        """Let go without a word."""
        self.transport.abort()

    def _fail(self, code: int, reason: str) -> None:
        """End it at once: nothing that still comes is looked at."""
        self.close_code = int(code)
        self.protocol.fail(code, reason)

    def _hang_up(self) -> None:
        """Everything is said: end our side of the stream, and give the other side a moment to end its own."""
        self.close_code = self.close_code or self._closed_with()
        self.gateway.closing(self)
        self._read_on()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()  # TLS has no half of a stream to end; it reads on by itself

    def _closed_with(self) -> int:
        """The code that is counted: those that a client makes up are all the same to us."""
        sent = self.protocol.close_sent
        return 1006 if sent is None else min(int(sent.code), 3000)

    def _read_on(self) -> None:
        if self._paused and not self.transport.is_closing():
            self._paused = 0
            self.transport.resume_reading()
