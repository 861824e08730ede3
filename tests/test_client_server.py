"""The client and a real server."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from protocol.account import AccountGet, AccountLogin, AccountRegister, Tokens
from protocol.client import Client
from protocol.device import DeviceRevokeOthers
from protocol.error import (
    SessionRevoked,
    TooLate,
)
from protocol.session import SessionGoingAway, SessionHello, SessionPing
from server import Config, Server
from tests.cable import a_cable
from tests.conftest import QUICK, Starter


async def registered(client: Client) -> Tokens:
    fresh = await client.call(AccountRegister(username="ann", password="correct horse battery"))
    await client.open(fresh)
    return fresh


async def test_a_cut_cable_is_mended_without_the_program(server: Server) -> None:
    async with a_cable(server.port) as (cable, url), Client(url) as client:
        await registered(client)
        for _ in range(3):
            pings = [asyncio.create_task(client.call(SessionPing(), retry=True)) for _ in range(10)]
            await asyncio.sleep(0)
            cable.cut()
            await asyncio.gather(*pings)
            assert (await client.call(AccountGet())).username == "ann"


async def test_a_refresh_whose_reply_was_lost_does_not_end_the_login(server: Server) -> None:
    async with a_cable(server.port) as (cable, url), Client(url) as client:
        before = await registered(client)
        cable.mute = True
        renewed = await client.refresh()
        assert renewed.refresh != before.refresh
        assert (await client.call(AccountGet())).username == "ann"
        assert (await client.refresh()).refresh != renewed.refresh
        assert not cable.mute


async def test_tokens_kept_for_too_long_are_renewed_when_they_are_opened(server: Server) -> None:
    async with Client(server.url) as client:
        fresh = await registered(client)
    kept: list[Tokens] = []
    stale = msgspec.structs.replace(fresh, access="expired")
    async with Client(server.url, on_tokens=kept.append) as client:
        opened = await client.open(stale)
        assert opened.account == fresh.account
        assert kept == [client.tokens]
        assert kept[0].device == fresh.device


async def test_a_revoked_device_is_told_and_does_not_come_back(server: Server) -> None:
    async with Client(server.url) as phone, Client(server.url) as laptop:
        await registered(phone)
        login = await laptop.call(AccountLogin(login="ann", password="correct horse battery"))
        assert isinstance(login, Tokens)
        await laptop.open(login)
        listening = asyncio.create_task(phone.wait_for(SessionHello))
        await laptop.call(DeviceRevokeOthers())
        assert (await asyncio.wait_for(phone.wait_closed(), 5))[0] == 4401
        with pytest.raises(SessionRevoked):
            await listening
        with pytest.raises(SessionRevoked):
            await phone.call(SessionPing())
        await laptop.call(SessionPing())


async def test_a_restarting_server_keeps_its_clients(database: str, redis_url: str, folder: Path) -> None:
    settings = {**QUICK, "data": folder, "database_url": database, "redis_url": redis_url}
    async with Server(Config(**settings)) as first:
        client = await Client(first.url).__aenter__()
        await registered(client)
        port = first.port
    assert (await client.wait_for(SessionGoingAway)).reason == "restart"
    calling = asyncio.create_task(client.call(AccountGet()))
    async with Server(Config(**settings | {"port": port})):
        assert (await calling).username == "ann"
        assert isinstance(await client.wait_for(SessionHello), SessionHello)
        await client.close()


async def test_a_stranger_that_does_not_log_in_is_closed_for_it(start: Starter) -> None:
    server = await start(login_timeout=1.0)
    async with Client(server.url) as client:
        assert (await asyncio.wait_for(client.wait_closed(), 10))[0] == 4408
        with pytest.raises(TooLate):
            await client.call(SessionPing())


async def test_a_unix_socket_serves_as_well(start: Starter, folder: Path) -> None:
    await start(unix_socket=folder / "socket")
    async with Client("ws://localhost", unix_socket=folder / "socket") as client:
        assert (await registered(client)).access
        await client.call(SessionPing())
