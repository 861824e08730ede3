"""Accounts to log in with."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from protocol.account import AccountRegister
from protocol.client import Client

_AT_ONCE = 16
_ON_ONE_SOCKET = 200


@dataclass(frozen=True)
class Registered:
    """A new account."""

    id: str
    token: str
    username: str
    password: str


async def register(url: str, count: int) -> list[str]:
    """Make so many new accounts; their access tokens."""
    return [one.token for one in await register_all(url, count, lambda _: None)]


async def register_all(url: str, count: int, progress: Callable[[int], None]) -> list[Registered]:
    """Make so many new accounts, and tell how far that is. A socket on which nobody logs in does not live long."""
    run, made = secrets.token_hex(4), []
    for first in range(0, count, _ON_ONE_SOCKET):
        names = [f"bench-{run}-{number}" for number in range(first, min(first + _ON_ONE_SOCKET, count))]
        made += await _register(url, names)
        progress(len(made))
    return made


async def _register(url: str, names: list[str]) -> list[Registered]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(client: Client, username: str) -> Registered:
        password = secrets.token_urlsafe(16)
        async with turns:
            tokens = await client.call(AccountRegister(username=username, password=password), timeout=60)
        return Registered(str(tokens.account), tokens.access, username, password)

    async with Client(url) as client:
        return await asyncio.gather(*[one(client, username) for username in names])
