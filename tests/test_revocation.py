"""Logins that end on one process end on all of them, within a second, with Redis and without."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from protocol.account import (
    AccountChangePassword,
    AccountDelete,
    AccountForgotPassword,
    AccountGet,
    AccountLogin,
    AccountLogout,
    AccountRefresh,
    AccountRegister,
    AccountResetPassword,
    Tokens,
)
from protocol.api_key import ApiKeyCreate, ApiKeyList, ApiKeyRevoke
from protocol.device import DeviceRevoke, DeviceRevokeOthers
from protocol.error import Refusal, SessionRevoked, Unauthenticated
from protocol.session import SessionOpen
from protocol.user import UserList
from server import Server
from tests.conftest import Person, Starter
from tests.mailbox import Mailbox

PASSWORD, NOBODY = Person.password, "redis://127.0.0.1:1"
WITHIN = 1.5  # a second, and some patience for a busy machine


class Case:
    """An account with two devices and an API key, logged in on the first server."""

    def __init__(self, name: str, stack: AsyncExitStack, servers: list[Server], mailbox: Mailbox) -> None:
        self.name, self.stack, self.servers, self.mailbox = name, stack, servers, mailbox

    async def visit(self, server: Server) -> Person:
        return await self.stack.enter_async_context(Person(server.url, reconnect=False))

    async def prepare(self) -> None:
        self.person, here = await self.visit(self.servers[0]), self.servers[0]
        self.own = await self.person.call(AccountRegister(username=self.name, password=PASSWORD))
        await self.person.open(self.own)
        email = f"{self.name}@example.org"
        await here.pool.execute(
            "UPDATE account SET email = $2, email_verified_at = now() WHERE id = $1", self.own.account, email
        )
        other = await self.person.call(AccountLogin(login=self.name, password=PASSWORD))
        assert isinstance(other, Tokens)
        self.other = other
        self.key = (await self.person.call(ApiKeyCreate(name="bot", password=PASSWORD, scopes=["*"]))).secret

    async def logout(self) -> str:
        await self.person.call(AccountLogout())
        return self.own.access

    async def revoke(self) -> str:
        await self.person.call(DeviceRevoke(device=self.other.device))
        return self.other.access

    async def revoke_others(self) -> str:
        await self.person.call(DeviceRevokeOthers())
        return self.other.access

    async def change_password(self) -> str:
        await self.person.call(AccountChangePassword(password=PASSWORD, new_password="a new password"))
        return self.other.access

    async def reset_password(self) -> str:
        stranger, email = await self.visit(self.servers[0]), f"{self.name}@example.org"
        await stranger.call(AccountForgotPassword(email=email))
        ticket = (await self.mailbox.next(email)).ticket
        await stranger.call(AccountResetPassword(ticket=ticket, password="a new password"))
        return self.own.access

    async def delete(self) -> str:
        await self.person.call(AccountDelete(password=PASSWORD))
        return self.key

    async def reuse(self) -> str:
        stranger = await self.visit(self.servers[0])
        await stranger.call(AccountRefresh(refresh=self.other.refresh, nonce=uuid4()))
        with pytest.raises(SessionRevoked):
            await stranger.call(AccountRefresh(refresh=self.other.refresh, nonce=uuid4()))
        return self.other.access

    async def revoke_key(self) -> str:
        [key] = (await self.person.call(ApiKeyList())).keys
        await self.person.call(ApiKeyRevoke(key=key.id))
        return self.key


Way = Callable[[Case], Awaitable[str]]
WAYS: dict[str, Way] = {
    "logout": Case.logout,
    "revoke": Case.revoke,
    "revoke-others": Case.revoke_others,
    "change-password": Case.change_password,
    "reset-password": Case.reset_password,
    "delete": Case.delete,
    "reuse": Case.reuse,
    "revoke-key": Case.revoke_key,
}


async def ends_everywhere(case: Case, way: Way) -> float:
    """Seconds until the socket on the other process was closed."""
    await case.prepare()
    sockets = {}
    for login in (case.own.access, case.other.access, case.key):
        sockets[login] = await case.visit(case.servers[1])
        await sockets[login].open(login)
        await sockets[login].call(UserList())
    loop = asyncio.get_running_loop()
    ended = await way(case)
    began = loop.time()
    code, _ = await asyncio.wait_for(sockets[ended].wait_closed(), 10)
    seconds = loop.time() - began
    assert code == 4401, case.name
    for server in case.servers:
        with pytest.raises((SessionRevoked, Unauthenticated)):
            await (await case.visit(server)).call(SessionOpen(token=ended))
    return seconds


@pytest.mark.parametrize("redis", ["here", "away"])
async def test_an_ended_login_ends_on_another_process(start: Starter, mailbox: Mailbox, redis: str) -> None:
    settings = {} if redis == "here" else {"redis_url": NOBODY}
    servers = [await start(**settings) for _ in range(2)]
    assert [server.bus.alive for server in servers] == [redis == "here"] * 2
    async with AsyncExitStack() as stack:
        cases = {name: Case(name, stack, servers, mailbox) for name in WAYS}
        took = await asyncio.gather(*(ends_everywhere(cases[name], way) for name, way in WAYS.items()))
        late = {name: seconds for name, seconds in zip(WAYS, took, strict=True) if seconds > WITHIN}
        assert not late
        others = {name: cases[name] for name in ("logout", "revoke", "revoke-key")}
        for name, case in others.items():
            login = case.own.access if name != "logout" else case.other.access
            await (await case.visit(servers[1])).call(SessionOpen(token=login))


async def test_a_login_that_ends_while_its_session_opens_does_not_stay(start: Starter, mailbox: Mailbox) -> None:
    """The token was good when it was looked up; the socket was not yet among those to be closed."""
    server = await start()
    async with AsyncExitStack() as stack:
        case = Case("ann", stack, [server, server], mailbox)
        await case.prepare()
        racers = [await case.visit(server) for _ in range(10)]
        opening = [asyncio.create_task(racer.open(case.other)) for racer in racers]
        await case.person.call(DeviceRevoke(device=case.other.device))
        await asyncio.gather(*opening, return_exceptions=True)
        for racer in racers:
            if racer.session is not None:
                await asyncio.wait_for(racer.wait_closed(), WITHIN)
            else:
                with pytest.raises(Refusal):
                    await racer.call(AccountGet())
