"""account: a forgotten password, a changed one, a changed address; and the mails that all of it takes."""

import asyncio
import re
import socket

import pytest
from aiosmtpd.smtp import SMTP

from protocol.account import (
    AccountChangeEmail,
    AccountChangePassword,
    AccountForgotPassword,
    AccountGet,
    AccountLogin,
    AccountLoginSecondStep,
    AccountRegister,
    AccountResetPassword,
    AccountVerifyEmail,
    SecondStep,
    Tokens,
)
from protocol.api_key import ApiKeyCreate
from protocol.audit import AuditList
from protocol.codec import encode
from protocol.error import Expired, RateLimited, Unauthenticated, WrongCredentials
from protocol.session import SessionOpen
from server import Server
from tests.authenticator import Authenticator
from tests.conftest import Connector, Person, Starter
from tests.mailbox import Mailbox
from tests.raw_socket import RawSocket
from tests.test_mail import Post

PASSWORD, FRESH = Person.password, "a fresh password"
SOON = 2.0
ADDRESS = "ann@example.org"


@pytest.fixture
async def ann(connect: Connector, mailbox: Mailbox) -> Person:
    """With a confirmed address."""
    person = await connect("ann", email=ADDRESS)
    await person.call(AccountVerifyEmail(ticket=(await mailbox.next(ADDRESS)).ticket))
    return person


async def reset_ticket(person: Person, mailbox: Mailbox) -> str:
    await person.call(AccountForgotPassword(email=ADDRESS))
    return (await mailbox.next(ADDRESS)).ticket


async def test_known_and_unknown_addresses_get_the_same_bytes_and_only_the_known_one_a_mail(
    ann: Person, connect: Connector, server: Server, mailbox: Mailbox
) -> None:
    await connect("bob", email="bob@example.org")
    await mailbox.next("bob@example.org")
    door = await RawSocket.connect(server.url)
    asked = ["nobody@example.org", "bob@example.org", "ANN@example.org"]
    replies = [await door.ask(encode(AccountForgotPassword(id=1, email=email))) for email in asked]
    door.abort()
    assert len({reply.data for reply in replies}) == 1
    mail = await mailbox.next(ADDRESS)
    assert (mail.subject, mail.link) == ("Set a new password", f"{server.public_url}/reset#{mail.ticket}")
    assert mailbox.mails == [], "neither a stranger's address nor an unconfirmed one"


async def test_a_reset_logs_everybody_out_and_the_new_password_in(
    ann: Person, connect: Connector, stranger: Person, mailbox: Mailbox
) -> None:
    other = await connect()
    await other.open(await other.call(AccountLogin(login="ann", password=PASSWORD)))
    await stranger.call(AccountResetPassword(ticket=await reset_ticket(stranger, mailbox), password=FRESH))
    for person in (ann, other):
        assert (await asyncio.wait_for(person.wait_closed(), SOON))[0] == 4401
    with pytest.raises(WrongCredentials):
        await stranger.call(AccountLogin(login="ann", password=PASSWORD))
    await stranger.open(await stranger.call(AccountLogin(login=ADDRESS, password=FRESH)))
    assert (await mailbox.next(ADDRESS)).subject == "Your account was changed"
    actions = [one.action for one in (await stranger.call(AuditList())).entries]
    assert {"account.reset_password", "account.forgot_password"} < set(actions)


async def test_a_link_sets_a_password_once_even_when_it_is_used_twice_at_once(
    ann: Person, connect: Connector, mailbox: Mailbox
) -> None:
    people = [await connect() for _ in range(4)]
    ticket = await reset_ticket(people[0], mailbox)
    asked = [
        person.call(AccountResetPassword(ticket=ticket, password=f"{FRESH} {at}")) for at, person in enumerate(people)
    ]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Expired"] * 3 + ["Nothing"]
    with pytest.raises(Expired):
        await people[0].call(AccountResetPassword(ticket=ticket, password=FRESH))


async def test_a_link_is_good_for_an_hour_and_until_the_next_one(
    ann: Person, stranger: Person, server: Server, mailbox: Mailbox
) -> None:
    first, second = await reset_ticket(stranger, mailbox), await reset_ticket(stranger, mailbox)
    with pytest.raises(Expired):
        await stranger.call(AccountResetPassword(ticket=first, password=FRESH))
    await server.pool.execute("UPDATE ticket SET expires_at = expires_at - interval '1 h'")
    with pytest.raises(Expired):
        await stranger.call(AccountResetPassword(ticket=second, password=FRESH))
    await ann.call(AccountGet())


async def test_guessed_tickets_never_reach_the_password_threads(
    ann: Person, stranger: Person, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    real = server.passwords.hash

    async def watched(password: str) -> str:
        hashed.append(password)
        return await real(password)

    monkeypatch.setattr(server.passwords, "hash", watched)
    for guess in ("guess", "x" * 43):
        with pytest.raises(Expired):
            await stranger.call(AccountResetPassword(ticket=guess, password=FRESH))
    assert hashed == []
    await stranger.call(AccountRegister(username="bob", password=PASSWORD))
    assert hashed == [PASSWORD]


async def test_after_a_reset_the_second_factor_is_asked_for_as_before(
    ann: Person, stranger: Person, server: Server, mailbox: Mailbox
) -> None:
    authenticator = await Authenticator.of(server, ann)
    await stranger.call(AccountResetPassword(ticket=await reset_ticket(stranger, mailbox), password=FRESH))
    asked = await stranger.call(AccountLogin(login="ann", password=FRESH))
    assert isinstance(asked, SecondStep)
    with pytest.raises(WrongCredentials):
        await stranger.call(AccountLoginSecondStep(ticket=asked.ticket, code=authenticator.wrong))
    code = await authenticator.code()
    assert isinstance(await stranger.call(AccountLoginSecondStep(ticket=asked.ticket, code=code)), Tokens)


async def test_whoever_waits_with_half_a_login_or_a_link_loses_it_when_the_password_changes(
    ann: Person, stranger: Person, server: Server, mailbox: Mailbox
) -> None:
    """Both were got with what was right before: the old password, or a look into the mailbox."""
    authenticator = await Authenticator.of(server, ann)
    ticket = await reset_ticket(stranger, mailbox)
    asked = await stranger.call(AccountLogin(login="ann", password=PASSWORD))
    assert isinstance(asked, SecondStep)
    await ann.call(AccountChangePassword(password=PASSWORD, new_password=FRESH))
    with pytest.raises(Expired):
        await stranger.call(AccountLoginSecondStep(ticket=asked.ticket, code=await authenticator.code()))
    with pytest.raises(Expired):
        await stranger.call(AccountResetPassword(ticket=ticket, password="mallory's password"))


async def test_a_changed_password_logs_out_everywhere_else(ann: Person, connect: Connector, mailbox: Mailbox) -> None:
    other = await connect()
    tokens = await other.call(AccountLogin(login="ann", password=PASSWORD))
    await other.open(tokens)
    with pytest.raises(WrongCredentials):
        await ann.call(AccountChangePassword(password="wrong password", new_password=FRESH))
    await ann.call(AccountChangePassword(password=PASSWORD, new_password=FRESH))
    assert (await asyncio.wait_for(other.wait_closed(), SOON))[0] == 4401
    actions = [one.action for one in (await ann.call(AuditList(limit=3))).entries]
    assert actions == ["account.change_password", "password.wrong", "account.login"]
    assert (await mailbox.next(ADDRESS)).subject == "Your account was changed"


async def test_a_change_that_was_begun_with_the_old_password_ends_with_it(
    ann: Person, connect: Connector, stranger: Person, start: Starter, mailbox: Mailbox
) -> None:
    """Mallory has the password and a session, and asks for another password just before the owner's reset."""
    slow = await start(password_memory_kib=4096, password_rounds=40, password_threads=1)
    ticket, mallory = await reset_ticket(stranger, mailbox), await connect(to=slow)
    await mallory.open(await stranger.call(AccountLogin(login="ann", password=PASSWORD)))
    change = asyncio.create_task(
        mallory.call(AccountChangePassword(password=PASSWORD, new_password="mallory's password"))
    )
    async with asyncio.timeout(5):
        while not slow.passwords.waiting:
            await asyncio.sleep(0.001)
    await stranger.call(AccountResetPassword(ticket=ticket, password=FRESH))
    await asyncio.gather(change, return_exceptions=True)
    async with asyncio.timeout(5):
        await slow.router.drained()
    assert isinstance(await stranger.call(AccountLogin(login="ann", password=FRESH)), Tokens)


async def test_whoever_resets_over_a_socket_of_the_account_gets_the_reply_there(ann: Person, mailbox: Mailbox) -> None:
    await ann.call(AccountResetPassword(ticket=await reset_ticket(ann, mailbox), password=FRESH))
    with pytest.raises(Unauthenticated):
        await ann.call(AccountGet())
    await ann.open(await ann.call(AccountLogin(login="ann", password=FRESH)))


async def test_a_new_address_counts_once_it_is_confirmed_and_the_old_one_hears_of_it(
    ann: Person, stranger: Person, mailbox: Mailbox
) -> None:
    with pytest.raises(WrongCredentials):
        await ann.call(AccountChangeEmail(password="wrong password", email="new@example.org"))
    await ann.call(AccountChangeEmail(password=PASSWORD, email="new@example.org"))
    assert (await mailbox.next(ADDRESS)).subject == "Your account was changed"
    ticket = (await mailbox.next("new@example.org")).ticket
    assert (await ann.call(AccountGet())).email == ADDRESS
    link_to_the_old_address = await reset_ticket(stranger, mailbox)
    await stranger.call(AccountVerifyEmail(ticket=ticket))
    me = await ann.call(AccountGet())
    assert (me.email, me.email_verified) == ("new@example.org", True)
    with pytest.raises(WrongCredentials):
        await stranger.call(AccountLogin(login=ADDRESS, password=PASSWORD))
    await stranger.call(AccountLogin(login="new@example.org", password=PASSWORD))
    with pytest.raises(Expired):
        await stranger.call(AccountResetPassword(ticket=link_to_the_old_address, password=FRESH))
    actions = [one.action for one in (await ann.call(AuditList())).entries]
    assert "account.change_email" in actions


async def test_moving_to_an_address_of_somebody_else_looks_like_moving_to_any(
    ann: Person, connect: Connector, mailbox: Mailbox
) -> None:
    bob = await connect("bob")
    known = await bob.call(AccountChangeEmail(password=PASSWORD, email=ADDRESS))
    assert (await mailbox.next(ADDRESS)).subject == "You have an account already"
    assert known == await bob.call(AccountChangeEmail(password=PASSWORD, email="free@example.org"))
    assert (await mailbox.next("free@example.org")).subject == "Confirm your address"
    assert (await ann.call(AccountGet())).email_verified


async def test_mails_to_one_address_are_few_whether_anybody_has_it_or_not(start: Starter) -> None:
    server = await start(throttle=1.0)
    async with Person(server.url, reconnect=False) as stranger:
        await stranger.call(AccountRegister(username="ann", password=PASSWORD))
        await server.pool.execute("UPDATE account SET email = 'Ann@example.org', email_verified_at = now()")
        for email in (ADDRESS, "nobody@example.org"):
            for _ in range(5):
                await stranger.call(AccountForgotPassword(email=email))
            with pytest.raises(RateLimited):
                await stranger.call(AccountForgotPassword(email=email.upper()))


# With a mail server

PUT_OFF = "SELECT attempts = 1 AND next_at < now() + interval '90 s' FROM mail"  # tried, and to be tried in a minute


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_mails_wait_while_the_mail_server_is_away_and_bring_the_owner_back_in(start: Starter) -> None:
    port, post, loop = free_port(), Post(), asyncio.get_running_loop()
    server = await start(
        smtp_url=f"smtp://127.0.0.1:{port}", public_url="https://chat.example", mail_from="us@chat.example"
    )
    async with Person(server.url, reconnect=False) as ann:
        await ann.call(AccountRegister(username="ann", password=PASSWORD))
        await server.pool.execute("UPDATE account SET email = $1, email_verified_at = now()", ADDRESS)
        await ann.call(AccountForgotPassword(email=ADDRESS))
        async with asyncio.timeout(10):
            while not await server.pool.fetchval(PUT_OFF):
                await asyncio.sleep(0.02)
        relay = await loop.create_server(lambda: SMTP(post, hostname="mail.test", loop=loop), "127.0.0.1", port)
        await server.pool.execute("UPDATE mail SET next_at = now()")
        server.outbox.wake()
        async with asyncio.timeout(10):
            while not post.mails or await server.pool.fetchval("SELECT count(*) FROM mail"):
                await asyncio.sleep(0.02)
        relay.close()
        [mail] = post.mails
        assert (mail["To"], mail["From"], mail["Subject"]) == (ADDRESS, "us@chat.example", "Set a new password")
        found = re.search(r"https://chat\.example/reset#(\S+)", mail.get_content())
        assert found is not None
        await ann.call(AccountResetPassword(ticket=found[1], password=FRESH))
        tokens = await ann.call(AccountLogin(login=ADDRESS, password=FRESH))
        assert isinstance(tokens, Tokens)
        await ann.call(SessionOpen(token=tokens.access))


async def test_a_mail_in_the_queue_cannot_be_read_in_the_database(start: Starter) -> None:
    server = await start(smtp_url=f"smtp://127.0.0.1:{free_port()}")
    async with Person(server.url, reconnect=False) as ann:
        await ann.call(AccountRegister(username="ann", password=PASSWORD, email=ADDRESS))
    mail = await server.pool.fetchrow("SELECT * FROM mail")
    ticket = await server.pool.fetchrow("SELECT * FROM ticket")
    assert mail is not None
    assert ticket is not None
    assert mail["recipient"] == ADDRESS
    assert not any(b"verify" in value for value in (mail["sealed"], mail["subject"].encode()))
    assert len(ticket["hash"]) == 32


async def test_a_reset_ends_api_keys_too(ann: Person, connect: Connector, stranger: Person, mailbox: Mailbox) -> None:
    program = await connect()
    made = await ann.call(ApiKeyCreate(name="program", password=PASSWORD, scopes=["*"]))
    await program.open(made.secret)
    await stranger.call(AccountResetPassword(ticket=await reset_ticket(stranger, mailbox), password=FRESH))
    assert (await asyncio.wait_for(program.wait_closed(), SOON))[0] == 4401
    with pytest.raises(Unauthenticated):
        await stranger.open(made.secret)
