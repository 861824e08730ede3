"""The seam between the wire and the application: whoever answers a socket's messages."""

from typing import Protocol


class Conversation(Protocol):
    """What the application does with a socket's messages."""

    def text(self, data: bytes) -> None:
        """A complete text message, valid UTF-8."""

    def binary(self, data: bytes) -> None:
        """A complete binary message."""

    def flooded(self, data: bytes, retry_after: float) -> None:
        """A message beyond the rate; it must not be acted on."""

    def closed(self) -> None:
        """The socket is gone."""
