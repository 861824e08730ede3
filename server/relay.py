"""Relay: which STUN and TURN servers peers use, with credentials that the TURN server checks by a shared secret.

The name is `<when it ends, in Unix seconds>:<account>`, the password the base64 HMAC-SHA1 of the name: what coturn
calls `use-auth-secret`. SHA-1 is the scheme's choice, and sound in an HMAC.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from uuid import UUID

from protocol.call import IceServer, Relay
from server.config import Config


def relay(config: Config, account: UUID, now: datetime | None = None) -> Relay:
    """For somebody, from now on."""
    ends = (now or datetime.now(UTC)).replace(microsecond=0) + timedelta(minutes=config.turn_minutes)
    servers = [IceServer(urls=config.stun_urls)] if config.stun_urls else []
    if config.turn_urls and config.turn_secret:
        name = f"{int(ends.timestamp())}:{account}"
        servers.append(IceServer(urls=config.turn_urls, username=name, credential=_password(config.turn_secret, name)))
    return Relay(servers=servers, expires_at=ends)


def _password(secret: str, name: str) -> str:
    return base64.b64encode(hmac.new(secret.encode(), name.encode(), hashlib.sha1).digest()).decode()
