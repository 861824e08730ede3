"""Rotating the server's secret: what was made with the old one lives on, what is new is made with the new one."""

import asyncio
import re
from uuid import uuid4

import jwt
import pytest

from protocol.account import AccountLogin, AccountLoginSecondStep, AccountRefresh, AccountRegister, SecondStep, Tokens
from protocol.error import Unauthenticated
from protocol.session import SessionOpen
from server import Server
from server.secret import Key
from storage.pool import StorageError
from tests.authenticator import Authenticator
from tests.conftest import Person, Starter

OLD, NEW, OTHER = "the old secret of this server, long enough", "n" * 40, "o" * 40
PASSWORD = Person.password


def visit(server: Server) -> Person:
    return Person(server.url, reconnect=False)


async def registered(server: Server, name: str) -> Tokens:
    async with visit(server) as person:
        return await person.call(AccountRegister(username=name, password=PASSWORD))


async def resealed(server: Server) -> None:
    """Wait until nothing is sealed with another secret than the current one."""
    query = "SELECT count(*) FROM two_factor WHERE encode(substr(secret, 1, 6), 'hex') <> $1"
    async with asyncio.timeout(5):
        while await server.pool.fetchval(query, server.keys.current.id):
            await asyncio.sleep(0.01)


async def second_step(server: Server, authenticator: Authenticator) -> None:
    async with visit(server) as person:
        asked = await person.call(AccountLogin(login="ann", password=PASSWORD))
        assert isinstance(asked, SecondStep)
        await person.call(AccountLoginSecondStep(ticket=asked.ticket, code=await authenticator.code()))


async def test_tokens_and_authenticators_outlive_a_rotation_and_then_the_old_secret(start: Starter) -> None:
    old = await start(secret=OLD)
    async with visit(old) as ann:
        tokens = await ann.call(AccountRegister(username="ann", password=PASSWORD))
        await ann.open(tokens)
        authenticator = await Authenticator.of(old, ann)
    both = await start(secret=NEW, previous_secrets=[OLD])
    async with visit(both) as ann:
        await ann.call(SessionOpen(token=tokens.access))
        renewed = await ann.call(AccountRefresh(refresh=tokens.refresh, nonce=uuid4()))
    new_id = Key.derive(NEW).id
    assert jwt.get_unverified_header(renewed.access)["kid"] == new_id
    assert renewed.refresh.startswith(f"osr_{new_id}")
    await second_step(both, authenticator)
    await resealed(both)
    new = await start(secret=NEW)
    async with visit(new) as ann:
        with pytest.raises(Unauthenticated):
            await ann.call(SessionOpen(token=tokens.access))
        await ann.call(SessionOpen(token=renewed.access))
        await ann.call(AccountRefresh(refresh=renewed.refresh, nonce=uuid4()))
    await second_step(new, authenticator)


async def test_a_reply_that_was_lost_in_the_restart_is_given_again(start: Starter) -> None:
    old, nonce = await start(secret=OLD), uuid4()
    tokens = await registered(old, "ann")
    async with visit(old) as ann:
        lost = await ann.call(AccountRefresh(refresh=tokens.refresh, nonce=nonce))
    both = await start(secret=NEW, previous_secrets=[OTHER, OLD])
    async with visit(both) as ann:
        again = await ann.call(AccountRefresh(refresh=tokens.refresh, nonce=nonce))
        assert again.refresh == lost.refresh
        await ann.call(AccountRefresh(refresh=again.refresh, nonce=uuid4()))


async def test_a_server_without_the_old_secret_refuses_to_start_and_says_what_to_do(start: Starter) -> None:
    await start(secret=OLD)
    with pytest.raises(StorageError, match=re.escape("add the old one to `previous_secrets`")):
        await start(secret=NEW)
    await start(secret=NEW, previous_secrets=[OLD])


async def test_an_old_secret_cannot_be_dropped_while_an_authenticator_needs_it(start: Starter) -> None:
    """As when it is dropped within moments of the rotation: else its owner could not log in, and nobody would know."""
    server = await start(secret=NEW)
    tokens = await registered(server, "ann")
    box = bytes.fromhex(Key.derive(OLD).id) + bytes(40)
    await server.pool.execute("INSERT INTO two_factor (account, secret) VALUES ($1, $2)", tokens.account, box)
    with pytest.raises(StorageError, match=r"1 authenticators .* `previous_secrets` once more"):
        await start(secret=NEW)
