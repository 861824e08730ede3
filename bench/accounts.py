"""Accounts to log in with."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from protocol.account import AccountRegister
from protocol.client import Client

_AT_ONCE = 16


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
    """Make so many new accounts, and tell how far that is."""
    run, turns, done = secrets.token_hex(4), asyncio.Semaphore(_AT_ONCE), 0

    async def one(client: Client, number: int) -> Registered:
        nonlocal done
        async with turns:
            username, password = f"bench-{run}-{number}", secrets.token_urlsafe(16)
            tokens = await client.call(AccountRegister(username=username, password=password), timeout=60)
            done += 1
            progress(done)
            return Registered(str(tokens.account), tokens.access, username, password)

    async with Client(url) as client:
        return await asyncio.gather(*[one(client, number) for number in range(count)])
