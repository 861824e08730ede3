"""Accounts to log in with."""

import asyncio
import secrets

from protocol.account import AccountRegister
from protocol.client import Client

_AT_ONCE = 16


async def register(url: str, count: int) -> list[str]:
    """Make so many new accounts; their access tokens."""
    run, turns = secrets.token_hex(4), asyncio.Semaphore(_AT_ONCE)

    async def one(client: Client, number: int) -> str:
        async with turns:
            frame = AccountRegister(username=f"bench-{run}-{number}", password=secrets.token_urlsafe(16))
            return (await client.call(frame)).access

    async with Client(url) as client:
        return await asyncio.gather(*[one(client, number) for number in range(count)])
