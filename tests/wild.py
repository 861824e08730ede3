"""Frames that a client could send, and many more that it should not: generated, the same ones in each run.

Two sources: the request types themselves (every field within and around its bounds) and the golden samples. Both are
then changed as structures, which leaves them JSON, or as bytes, which leaves them anything.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from msgspec import inspect

from protocol.frame import Request

GOLDEN = Path(__file__).parent / "golden"
NASTY: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**53,
    2**63,
    2**64,
    10**60,
    0.0,
    -0.5,
    1e308,
    5e-324,
    "",
    " ",
    "0",
    "null",
    "\x00",
    "a\x00b",
    "\r\n",
    "\x1b[2J",
    "\u202etxt.exe",
    "ﬁ ſ K ² ǆ",
    "аdmin",
    "é" * 100,
    "😀" * 60,
    "'; DROP TABLE account; --",
    '"\\',
    "%s%n{0}",
    "../../etc/passwd",
    "\ufeff",
    "\uffff",
    "a" * 10_000,
    "00000000-0000-0000-0000-000000000000",
    "not-a-uuid",
    "2024-02-30T25:61:61Z",
    [],
    [None],
    [[[[[[]]]]]],
    ["a"] * 300,
    {},
    {"": ""},
    {"op": "session.ping"},
    {"kind": "web"},
]
TOKENS = [b"NaN", b"Infinity", b"1e999", b"01", b"'a'", b"\\ud800", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"/**/"]
TOKENS += [b"[" * 50, b"{" * 50, b'{"x":' * 1500, b"\x00", b",", b"]", b"}", b'"', b"\\", b"9" * 400, b"\x80\x80"]


class Wild:
    """A source of frames. `known` are ids that exist."""

    def __init__(self, seed: int, kinds: Iterable[type[Request[Any]]]) -> None:
        self._random = random.Random(seed)
        self._types = {str(kind.__struct_config__.tag): inspect.type_info(kind) for kind in kinds}
        self._golden = [one for file in sorted(GOLDEN.glob("*.json")) for one in _requests(file)]
        self.known: list[UUID] = []

    def structured(self, number: int) -> bytes:
        """JSON, with this id unless the id itself was changed."""
        chance, frame = self._random.random(), self._base(number)
        for _ in range(0 if chance < 0.4 else 1 if chance < 0.8 else self._random.randint(2, 5)):
            self._change(frame)
        text = json.dumps(frame, ensure_ascii=self._random.random() < 0.5)
        if frame and self._random.random() < 0.05:
            text = text[:-1] + ', "op": ' + json.dumps(self._random.choice([*self._types, 7, "x"])) + "}"
        return text.encode()

    def mangled(self, number: int) -> bytes:
        """Bytes that were JSON once."""
        data = bytearray(json.dumps(self._base(number)).encode())
        for _ in range(self._random.randint(1, 3)):
            at = self._random.randrange(len(data) + 1)
            match self._random.randrange(5):
                case 0:
                    del data[at:]
                case 1:
                    data[at:at] = self._random.choice(TOKENS)
                case 2:
                    data[at : at + 1] = bytes((self._random.randrange(256),))
                case 3:
                    del data[at : at + self._random.randint(1, 20)]
                case 4:
                    data += data[at:]
        return bytes(data[:4000])

    def _base(self, number: int) -> dict[str, Any]:
        if self._random.random() < 0.3:
            frame: dict[str, Any] = json.loads(json.dumps(self._random.choice(self._golden)))
        else:
            op = self._random.choice(list(self._types))
            frame = {"op": op, **self._value(self._types[op])}
        return {**frame, "id": number}

    # Values of a type

    def _value(self, kind: inspect.Type) -> Any:
        make = _MAKERS.get(type(kind))
        return make(self, kind) if make is not None else self._random.choice(NASTY)

    def _metadata(self, kind: inspect.Metadata) -> Any:
        return self._value(kind.type)

    def _struct(self, kind: inspect.StructType) -> dict[str, Any]:
        wanted = [field for field in kind.fields if field.required or self._random.random() < 0.5]
        found = {field.encode_name: self._value(field.type) for field in wanted if field.encode_name != "id"}
        if kind.tag is not None and kind.tag_field is not None:
            found[kind.tag_field] = kind.tag
        return found

    def _union(self, kind: inspect.UnionType) -> Any:
        return self._value(self._random.choice(kind.types))

    def _literal(self, kind: inspect.LiteralType) -> Any:
        return self._random.choice(kind.values)

    def _list(self, kind: inspect.ListType) -> list[Any]:
        return [self._value(kind.item_type) for _ in range(self._length(kind.min_length, kind.max_length, 5))]

    def _text(self, kind: inspect.StrType) -> str:
        length = self._length(kind.min_length, kind.max_length, 12)
        alphabet = self._random.choice(["abcdefgh.", "0123456789", "ABCdef-_", "éß☃😀аβ ", "a\x00\n\x7f\u2028"])
        text = "".join(self._random.choices(alphabet, k=length))
        return text + "@example.org" if kind.pattern and "@" in kind.pattern and length else text

    def _number(self, kind: inspect.IntType | inspect.FloatType) -> float:
        low = kind.ge if kind.ge is not None else -1000
        high = kind.le if kind.le is not None else 1000
        return self._random.choice([low, high, low + 1, high - 1, low - 1, high + 1, self._random.randint(0, 50)])

    def _id(self, kind: inspect.UUIDType) -> str:
        if self.known and self._random.random() < 0.6:
            return str(self._random.choice(self.known))
        return str(UUID(int=self._random.getrandbits(128)))

    def _length(self, low: int | None, high: int | None, usual: int) -> int:
        low, high = low or 0, usual * 4 if high is None else high
        return self._random.choice([low, *[min(high, usual)] * 4, min(high, 3000), max(low - 1, 0), high + 1])

    # Changes

    def _change(self, frame: dict[str, Any]) -> None:
        key = self._random.choice(list(frame)) if frame else "op"
        match self._random.randrange(7):
            case 0:
                frame.pop(key, None)
            case 1 | 2:
                frame[key] = self._random.choice(NASTY)
            case 3:
                more = self._random.choice(["extra", "", "OP", "id ", "token", "__class__", key.upper()])
                frame[more] = frame.get(key)
            case 4:
                frame[key] = [frame.get(key)]
            case 5:
                frame[key] = {key: frame.get(key)}
            case 6:
                frame["op"] = self._random.choice([*self._types, "session", "session.", ".open", "Session.Open"])


_MAKERS: dict[type, Callable[[Wild, Any], Any]] = {
    inspect.Metadata: Wild._metadata,
    inspect.StructType: Wild._struct,
    inspect.UnionType: Wild._union,
    inspect.LiteralType: Wild._literal,
    inspect.ListType: Wild._list,
    inspect.StrType: Wild._text,
    inspect.IntType: Wild._number,
    inspect.FloatType: Wild._number,
    inspect.UUIDType: Wild._id,
    inspect.NoneType: lambda wild, kind: None,
    inspect.BoolType: lambda wild, kind: True,
}


def _requests(file: Path) -> list[dict[str, Any]]:
    """The golden requests of a domain."""
    samples: dict[str, Any] = msgspec.json.decode(file.read_bytes())
    return [exchange["request"] for exchanges in samples.get("ops", {}).values() for exchange in exchanges]
