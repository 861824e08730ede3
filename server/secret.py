"""Everything that is signed, sealed or guessed: access and refresh tokens, tickets, secrets at rest.

Rule 1: one algorithm per purpose, chosen here and never by the token; keys are picked by id from a fixed table.
Rule 2: what a token proves is in its type: a refresh token is no access token, a ticket is neither.
Rule 3: the database holds hashes and sealed boxes only; whoever reads it can log in as nobody.
Rule 4: comparisons take constant time.

A server has one secret; each purpose derives its own key from it. To rotate, put a new secret in front of the old one:
what is new is made with the first, what is old is still read with the others.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from protocol.error import Expired, Unauthenticated

_ISSUER = "onesocket"
_TYPE = "at+jwt"
_ALGORITHM = "HS256"
_LEEWAY = 30
_REFRESH = "osr_"
_API_KEY = "osk_"
_SHORTEST = 32


class SecretError(Exception):
    """The server's secret is missing or unfit; the message says what to do."""


class Claims(Struct, frozen=True):
    """What an access token says."""

    account: UUID
    device: UUID


class Key(Struct, frozen=True):
    """What is derived from one secret."""

    id: str
    access: bytes
    refresh: bytes
    link: bytes
    seal: AESGCM

    @classmethod
    def derive(cls, secret: str) -> Key:
        """The keys of a secret; each purpose has its own."""
        root = secret.encode()

        def part(purpose: bytes) -> bytes:
            return hmac.digest(root, b"onesocket " + purpose, "sha256")

        return cls(part(b"id")[:6].hex(), part(b"access"), part(b"refresh"), part(b"link"), AESGCM(part(b"seal")))


class Keyring:
    """All keys in use, the current one first."""

    def __init__(self, secrets_: Sequence[str]) -> None:
        if not secrets_ or any(len(secret) < _SHORTEST for secret in secrets_):
            raise SecretError(f"a secret needs at least {_SHORTEST} characters: make one with `openssl rand -hex 32`")
        keys = [Key.derive(secret) for secret in secrets_]
        self.current = keys[0]
        self._keys = {key.id: key for key in keys}

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all keys that are accepted."""
        return frozenset(self._keys)

    # Access tokens: JWT

    def access(self, account: UUID, device: UUID, seconds: int) -> str:
        """A token that opens sessions until it expires or its device is revoked."""
        now = int(time.time())
        claims = {
            "iss": _ISSUER,
            "aud": _ISSUER,
            "sub": str(account),
            "sid": str(device),
            "iat": now,
            "exp": now + seconds,
        }
        headers = {"kid": self.current.id, "typ": _TYPE}
        return jwt.encode(claims, self.current.access, algorithm=_ALGORITHM, headers=headers)

    def read_access(self, token: str) -> Claims:
        """What a valid token says; `Unauthenticated` for every other one."""
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.get(str(header.get("kid")))
            if key is None or header.get("typ") != _TYPE:
                raise Unauthenticated("this is no access token of this server")
            claims = jwt.decode(
                token,
                key.access,
                algorithms=[_ALGORITHM],
                audience=_ISSUER,
                issuer=_ISSUER,
                leeway=_LEEWAY,
                options={"require": ["iss", "aud", "sub", "sid", "iat", "exp"]},
            )
            return Claims(UUID(claims["sub"]), UUID(claims["sid"]))
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("this access token has expired: use account.refresh") from None
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError, RecursionError):
            raise Unauthenticated("this is no access token of this server") from None

    # Refresh tokens: device, random part, and a MAC that tells ours from made-up ones

    def first_refresh(self, device: UUID) -> str:
        """The first token of a device's chain."""
        return self._refresh(self.current, device, secrets.token_bytes(32))

    def next_refresh(self, token: str, nonce: UUID) -> list[str]:
        """The successor, and what it would be with each older key: the same for the same nonce, else unguessable."""
        device, seed = self.refresh_device(token), token.encode() + nonce.bytes
        return [self._refresh(key, device, hmac.digest(key.refresh, seed, "sha256")) for key in self._keys.values()]

    def refresh_device(self, token: str) -> UUID:
        """Whose token this is; `Unauthenticated` when this server has not made it."""
        key = self._keys.get(token[len(_REFRESH) : len(_REFRESH) + 12])
        body = _bytes(token[len(_REFRESH) + 12 :])
        if key is None or len(body) != 64 or token != _REFRESH + key.id + _text(body):
            raise Unauthenticated("this is no refresh token of this server")
        mac = hmac.digest(key.refresh, b"mac" + body[:48], "sha256")[:16]
        if not hmac.compare_digest(mac, body[48:]):
            raise Unauthenticated("this is no refresh token of this server")
        return UUID(bytes=body[:16])

    def _refresh(self, key: Key, device: UUID, random: bytes) -> str:
        body = device.bytes + random
        return _REFRESH + key.id + _text(body + hmac.digest(key.refresh, b"mac" + body, "sha256")[:16])

    # Links: who has one may read

    def sign(self, what: bytes) -> str:
        """What proves that this server has said so."""
        return _text(hmac.digest(self.current.link, what, "sha256"))

    def signed(self, what: bytes, proof: str) -> bool:
        """Whether this server has said so."""
        given = _bytes(proof)
        proofs = [hmac.digest(key.link, what, "sha256") for key in self._keys.values()]
        return any(hmac.compare_digest(one, given) for one in proofs)

    # Sealed boxes: what the database must hold but not know

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Encrypt and authenticate, bound to a purpose."""
        nonce = os.urandom(12)
        return bytes.fromhex(self.current.id) + nonce + self.current.seal.encrypt(nonce, plain, purpose.encode())

    def unseal(self, box: bytes, purpose: str) -> bytes:
        """The opposite; `Expired` when the key is gone or the box was tampered with."""
        key = self._keys.get(box[:6].hex())
        if key is None:
            raise Expired("this was sealed with a secret that the server no longer has")
        try:
            return key.seal.decrypt(box[6:18], box[18:], purpose.encode())
        except (InvalidTag, ValueError):
            raise Expired("this was sealed for something else") from None


def ticket() -> str:
    """A secret that is good once, for links and second steps: 256 random bits."""
    return secrets.token_urlsafe(32)


def api_key() -> str:
    """The secret of an API key."""
    return _API_KEY + secrets.token_urlsafe(32)


def is_api_key(token: str) -> bool:
    """Whether this looks like an API key rather than an access token."""
    return token.startswith(_API_KEY)


def digest(secret: str) -> bytes:
    """What the database keeps of a random secret (high entropy: no slow hash needed)."""
    return hashlib.sha256(secret.encode()).digest()


def secret_file(path: Path) -> list[str]:
    """The secrets in the data folder, the current one first; made at the first start."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    if path.stat().st_mode & 0o077:
        raise SecretError(f"{path} can be read by others: chmod 600 it, and rotate the secret")
    return path.read_text().split()


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""
