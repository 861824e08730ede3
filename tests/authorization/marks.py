"""Canaries: strings that exist once in the world, and whose they are."""

from __future__ import annotations

import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Collection, Iterator
from uuid import UUID

# Letters that no other letter is taken for, so that a name and its key are the same.
_LETTERS = "abcdefghkmnpqrstuvwxyz"


class Marks:
    """Every canary with its owner; finds them in what somebody was sent."""

    def __init__(self) -> None:
        self._private: dict[bytes, tuple[str, str]] = {}
        self._public: dict[bytes, tuple[str, str]] = {}
        self.searched = 0

    def private(self, whose: str, what: str) -> str:
        """A new canary that nobody else may ever see."""
        return self.keep(whose, what, _fresh())

    def public(self, whose: str, what: str) -> str:
        """A new canary that those may see who may see its owner."""
        mark = _fresh()
        self._public[mark.encode()] = (whose, what)
        return mark

    def keep(self, whose: str, what: str, secret: str) -> str:
        """A value that exists already, as a private canary."""
        self._private[secret.encode()] = (whose, what)
        return secret

    def keep_bytes(self, whose: str, what: str, secret: bytes) -> bytes:
        """The same for bytes, in every spelling that JSON may get."""
        for spelt in (secret.hex().encode(), b64encode(secret), urlsafe_b64encode(secret).rstrip(b"=")):
            self._private[spelt] = (whose, what)
        return secret

    def keep_id(self, whose: str, what: str, secret: UUID) -> UUID:
        """The same for an id."""
        self._private[str(secret).encode()] = self._private[secret.hex.encode()] = (whose, what)
        return secret

    def __len__(self) -> int:
        return len(self._private) + len(self._public)

    def leaks(self, data: bytes, own: Collection[str], hidden: Collection[str]) -> Iterator[str]:
        """What stands in `data` and should not: private marks but one's own, public ones of who is hidden."""
        self.searched += len(data)
        for mark, (whose, what) in self._private.items():
            if mark in data and whose not in own:
                yield f"{whose}'s {what}"
        for mark, (whose, what) in self._public.items():
            if mark in data and whose in hidden:
                yield f"{whose}'s {what}, whom they may not see"

    def holds(self, value: str, *, private: bool) -> bool:
        """Whether a value of a column contains a canary."""
        data = value.encode()
        return any(mark in data for mark in (self._private if private else self._public))


def _fresh() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(16))
