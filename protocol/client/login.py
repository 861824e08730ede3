"""What opens a session, and whether it is still good.

Rule: a nonce lives as long as its refresh token: every attempt to trade that token carries the same one.
"""

import time
from uuid import uuid4

from protocol.account import Tokens

_SPARE = 60.0


class Login:
    """An API key, or tokens that can be renewed."""

    def __init__(self, credential: Tokens | str, sure: bool = False) -> None:
        """`sure`: the tokens came from the server just now, so their age is known."""
        self.tokens = credential if isinstance(credential, Tokens) else None
        self.access = credential.access if isinstance(credential, Tokens) else credential
        self.nonce = uuid4()
        self._sure = sure
        self._until = time.monotonic() + (self.tokens.access_expires_in - _SPARE if self.tokens else 0.0)

    @property
    def old(self) -> bool:
        """Whether to renew before use: expired, or soon."""
        return self.tokens is not None and time.monotonic() >= self._until

    def doubt(self) -> bool:
        """The server refused it: whether that may be for its age alone, which a renewal will show."""
        if self.tokens is None or self._sure:
            return False
        self._until = 0.0
        return True
