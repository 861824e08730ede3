"""websockets' Sans-I/O core as our sockets use it, and the frames that they build without it."""

from __future__ import annotations

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol


class Core(ServerProtocol):
    """websockets' protocol, but for two things."""

    def send_frame(self, frame: Frame) -> None:
        """Pongs are the socket's: within the rate, and in order with its replies."""
        if frame.opcode is not Opcode.PONG:
            super().send_frame(frame)

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        """A close in the middle of a message is a close, not an error."""
        if self.close_rcvd is not None and self.state is OPEN:
            code, reason = self.close_rcvd.code, ""
        super().fail(CloseCode.NORMAL_CLOSURE if code == CloseCode.NO_STATUS_RCVD else code, reason)


def frame(opcode: int, body: bytes) -> bytes:
    """A complete unmasked frame."""
    size = len(body)
    if size < 126:
        return bytes((0x80 | opcode, size)) + body
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + body
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + body
