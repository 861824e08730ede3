"""Time-based one-time passwords (RFC 6238), as every authenticator app makes them: SHA-1, six digits, 30 seconds."""

from __future__ import annotations

import hmac
import secrets
import time
from base64 import b32encode
from urllib.parse import quote

_STEP = 30
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


def new_secret() -> bytes:
    """160 random bits."""
    return secrets.token_bytes(20)


def shown(secret: bytes) -> str:
    """The secret as people type it."""
    return b32encode(secret).decode()


def uri(secret: bytes, account: str, issuer: str) -> str:
    """What the QR code says."""
    label, name = quote(f"{issuer}:{account}", safe=""), quote(issuer, safe="")
    return f"otpauth://totp/{label}?secret={shown(secret)}&issuer={name}&algorithm=SHA1&digits=6&period=30"


def at(secret: bytes, step: int) -> str:
    """The code of one 30-second step."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 15
    return f"{(int.from_bytes(digest[offset : offset + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"


def match(secret: bytes, code: str, last_step: int, now: float | None = None) -> int | None:
    """The step that the code belongs to, one off now at most, and newer than the last used."""
    current = int(time.time() if now is None else now) // _STEP
    found = None
    for step in (current - 1, current, current + 1):
        if hmac.compare_digest(at(secret, step).encode(), code.encode()) and step > last_step:
            found = step
    return found


def recovery_codes(count: int = 10) -> list[str]:
    """Codes of 50 random bits each: XXXXX-XXXXX."""
    return ["-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(2)) for _ in range(count)]
