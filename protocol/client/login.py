"""What opens a session, and whether it is still good.

Rule 1: a nonce lives as long as its refresh token: every attempt to trade that token carries the same one.
Rule 2: one trade at a time, and who waits for it may give up: it goes on, its reply must not be lost.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import cast
from uuid import uuid4

from protocol.account import AccountRefresh, Tokens
from protocol.client.connection import Connection

log = logging.getLogger("onesocket.client")

_SPARE = 60.0
_PATIENCE = 30.0


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


class Keyring:
    """The login in use, and its renewal."""

    def __init__(self, on_tokens: Callable[[Tokens], None] | None) -> None:
        """`on_tokens`: called with every renewed pair."""
        self._on_tokens = on_tokens
        self._renewal: asyncio.Task[None] | None = None
        self.login: Login | None = None

    @property
    def tokens(self) -> Tokens | None:
        """The tokens in use, as last renewed."""
        return self.login.tokens if self.login else None

    async def good(self, connection: Connection) -> Login:
        """The login in use, renewed when it is old."""
        if self.login is not None and self.login.old:
            await self.renew(connection)
        return cast("Login", self.login)

    async def renew(self, connection: Connection) -> None:
        """Trade the refresh token."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._trade(connection, cast("Login", self.login)))
        await asyncio.shield(self._renewal)

    async def _trade(self, connection: Connection, login: Login) -> None:
        request = AccountRefresh(refresh=cast("Tokens", login.tokens).refresh, nonce=login.nonce)
        async with asyncio.timeout(_PATIENCE):
            tokens = await connection.ask(request)
        if self.login is login:
            self.login = Login(tokens, sure=True)
        try:
            if self._on_tokens is not None:
                self._on_tokens(tokens)
        except Exception:
            log.exception("the program could not keep its renewed tokens")
