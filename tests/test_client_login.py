"""The client and its login: what it opens sessions with, and how it renews that."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from protocol.account import Tokens
from protocol.client import Client
from protocol.error import (
    SessionRevoked,
)
from protocol.session import SessionPing
from tests.peer import OPENED, Peer, a_peer, no, ok, tokens


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with a_peer() as one:
        yield one


async def test_coming_back_opens_the_session_before_anything_else(peer: Peer) -> None:
    async with Client(peer.url) as client:
        assert (await client.open(tokens())) == OPENED
        peer.socket.transport.abort()
        await peer.sockets_made(2)
        await client.call(SessionPing())
    assert [request["op"] for request in peer.requests] == ["session.open", "session.resume", "session.ping"]
    assert {request["token"] for request in peer.requests[:2]} == {"access-0"}


async def test_an_api_key_opens_the_session_again_as_it_is(peer: Peer) -> None:
    async with Client(peer.url) as client:
        await client.open("key-1")
        peer.socket.transport.abort()
        await client.call(SessionPing(), retry=True)
    assert [request.get("token") for request in peer.requests] == ["key-1", "key-1", None]
    assert not peer.renewed


async def test_old_tokens_are_renewed_before_coming_back_and_handed_to_the_program(peer: Peer) -> None:
    kept: list[Tokens] = []
    async with Client(peer.url, on_tokens=kept.append) as client:
        await client.open(tokens(lasting=30))
        assert peer.asked("session.open")[0]["token"] == "access-1"
        assert [one.refresh for one in kept] == ["refresh-1"]
        assert client.tokens == kept[0]
        peer.socket.transport.abort()
        await client.call(SessionPing(), retry=True)
        assert peer.renewed == 1
        assert (await client.refresh()).access == "access-2"
    assert [request["token"] for request in peer.requests if "token" in request] == ["access-1", "access-1"]


@pytest.mark.parametrize("code", ["unauthenticated", "session_revoked"])
async def test_tokens_that_turn_out_to_be_old_are_renewed(peer: Peer, code: str) -> None:
    """As when a program starts with tokens that it kept for a week."""

    async def choosy(request: dict[str, Any]) -> dict[str, Any] | None:
        if request["token"] != "access-0":
            return ok(OPENED)
        await peer.socket.send(json.dumps({"re": request["id"], **no(code)}))
        if code == "session_revoked":
            await peer.socket.close(4401, "over")
        return None

    peer.answers["session.open"] = choosy
    async with Client(peer.url) as client:
        assert (await client.open(tokens())) == OPENED
        assert client.tokens is not None
        assert client.tokens.access == "access-1"
        await client.call(SessionPing())


@pytest.mark.parametrize("code", ["unauthenticated", "session_revoked"])
async def test_a_login_that_is_really_over_is_told(peer: Peer, code: str) -> None:
    peer.answers["session.open"] = lambda _: no(code)
    peer.answers["account.refresh"] = lambda _: no("session_revoked")
    async with Client(peer.url) as client:
        with pytest.raises(SessionRevoked):
            await client.open(tokens())
        assert len(peer.asked("account.refresh")) == 1


async def test_a_login_that_ended_while_away_ends_the_client(peer: Peer) -> None:
    async with Client(peer.url) as client:
        await client.open(tokens(lasting=0))
        peer.answers["session.resume"] = lambda _: no("session_revoked")
        peer.socket.transport.abort()
        with pytest.raises(SessionRevoked):
            await client.call(SessionPing(), retry=True)
        await asyncio.wait_for(client.wait_closed(), 5)
    assert peer.renewed == 1


async def test_a_lost_refresh_reply_is_asked_for_again_with_the_same_nonce(peer: Peer) -> None:
    def lose_twice(request: dict[str, Any]) -> dict[str, Any] | None:
        if len(peer.asked("account.refresh")) > 2:
            return peer.renew(request)
        peer.socket.transport.abort()
        return None

    peer.answers["account.refresh"] = lose_twice
    async with Client(peer.url) as client:
        await client.open(tokens())
        renewed = await client.refresh()
        assert renewed.access == "access-1"
        trades = peer.asked("account.refresh")
        assert {trade["refresh"] for trade in trades} == {"refresh-0"}
        assert len({trade["nonce"] for trade in trades}) == 1
        await client.refresh()
        assert len({trade["nonce"] for trade in peer.asked("account.refresh")}) == 2


async def test_refreshes_at_once_are_one(peer: Peer) -> None:
    async with Client(peer.url) as client:
        await client.open(tokens())
        renewed = await asyncio.gather(*[client.refresh() for _ in range(10)])
    assert len({one.access for one in renewed}) == 1
    assert peer.renewed == 1


async def test_a_refresh_that_its_caller_gave_up_still_keeps_its_tokens(peer: Peer) -> None:
    answer = asyncio.Event()

    async def slowly(request: dict[str, Any]) -> dict[str, Any]:
        await answer.wait()
        return peer.renew(request)

    kept: asyncio.Queue[Tokens] = asyncio.Queue()
    peer.answers["account.refresh"] = slowly
    async with Client(peer.url, on_tokens=kept.put_nowait) as client:
        await client.open(tokens())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.refresh(), 0.05)
        answer.set()
        assert (await asyncio.wait_for(kept.get(), 5)).access == "access-1"
        assert client.tokens is not None
        assert client.tokens.access == "access-1"


async def test_a_program_that_fails_to_keep_tokens_stays_connected(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Tokens) -> None:
        raise OSError("disk full")

    async with Client(peer.url, on_tokens=fail) as client:
        await client.open(tokens(lasting=0))
        await client.call(SessionPing())
    assert "disk full" in caplog.text
    assert "refresh-1" not in caplog.text
