"""account: making one, under a name that is nobody else's, and confirming its address."""

import asyncio

import pytest

from protocol.account import AccountGet, AccountLogin, AccountRegister, AccountSendVerification, AccountVerifyEmail
from protocol.audit import AuditList
from protocol.codec import encode
from protocol.error import Conflict, Expired, Forbidden, Invalid, RateLimited, WrongCredentials
from server import Server
from tests.conftest import Connector, Person, Starter
from tests.mailbox import Mailbox
from tests.raw_socket import RawSocket

PASSWORD = Person.password


async def test_a_new_account_is_logged_in_on_its_device(stranger: Person) -> None:
    tokens = await stranger.call(AccountRegister(username="Ann", password=PASSWORD, device="a phone", locale="de"))
    opened = await stranger.open(tokens)
    me = opened.me
    assert me is not None
    assert (opened.account, opened.device, opened.scopes) == (tokens.account, tokens.device, ["*"])
    assert (me.username, me.locale, me.email, me.role) == ("Ann", "de", None, "member")
    assert (me.has_password, me.two_factor, me.providers) == (True, False, [])
    [entry] = (await stranger.call(AuditList())).entries
    assert (entry.action, entry.device, entry.detail) == ("account.register", tokens.device, {"name": "a phone"})
    assert entry.address == "127.0.0.1"


async def test_a_closed_server_makes_no_accounts(start: Starter) -> None:
    server = await start(registration=False)
    async with Person(server.url, reconnect=False) as stranger:
        with pytest.raises(Forbidden):
            await stranger.call(AccountRegister(username="ann", password=PASSWORD))
    assert await server.pool.fetchval("SELECT count(*) FROM account") == 0


async def test_a_name_that_looks_like_another_is_taken(connect: Connector, stranger: Person) -> None:
    await connect("olivia")
    cyrillic, greek, mathematical = "\u043elivia", "\u03bflivia", "\U0001d428livia"
    struck, accented, selected = "o\u0336livia", "ol\u00edvia", "olivia\ufe0f"
    filled, ringed, digits = "oliv\u3164ia", "olivia\u20dd", "0l1v1a"
    for name in ("OLIVIA", cyrillic, greek, mathematical, struck, accented, selected, filled, ringed, digits):
        with pytest.raises((Conflict, Invalid)) as refused:
            await stranger.call(AccountRegister(username=name, password=PASSWORD))
        assert refused.value.field == "username", ascii(name)


async def test_of_two_who_want_one_name_at_once_one_gets_it(connect: Connector) -> None:
    people = [await connect() for _ in range(8)]
    names = ["racer", "Racer", "RACER", "r\u0430cer"] * 2
    asked = [
        person.call(AccountRegister(username=name, password=PASSWORD))
        for person, name in zip(people, names, strict=True)
    ]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict"] * 7 + ["Tokens"]


async def test_a_bad_name_is_invalid(stranger: Person) -> None:
    marks, invisible, smileys = ("..", "-ann", "_ann", "ann!"), ("a\u200dnn", "a\u202enn"), "\U0001f600\U0001f600"
    for name in ("a", *marks, *invisible, smileys, "x" * 33, "ann@example.org", "\ufdfa"):
        with pytest.raises(Invalid) as refused:
            await stranger.call(AccountRegister(username=name, password=PASSWORD))
        assert refused.value.field == "username", ascii(name)


async def test_names_of_the_house_are_reserved(stranger: Person) -> None:
    for name in ("admin", "0wner", "Syst\u0435m", "everyone", "deleted"):
        with pytest.raises(Invalid, match="reserved"):
            await stranger.call(AccountRegister(username=name, password=PASSWORD))


async def test_a_password_is_neither_short_nor_the_name_nor_the_address(stranger: Person) -> None:
    for password in ("too short", "annabelle-lee", "ANN@example.org"):
        with pytest.raises(Invalid) as refused:
            await stranger.call(AccountRegister(username="Annabelle-Lee", password=password, email="ann@example.org"))
        assert refused.value.field == "password"


async def test_an_address_is_confirmed_by_the_mail_sent_to_it_once(
    server: Server, connect: Connector, mailbox: Mailbox, stranger: Person
) -> None:
    ann = await connect("ann", email="ann@example.org")
    assert not (await ann.call(AccountGet())).email_verified
    mail = await mailbox.next("ann@example.org")
    assert mail.link.startswith(f"{server.public_url}/verify#")
    await stranger.call(AccountVerifyEmail(ticket=mail.ticket))
    me = await ann.call(AccountGet())
    assert (me.email, me.email_verified) == ("ann@example.org", True)
    with pytest.raises(Expired):
        await stranger.call(AccountVerifyEmail(ticket=mail.ticket))
    assert [one.action for one in (await ann.call(AuditList())).entries] == ["account.verify_email", "account.register"]


async def test_a_link_is_good_for_a_day(server: Server, connect: Connector, mailbox: Mailbox) -> None:
    ann = await connect("ann", email="ann@example.org")
    ticket = (await mailbox.next("ann@example.org")).ticket
    await server.pool.execute("UPDATE ticket SET expires_at = expires_at - interval '1 day'")
    with pytest.raises(Expired):
        await ann.call(AccountVerifyEmail(ticket=ticket))


async def test_a_known_address_gets_another_mail_but_the_same_reply(
    connect: Connector, mailbox: Mailbox, stranger: Person
) -> None:
    await connect("ann", email="ann@example.org")
    await stranger.call(AccountVerifyEmail(ticket=(await mailbox.next("ann@example.org")).ticket))
    known = await stranger.call(AccountRegister(username="mallory", password=PASSWORD, email="ANN@example.org"))
    fresh = await stranger.call(AccountRegister(username="oscar", password=PASSWORD, email="new@example.org"))
    assert (known.access_expires_in, known.refresh_expires_in) == (fresh.access_expires_in, fresh.refresh_expires_in)
    assert (await mailbox.next("ANN@example.org")).subject == "You have an account already"
    assert (await mailbox.next("new@example.org")).subject == "Confirm your address"
    for tokens in (known, fresh):
        opened = await stranger.open(tokens)
        assert opened.me is not None
        assert not opened.me.email_verified


async def test_of_two_accounts_with_one_address_the_first_to_confirm_has_it(
    connect: Connector, mailbox: Mailbox, stranger: Person
) -> None:
    mallory, ann = await connect("mallory", email="ann@example.org"), await connect("ann", email="ann@example.org")
    first, second = await mailbox.next("ann@example.org"), await mailbox.next("ann@example.org")
    await stranger.call(AccountVerifyEmail(ticket=second.ticket))
    with pytest.raises(Conflict):
        await stranger.call(AccountVerifyEmail(ticket=first.ticket))
    verified = [(await one.call(AccountGet())).email_verified for one in (mallory, ann)]
    assert sorted(verified) == [False, True]


async def test_a_mail_that_was_lost_is_sent_again_and_its_ticket_replaces_the_old_one(
    connect: Connector, mailbox: Mailbox
) -> None:
    ann = await connect("ann", email="ann@example.org")
    lost = await mailbox.next("ann@example.org")
    await ann.call(AccountSendVerification())
    again = await mailbox.next("ann@example.org")
    with pytest.raises(Expired):
        await ann.call(AccountVerifyEmail(ticket=lost.ticket))
    await ann.call(AccountVerifyEmail(ticket=again.ticket))
    with pytest.raises(Conflict):
        await ann.call(AccountSendVerification())


async def test_a_ticket_of_one_kind_is_none_of_another(
    server: Server, connect: Connector, mailbox: Mailbox, stranger: Person
) -> None:
    """A link that confirms an address must set no password, and the other way round."""
    await connect("ann", email="ann@example.org")
    ticket = (await mailbox.next("ann@example.org")).ticket
    socket = await RawSocket.connect(server.url)
    await socket.ask(b'{"op":"session.open","id":1,"token":"%s"}' % (await _access(stranger)).encode())
    for frame in (
        {"op": "account.reset_password", "ticket": ticket, "password": "another password"},
        {"op": "account.login_second_step", "ticket": ticket, "code": "123456"},
        {"op": "account.login_external", "ticket": ticket, "code": "c", "state": "s"},
        {"op": "account.link_external", "ticket": ticket, "code": "c", "state": "s"},
        {"op": "account.claim", "ticket": ticket},
    ):
        assert (await socket.ask(encode(frame))).code == "expired", frame["op"]
    socket.abort()
    await stranger.call(AccountVerifyEmail(ticket=ticket))


async def _access(stranger: Person) -> str:
    return (await stranger.call(AccountRegister(username="eve", password=PASSWORD))).access


async def test_registrations_and_their_mails_are_counted(start: Starter) -> None:
    server = await start(throttle=1.0)
    async with Person(server.url, reconnect=False) as stranger:
        for number in range(5):
            frame = AccountRegister(username=f"flood{number}", password=PASSWORD, email="ann@example.org")
            await stranger.call(frame)
        with pytest.raises(RateLimited) as refused:
            await stranger.call(AccountRegister(username="flood5", password=PASSWORD, email="Ann@example.org"))
        assert refused.value.retry_after is not None
        assert 600 < refused.value.retry_after <= 720
        for number in range(14):
            await stranger.call(AccountRegister(username=f"more{number}", password=PASSWORD))
        with pytest.raises(RateLimited):
            await stranger.call(AccountRegister(username="one-too-many", password=PASSWORD))
        with pytest.raises(WrongCredentials):
            await stranger.call(AccountLogin(login="one-too-many", password=PASSWORD))
