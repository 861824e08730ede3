"""Canaries: strings that exist once in the world, and whose they are."""

from __future__ import annotations

import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Collection, Iterator
from typing import NamedTuple
from uuid import UUID

# Letters that no other letter is taken for, so that a name and its key are the same.
_LETTERS = "abcdefghkmnpqrstuvwxyz"
# How many bytes of a canary lead to it; none is shorter.
_START = 7


class Mark(NamedTuple):
    """One canary."""

    text: bytes
    whose: str
    what: str
    private: bool


class Marks:
    """Every canary; finds them in what somebody was sent."""

    def __init__(self) -> None:
        self._starts: dict[bytes, list[Mark]] = {}
        self._found: dict[bytes, tuple[Mark, ...]] = {}
        self._count = self.searched = 0

    def private(self, whose: str, what: str) -> str:
        """A new canary that nobody else may ever see."""
        return self.keep(whose, what, _fresh())

    def public(self, whose: str, what: str) -> str:
        """A new canary that those may see who may see its owner."""
        return self.keep(whose, what, _fresh(), private=False)

    def keep(self, whose: str, what: str, secret: str, *, private: bool = True) -> str:
        """A value that exists already, as a canary."""
        mark = Mark(secret.encode(), whose, what, private)
        assert '"' not in secret
        assert len(mark.text) >= _START, f"{secret} is too short to be found for certain"
        self._starts.setdefault(mark.text[:_START], []).append(mark)
        self._found.clear()
        self._count += 1
        return secret

    def keep_bytes(self, whose: str, what: str, secret: bytes) -> bytes:
        """The same for bytes, in every spelling that JSON may get."""
        for spelt in (secret.hex(), b64encode(secret).decode(), urlsafe_b64encode(secret).rstrip(b"=").decode()):
            self.keep(whose, what, spelt)
        return secret

    def keep_id(self, whose: str, what: str, secret: UUID) -> UUID:
        """The same for an id."""
        self.keep(whose, what, str(secret))
        self.keep(whose, what, secret.hex)
        return secret

    def __len__(self) -> int:
        return self._count

    def found(self, data: bytes) -> Iterator[Mark]:
        """Every canary in some bytes; none has a quote in it, and what stands between two comes again and again."""
        for part in data.split(b'"'):
            if part not in self._found:
                self._found[part] = tuple(self._look(part))
            yield from self._found[part]

    def _look(self, data: bytes) -> Iterator[Mark]:
        for at in range(len(data) - _START + 1):
            for mark in self._starts.get(data[at : at + _START], ()):
                if data.startswith(mark.text, at):
                    yield mark

    def leaks(self, data: bytes, own: Collection[str], hidden: Collection[str]) -> list[str]:
        """What stands in `data` and should not: private marks but one's own, public ones of who is hidden."""
        self.searched += len(data)
        return [
            f"{mark.whose}'s {mark.what}"
            for mark in self.found(data)
            if (mark.whose not in own if mark.private else mark.whose in hidden)
        ]


def _fresh() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(16))
