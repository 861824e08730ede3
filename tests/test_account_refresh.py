"""account: the chain of refresh tokens, and what is an access token and what only looks like one."""

import asyncio
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from protocol.account import AccountRefresh, Tokens
from protocol.audit import AuditList
from protocol.error import SessionRevoked, Unauthenticated
from protocol.session import SessionOpen
from server import Server
from server.secret import Keyring
from storage.ids import new_id
from tests.conftest import Connector, Person
from tests.raw_socket import RawSocket

SOON = 2.0  # a second, and some patience for a busy machine


async def trade(person: Person, tokens: Tokens, nonce: Any = None) -> Tokens:
    return await person.call(AccountRefresh(refresh=tokens.refresh, nonce=nonce or uuid4()))


async def test_a_refresh_token_is_traded_for_new_tokens(ann: Person, stranger: Person) -> None:
    first = ann.tokens_given
    second = await trade(stranger, first)
    third = await trade(stranger, second)
    assert len({first.refresh, second.refresh, third.refresh}) == 3
    assert {one.device for one in (first, second, third)} == {first.device}
    assert (await stranger.open(third)).device == first.device


async def test_a_lost_reply_is_asked_for_again_with_the_same_nonce(ann: Person, stranger: Person) -> None:
    nonce = uuid4()
    first = await trade(stranger, ann.tokens_given, nonce)
    again = await trade(stranger, ann.tokens_given, nonce)
    assert (again.refresh, again.device) == (first.refresh, first.device)
    await trade(stranger, again)


async def test_the_same_trade_many_times_at_once_has_one_outcome(ann: Person, connect: Connector) -> None:
    nonce, people = uuid4(), [await connect() for _ in range(6)]
    answers = await asyncio.gather(*(trade(person, ann.tokens_given, nonce) for person in people))
    assert len({one.refresh for one in answers}) == 1


async def test_a_token_used_twice_ends_its_device_and_no_other(ann: Person, connect: Connector) -> None:
    """Who comes second may be the thief or the owner: nobody can tell, so both are out."""
    bob, thief, same = await connect("bob"), await connect(), await connect()
    await same.open(ann.tokens_given)
    stolen = ann.tokens_given
    mine = await trade(ann, stolen)
    with pytest.raises(SessionRevoked, match="used before"):
        await trade(thief, stolen)
    for socket in (ann, same):
        assert (await asyncio.wait_for(socket.wait_closed(), SOON))[0] == 4401
    owner = await connect()
    with pytest.raises(SessionRevoked):
        await owner.call(SessionOpen(token=mine.access))
    with pytest.raises(SessionRevoked):
        await trade(await connect(), mine)
    await bob.call(AuditList())


async def test_reuse_is_told_to_the_owner(ann: Person, connect: Connector, server: Server) -> None:
    await trade(ann, ann.tokens_given)
    with pytest.raises(SessionRevoked):
        await trade(await connect(), ann.tokens_given)
    row = await server.pool.fetchrow("SELECT * FROM audit WHERE action = 'refresh.reused'")
    assert row is not None
    assert (row["account"], row["device"], row["address"]) == (
        ann.tokens_given.account,
        ann.tokens_given.device,
        "127.0.0.1",
    )


async def test_of_two_trades_with_other_nonces_at_once_one_wins_and_the_device_ends(
    ann: Person, connect: Connector
) -> None:
    one, other = await connect(), await connect()
    answers = await asyncio.gather(trade(one, ann.tokens_given), trade(other, ann.tokens_given), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["SessionRevoked", "Tokens"]
    assert (await asyncio.wait_for(ann.wait_closed(), SOON))[0] == 4401


async def test_a_retry_after_a_minute_is_reuse(ann: Person, connect: Connector, server: Server) -> None:
    nonce = uuid4()
    await trade(ann, ann.tokens_given, nonce)
    await server.pool.execute("UPDATE device SET rotated_at = rotated_at - interval '61 s'")
    with pytest.raises(SessionRevoked):
        await trade(await connect(), ann.tokens_given, nonce)


async def test_an_expired_refresh_token_is_refused(ann: Person, connect: Connector, server: Server) -> None:
    await server.pool.execute("UPDATE device SET expires_at = now() - interval '1 s'")
    with pytest.raises(SessionRevoked):
        await trade(await connect(), ann.tokens_given)
    with pytest.raises(SessionRevoked):
        await (await connect()).call(SessionOpen(token=ann.tokens_given.access))


async def test_a_made_up_refresh_token_of_a_known_device_does_it_no_harm(
    ann: Person, stranger: Person, server: Server
) -> None:
    real = ann.tokens_given.refresh
    foreign = Keyring(["another secret, just as long as needed"]).first_refresh(ann.tokens_given.device)
    other_key = foreign[:4] + server.keys.current.id + foreign[16:]
    flipped = real[:-1] + ("A" if real[-1] != "A" else "Q")
    for made_up in (
        other_key,
        foreign,
        flipped,
        real[:-2],
        real + "A",
        real + ".",
        real[4:],
        "osr_",
        "osr_" + "x" * 98,
    ):
        with pytest.raises(Unauthenticated):
            await stranger.call(AccountRefresh(refresh=made_up, nonce=uuid4()))
    await ann.call(AuditList())
    await trade(ann, ann.tokens_given)


async def test_tokens_of_one_kind_are_none_of_the_other(ann: Person, stranger: Person) -> None:
    with pytest.raises(Unauthenticated):
        await stranger.call(SessionOpen(token=ann.tokens_given.refresh))
    with pytest.raises(Unauthenticated):
        await stranger.call(AccountRefresh(refresh=ann.tokens_given.access, nonce=uuid4()))


# Access tokens


def text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


class Forger:
    """Knows everything about this server's tokens, and bends one thing at a time."""

    def __init__(self, server: Server, tokens: Tokens) -> None:
        self.key, self.refresh_key = server.keys.current.access, server.keys.current.refresh
        now = int(time.time())
        self.header = {"alg": "HS256", "kid": server.keys.current.id, "typ": "at+jwt"}
        self.claims = {
            "iss": "onesocket",
            "aud": "onesocket",
            "sub": str(tokens.account),
            "sid": str(tokens.device),
            "iat": now,
            "exp": now + 60,
        }

    def made(self, key: bytes | None = None, digest: str = "sha256", **bent: Any) -> str:
        """A token whose header and claims say what is usual, but for what is given (None: not at all)."""
        header, claims = {**self.header, **bent.pop("header", {})}, {**self.claims, **bent}
        parts = [{name: value for name, value in part.items() if value is not None} for part in (header, claims)]
        body = ".".join(text(json.dumps(part).encode()) for part in parts)
        return f"{body}.{text(hmac.digest(self.key if key is None else key, body.encode(), digest))}"

    def by_rsa(self) -> str:
        key = rsa.generate_private_key(65537, 2048)
        return jwt.encode(self.claims, key, "RS256", headers={**self.header, "alg": "RS256"})

    def bad(self) -> dict[str, Callable[[], str]]:
        made, past = self.made, int(time.time()) - 40
        return {
            "alg none": lambda: made(header={"alg": "none"}).rpartition(".")[0] + ".",
            "alg none, our mac left on": lambda: made(header={"alg": "none"}),
            "no alg": lambda: made(header={"alg": None}),
            "alg RS256 with our key": lambda: made(header={"alg": "RS256"}),
            "RS256": self.by_rsa,
            "HS512": lambda: made(digest="sha512", header={"alg": "HS512"}),
            "our refresh key": lambda: made(self.refresh_key),
            "a key of nothing": lambda: made(b"\0" * 32),
            "another kid": lambda: made(header={"kid": "0" * 12}),
            "a kid that is a path": lambda: made(header={"kid": "../../../../dev/null"}),
            "a kid that is a statement": lambda: made(header={"kid": "x' UNION SELECT 'secret"}),
            "no kid": lambda: made(header={"kid": None}),
            "a kid that is a list": lambda: made(header={"kid": [self.header["kid"]]}),
            "no typ": lambda: made(header={"typ": None}),
            "typ of an identity token": lambda: made(header={"typ": "JWT"}),
            "a key of its own inside": lambda: made(b"\0" * 32, header={"jwk": {"kty": "oct", "k": "AAAA"}}),
            "a critical extension": lambda: made(header={"crit": ["b64"], "b64": False}),
            "another issuer": lambda: made(iss="elsewhere"),
            "another audience": lambda: made(aud="elsewhere"),
            "expired": lambda: made(exp=past),
            "not yet": lambda: made(iat=int(time.time()) + 600),
            "no issuer": lambda: made(iss=None),
            "no audience": lambda: made(aud=None),
            "no subject": lambda: made(sub=None),
            "no device": lambda: made(sid=None),
            "no time": lambda: made(iat=None),
            "no end": lambda: made(exp=None),
            "a subject that is no id": lambda: made(sub="ann"),
            "a device that is a number": lambda: made(sid=7),
            "another payload": lambda: ".".join([made().split(".")[0], "e30", made().split(".")[2]]),
            "no signature": lambda: made().rpartition(".")[0] + ".",
            "nested too deeply": lambda: text(b"[" * 1300) + ".e30.AAAA",
            "claims nested too deeply": lambda: (
                text(json.dumps(self.header).encode()) + "." + text(b"[" * 1200) + ".AA"
            ),
            "dots": lambda: "..",
            "nonsense": lambda: "nonsense",
        }


async def test_a_token_that_is_not_ours_in_every_respect_is_refused(ann: Person, server: Server) -> None:
    forger, socket = Forger(server, ann.tokens_given), await RawSocket.connect(server.url)
    good = await socket.ask(b'{"op":"session.open","token":"%s"}' % forger.made().encode())
    assert good.code == "ok", "what the forger bends was straight"
    for name, bad in forger.bad().items():
        socket.abort()
        socket = await RawSocket.connect(server.url)
        reply = await socket.ask(b'{"op":"session.open","token":"%s"}' % bad().encode())
        assert reply.code == "unauthenticated", name
        assert (await socket.ask(b'{"op":"account.get"}')).code == "unauthenticated", name
    socket.abort()


async def test_a_token_of_somebody_elses_device_is_refused(ann: Person, connect: Connector, server: Server) -> None:
    bob, forger = await connect("bob"), Forger(server, ann.tokens_given)
    for bent in ({"sid": str(bob.tokens_given.device)}, {"sub": str(bob.tokens_given.account)}, {"sid": str(new_id())}):
        with pytest.raises(SessionRevoked):
            await (await connect()).call(SessionOpen(token=forger.made(**bent)))
