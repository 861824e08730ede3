"""What a supervisor tells a worker: one line on its standard input, so that no secret stands in a command line."""

from __future__ import annotations

import msgspec

from server.config import Config, from_plain

READY = b"ready\n"


class Order(msgspec.Struct):
    """What the supervisor tells a worker."""

    config: Config
    worker: str
    siblings: bool

    def written(self) -> bytes:
        """As one line for standard input."""
        return msgspec.json.encode(self, enc_hook=str) + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Order:
        """From standard input."""
        return msgspec.json.decode(line, type=cls, dec_hook=from_plain)
