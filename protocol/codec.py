"""Bytes to frames and back. A codec is built for one set of ops: the built-in ones and an embedder's.

Rule 1: decoding raises nothing but a `Refusal`; whatever bytes come, the socket can be answered or closed with a code.
Rule 2: events and replies are encoded once; the same bytes go to everybody.
"""

import re
from collections.abc import Iterable
from functools import cache, reduce
from operator import or_
from typing import Any

import msgspec

from protocol.error import Invalid, Refusal, Unreadable
from protocol.frame import Event, Failure, Request

_encoder = msgspec.json.Encoder()
encode = _encoder.encode
# A field that is missing or unknown is named in msgspec's message, not in its path.
_FIELD = re.compile(r"field `([^`]+)`$")


class Envelope(msgspec.Struct):
    """As much of a request as it takes to answer that it is wrong."""

    id: msgspec.Raw = msgspec.Raw(b"0")
    op: msgspec.Raw = msgspec.Raw(b'""')


@cache
def _decoder(kinds: tuple[type[Request[Any]], ...]) -> msgspec.json.Decoder[Any]:
    """One for all servers that have the same ops: it takes milliseconds to make."""
    return msgspec.json.Decoder(reduce(or_, kinds))


class Codec:
    """Decodes requests of the given kinds."""

    def __init__(self, requests: Iterable[type[Request[Any]]]) -> None:
        kinds = tuple(requests)
        self.decode_strictly = _decoder(kinds).decode
        self._ops = {kind.__struct_config__.tag for kind in kinds}
        self._envelope = msgspec.json.Decoder(Envelope).decode
        self._number = msgspec.json.Decoder(int).decode

    def decode(self, data: bytes | str) -> Any:
        """The request in `data`, or a `Refusal` that says where it is wrong."""
        try:
            return self.decode_strictly(data)
        except (msgspec.DecodeError, RecursionError, UnicodeError, ValueError, OverflowError) as error:
            raise self.explain(data, error) from None

    def explain(self, data: bytes | str, error: Exception) -> Refusal:
        """Why `data` is no request: unreadable, or invalid with the field's path."""
        if not isinstance(error, msgspec.ValidationError):
            return Unreadable("the frame is not JSON" if not isinstance(error, RecursionError) else "nested too deeply")
        message, _, path = str(error).partition(" - at `")
        steps = [path.rstrip("`").removeprefix("$").removeprefix("."), *_FIELD.findall(message)]
        return Invalid(message, field=".".join(step for step in steps if step) or None)

    def request_id(self, data: bytes | str) -> int:
        """The id of a request that could not be decoded, 0 where it has none."""
        try:
            number = self._number(self._envelope(data).id)
        except (msgspec.DecodeError, RecursionError, UnicodeError, ValueError, OverflowError):
            return 0
        return number if 0 <= number < 2**53 else 0

    @staticmethod
    def reply(request_id: int, body: msgspec.Struct) -> bytes:
        """A reply frame."""
        return b'{"re":%d,"ok":%b}' % (request_id, encode(body))

    @staticmethod
    def error(request_id: int, failure: Failure) -> bytes:
        """A reply frame that refuses."""
        return b'{"re":%d,"error":%b}' % (request_id, encode(failure))

    @staticmethod
    def event(event: Event) -> bytes:
        """An event frame."""
        return encode(event)
