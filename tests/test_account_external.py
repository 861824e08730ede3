"""account: logging in with an outside service, all the way: server, browser, and a real OpenID provider."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from protocol.account import (
    AccountChangePassword,
    AccountDelete,
    AccountGet,
    AccountLinkExternal,
    AccountLogin,
    AccountLoginExternal,
    AccountLoginSecondStep,
    AccountProviders,
    AccountStartExternal,
    AccountUnlinkExternal,
    AccountVerifyEmail,
    ExternalStart,
    SecondStep,
    Tokens,
)
from protocol.audit import AuditList
from protocol.error import (
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    PasswordNeeded,
    Unavailable,
    WrongCredentials,
)
from protocol.two_factor import TwoFactorEnable
from server import Server
from server.external import Provider
from tests import node_tools
from tests.authenticator import Authenticator
from tests.conftest import Connector, Person, Starter
from tests.mailbox import Mailbox
from tests.test_external import CALLBACK, SECRET, walk

PASSWORD = Person.password


@pytest.fixture(scope="module")
def issuers() -> Iterator[dict[str, str]]:
    with node_tools.started("oidc.mjs") as line:
        yield json.loads(line)


def settings(issuers: dict[str, str]) -> dict[str, Any]:
    return {
        "providers": [
            Provider("basic", "onesocket", SECRET, title="The Basics", issuer=issuers["basic"]),
            Provider("post", "onesocket", SECRET, issuer=issuers["post"]),
            Provider("away", "onesocket", SECRET, issuer="http://127.0.0.1:1"),
        ],
        "external_redirects": [CALLBACK],
    }


@pytest.fixture
async def server(start: Starter, issuers: dict[str, str]) -> Server:
    return await start(**settings(issuers))


async def begun(person: Person, provider: str = "basic") -> ExternalStart:
    return await person.call(AccountStartExternal(provider=provider, redirect=CALLBACK))


async def brought_back(person: Person, login: str = "anna", provider: str = "basic") -> dict[str, str]:
    """A whole walk: the fields of the frame that ends it."""
    started = await begun(person, provider)
    back = await walk(started.url, login)
    return {"ticket": started.ticket, "state": back["state"], "code": back["code"], "issuer": back["iss"]}


async def logged_in(person: Person, login: str = "anna", provider: str = "basic") -> Tokens | SecondStep:
    return await person.call(AccountLoginExternal(**await brought_back(person, login, provider), device="a phone"))


async def test_the_first_login_makes_an_account_and_the_next_one_finds_it(
    connect: Connector, stranger: Person, server: Server
) -> None:
    told = [(one.name, one.title) for one in (await stranger.call(AccountProviders())).providers]
    assert told[0] == ("basic", "The Basics")
    first = await logged_in(stranger)
    assert isinstance(first, Tokens)
    me = (await stranger.open(first)).me
    assert me is not None
    assert me.username.startswith("Person.anna.")
    assert (me.email, me.email_verified, me.providers) == ("anna@example.org", True, ["basic"])
    assert (me.has_password, me.role) == (False, "member")
    second = await logged_in(await connect())
    assert isinstance(second, Tokens)
    assert (second.account, second.device != first.device) == (first.account, True)
    other = await logged_in(await connect(), "otto")
    assert isinstance(other, Tokens)
    assert other.account != first.account
    newest = (await stranger.call(AuditList(limit=1))).entries[0]
    assert (newest.action, newest.detail) == ("account.login_external", {"name": "a phone"})


async def test_an_answer_counts_once_with_its_state_and_its_ticket_only(
    connect: Connector, stranger: Person, server: Server
) -> None:
    """The ticket stays where the login was started: who can only make a victim open a link has none that fits."""
    victim = await begun(stranger)
    mallory = await brought_back(await connect(), "mallory")
    for bent in ({"state": victim.state}, {"ticket": victim.ticket}, {"ticket": "made-up"}):
        with pytest.raises((WrongCredentials, Expired)):
            await stranger.call(AccountLoginExternal(**{**mallory, **bent}))
    with pytest.raises(Expired):
        await stranger.call(AccountLoginExternal(**mallory))
    fields = await brought_back(stranger)
    assert isinstance(await stranger.call(AccountLoginExternal(**fields)), Tokens)
    with pytest.raises(Expired):
        await stranger.call(AccountLoginExternal(**fields))
    assert await server.pool.fetchval("SELECT count(*) FROM account") == 1


async def test_an_answer_comes_in_ten_minutes_from_the_issuer_that_was_asked(
    stranger: Person, server: Server, issuers: dict[str, str]
) -> None:
    for issuer in (issuers["post"], "https://elsewhere.test"):
        fields = await brought_back(stranger)
        with pytest.raises(WrongCredentials):
            await stranger.call(AccountLoginExternal(**{**fields, "issuer": issuer}))
    late = await brought_back(stranger)
    await server.pool.execute("UPDATE ticket SET expires_at = expires_at - interval '10 min'")
    with pytest.raises(Expired):
        await stranger.call(AccountLoginExternal(**late))
    assert await server.pool.fetchval("SELECT count(*) FROM account") == 0


async def test_a_person_is_sent_back_only_where_the_operator_allows(stranger: Person, server: Server) -> None:
    bad = [
        "https://evil.example/callback",
        CALLBACK + "/more",
        CALLBACK + "?next=x",
        CALLBACK + "#x",
        "https://community.test:444/callback",
        "https://community.test@evil.example/callback",
        "http://community.test/callback",
        "https://community.test.evil.example/callback",
        "javascript:alert(1)",
        "https://127.0.0.1/external",
    ]
    for redirect in bad:
        with pytest.raises(Invalid) as refused:
            await stranger.call(AccountStartExternal(provider="basic", redirect=redirect))
        assert refused.value.field == "redirect", redirect
    for redirect in (CALLBACK, f"{server.public_url}/external", "http://127.0.0.1:4711/external"):
        assert (await stranger.call(AccountStartExternal(provider="basic", redirect=redirect))).expires_in == 600
    with pytest.raises(Invalid) as refused:
        await begun(stranger, "unknown")
    assert refused.value.field == "provider"
    with pytest.raises(Unavailable):
        await begun(stranger, "away")


async def test_an_address_confirmed_here_is_not_taken_over(
    connect: Connector, stranger: Person, mailbox: Mailbox, server: Server
) -> None:
    ann = await connect("ann", email="anna@example.org")
    await ann.call(AccountVerifyEmail(ticket=(await mailbox.next("anna@example.org")).ticket))
    with pytest.raises(Conflict, match="log in to it, then link"):
        await logged_in(stranger)
    assert await server.pool.fetchval("SELECT count(*) FROM identity") == 0
    await ann.call(AccountLinkExternal(**await brought_back(ann)))
    tokens = await logged_in(stranger)
    assert isinstance(tokens, Tokens)
    assert tokens.account == ann.tokens_given.account


async def test_an_address_that_the_provider_has_not_verified_is_nobodys(stranger: Person) -> None:
    tokens = await logged_in(stranger, "unverified")
    assert isinstance(tokens, Tokens)
    me = (await stranger.open(tokens)).me
    assert me is not None
    assert (me.email, me.email_verified) == (None, False)


async def test_an_address_that_only_waits_for_its_confirmation_stops_nobody(
    connect: Connector, stranger: Person
) -> None:
    mallory = await connect("mallory", email="anna@example.org")
    tokens = await logged_in(stranger)
    assert isinstance(tokens, Tokens)
    assert tokens.account != mallory.tokens_given.account


async def test_an_outside_account_is_linked_to_one_account_and_unlinked_again(
    ann: Person, bob: Person, stranger: Person
) -> None:
    await ann.call(AccountLinkExternal(**await brought_back(ann)))
    assert (await ann.call(AccountGet())).providers == ["basic"]
    for person, login in ((bob, "anna"), (ann, "otto")):
        with pytest.raises(Conflict):
            await person.call(AccountLinkExternal(**await brought_back(person, login)))
    tokens = await logged_in(stranger)
    assert isinstance(tokens, Tokens)
    assert tokens.account == ann.tokens_given.account
    with pytest.raises(WrongCredentials):
        await ann.call(AccountUnlinkExternal(provider="basic", password="wrong password"))
    await ann.call(AccountUnlinkExternal(provider="basic", password=PASSWORD))
    with pytest.raises(Conflict):
        await ann.call(AccountUnlinkExternal(provider="basic", password=PASSWORD))
    fresh = await logged_in(stranger)
    assert isinstance(fresh, Tokens)
    assert fresh.account != ann.tokens_given.account
    told = [(one.action, one.detail) for one in (await ann.call(AuditList())).entries if "link" in one.action]
    assert told == [
        ("account.unlink_external", {"provider": "basic"}),
        ("account.link_external", {"provider": "basic"}),
    ]


async def test_the_authenticator_is_asked_after_an_outside_login_too(
    ann: Person, stranger: Person, server: Server
) -> None:
    await ann.call(AccountLinkExternal(**await brought_back(ann)))
    authenticator = await Authenticator.of(server, ann)
    asked = await logged_in(stranger)
    assert isinstance(asked, SecondStep)
    with pytest.raises(WrongCredentials):
        await stranger.call(AccountLoginSecondStep(ticket=asked.ticket, code=authenticator.wrong))
    tokens = await stranger.call(AccountLoginSecondStep(ticket=asked.ticket, code=await authenticator.code()))
    assert tokens.account == ann.tokens_given.account


async def test_without_a_password_a_login_of_the_last_ten_minutes_is_the_proof(
    stranger: Person, server: Server
) -> None:
    tokens = await logged_in(stranger)
    assert isinstance(tokens, Tokens)
    me = (await stranger.open(tokens)).me
    assert me is not None
    for password in ("", "a guess"):
        with pytest.raises(WrongCredentials):
            await stranger.call(AccountLogin(login=me.username, password=password or "a guess"))
    with pytest.raises(Conflict, match="set a password first"):
        await stranger.call(AccountUnlinkExternal(provider="basic", password=""))
    await server.pool.execute("UPDATE device SET created_at = created_at - interval '11 min'")
    for frame in (
        AccountChangePassword(password="", new_password="a first password"),
        AccountDelete(password=""),
        TwoFactorEnable(password=""),
    ):
        with pytest.raises(PasswordNeeded):
            await stranger.call(frame)
    await server.pool.execute("UPDATE device SET created_at = created_at + interval '11 min'")
    await stranger.call(AccountChangePassword(password="", new_password="a first password"))
    assert (await stranger.call(AccountGet())).has_password
    await stranger.call(AccountUnlinkExternal(provider="basic", password="a first password"))
    assert isinstance(await stranger.call(AccountLogin(login=me.username, password="a first password")), Tokens)


async def test_two_first_logins_at_once_make_one_account(connect: Connector, server: Server) -> None:
    people = [await connect() for _ in range(2)]
    fields = await asyncio.gather(*(brought_back(person) for person in people))
    asked = [person.call(AccountLoginExternal(**one)) for person, one in zip(people, fields, strict=True)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} <= {Tokens, Conflict}
    assert any(isinstance(answer, Tokens) for answer in answers)
    assert await server.pool.fetchval("SELECT count(*) FROM account") == 1


async def test_a_closed_server_lets_those_in_who_are_linked_and_nobody_new(
    ann: Person, start: Starter, issuers: dict[str, str]
) -> None:
    await ann.call(AccountLinkExternal(**await brought_back(ann)))
    closed = await start(**settings(issuers), registration=False)
    async with Person(closed.url, reconnect=False) as person:
        assert isinstance(await logged_in(person), Tokens)
        with pytest.raises(Forbidden):
            await logged_in(person, "otto")


async def test_whoever_left_may_come_back_from_outside_as_somebody_new(stranger: Person) -> None:
    first = await logged_in(stranger)
    assert isinstance(first, Tokens)
    await stranger.open(first)
    await stranger.call(AccountDelete(password=""))
    second = await logged_in(stranger)
    assert isinstance(second, Tokens)
    assert second.account != first.account
