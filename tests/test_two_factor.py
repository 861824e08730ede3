"""two_factor: a second proof at login, and no way around it."""

import asyncio
import base64

import pytest

from protocol.account import (
    AccountDelete,
    AccountGet,
    AccountLogin,
    AccountLoginSecondStep,
    AccountRegister,
    SecondStep,
    Tokens,
)
from protocol.audit import AuditList
from protocol.error import Conflict, Expired, RateLimited, Unauthenticated, WrongCredentials
from protocol.session import SessionOpen
from protocol.two_factor import TwoFactorConfirm, TwoFactorDisable, TwoFactorEnable, TwoFactorRenew
from server import Server
from tests.authenticator import Authenticator
from tests.conftest import Connector, Person, Starter

PASSWORD = Person.password


@pytest.fixture
async def authenticator(ann: Person, server: Server) -> Authenticator:
    """Ann's, turned on."""
    return await Authenticator.of(server, ann)


async def half(person: Person, name: str = "ann") -> str:
    """The first half of a login: its ticket."""
    asked = await person.call(AccountLogin(login=name, password=PASSWORD, device="a tablet"))
    assert isinstance(asked, SecondStep)
    return asked.ticket


async def whole(person: Person, code: str) -> Tokens:
    return await person.call(AccountLoginSecondStep(ticket=await half(person), code=code))


async def test_nothing_changes_until_the_authenticator_has_proved_itself(
    ann: Person, stranger: Person, server: Server
) -> None:
    with pytest.raises(WrongCredentials):
        await ann.call(TwoFactorEnable(password="wrong password"))
    given = await ann.call(TwoFactorEnable(password=PASSWORD))
    assert given.uri.startswith("otpauth://totp/onesocket%3Aann?secret=" + given.secret)
    assert isinstance(await stranger.call(AccountLogin(login="ann", password=PASSWORD)), Tokens)
    assert not (await ann.call(AccountGet())).two_factor
    again = Authenticator(server, (await ann.call(TwoFactorEnable(password=PASSWORD))).secret)
    for wrong in (Authenticator(server, given.secret).totp.now(), again.wrong):
        with pytest.raises(WrongCredentials):
            await ann.call(TwoFactorConfirm(code=wrong))
    await ann.call(TwoFactorConfirm(code=again.totp.now()))
    assert (await ann.call(AccountGet())).two_factor


async def test_an_authenticator_that_has_not_proved_itself_counts_for_nothing(ann: Person, server: Server) -> None:
    given = Authenticator(server, (await ann.call(TwoFactorEnable(password=PASSWORD))).secret)
    for frame in (TwoFactorRenew, TwoFactorDisable):
        with pytest.raises(WrongCredentials):
            await ann.call(frame(password=PASSWORD, code=given.totp.now()))
    assert await server.pool.fetchval("SELECT count(*) FROM recovery_code") == 0


async def test_a_login_asks_for_the_code(
    ann: Person, bob: Person, authenticator: Authenticator, stranger: Person
) -> None:
    ticket = await half(stranger)
    with pytest.raises(WrongCredentials):
        await stranger.call(AccountLoginSecondStep(ticket=ticket, code=authenticator.wrong))
    tokens = await stranger.call(AccountLoginSecondStep(ticket=ticket, code=await authenticator.code()))
    assert (await stranger.open(tokens)).account == ann.tokens_given.account
    newest = (await ann.call(AuditList(limit=1))).entries[0]
    assert (newest.action, newest.device, newest.detail) == ("account.login", tokens.device, {"name": "a tablet"})
    assert isinstance(await stranger.call(AccountLogin(login="bob", password=PASSWORD)), Tokens)


async def test_a_ticket_is_good_for_one_login_and_five_minutes(
    authenticator: Authenticator, stranger: Person, server: Server
) -> None:
    used, old = await half(stranger), await half(stranger)
    await stranger.call(AccountLoginSecondStep(ticket=used, code=await authenticator.code()))
    await server.pool.execute("UPDATE ticket SET expires_at = expires_at - interval '5 min'")
    for ticket in (used, old, "made-up"):
        with pytest.raises(Expired):
            await stranger.call(AccountLoginSecondStep(ticket=ticket, code=await authenticator.code()))
    with pytest.raises(WrongCredentials):
        await stranger.call(AccountLogin(login="ann", password="wrong password"))


async def test_a_ticket_allows_five_tries(authenticator: Authenticator, stranger: Person) -> None:
    ticket = await half(stranger)
    for _ in range(5):
        with pytest.raises(WrongCredentials):
            await stranger.call(AccountLoginSecondStep(ticket=ticket, code=authenticator.wrong))
    with pytest.raises(Expired):
        await stranger.call(AccountLoginSecondStep(ticket=ticket, code=await authenticator.code()))


async def test_codes_are_counted_over_all_tickets_and_wrong_ones_told_to_the_owner(start: Starter) -> None:
    """With the password, tickets are free: so it is the account that has ten guesses in a quarter of an hour."""
    server = await start(throttle=1.0)
    async with Person(server.url, reconnect=False) as ann, Person(server.url, reconnect=False) as mallory:
        await ann.open(await ann.call(AccountRegister(username="ann", password=PASSWORD)))
        authenticator = await Authenticator.of(server, ann)
        for _ in range(9):  # the one that turned it on was counted, too
            with pytest.raises(WrongCredentials):
                await whole(mallory, authenticator.wrong)
        with pytest.raises(RateLimited):
            await whole(mallory, await authenticator.code())
        async with asyncio.timeout(5):
            while (entries := (await ann.call(AuditList())).entries)[8].action != "code.wrong":
                await asyncio.sleep(0.01)
        assert {one.action for one in entries[:9]} == {"code.wrong"}
        assert {(one.address, one.device) for one in entries[:9]} == {("127.0.0.1", None)}


async def test_a_code_is_good_once_also_for_two_at_once(
    authenticator: Authenticator, connect: Connector, server: Server
) -> None:
    people = [await connect() for _ in range(4)]
    tickets = [await half(person) for person in people]
    code = await authenticator.code()
    asked = [
        person.call(AccountLoginSecondStep(ticket=ticket, code=code))
        for person, ticket in zip(people, tickets, strict=True)
    ]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Tokens"] + ["WrongCredentials"] * 3


async def test_the_code_that_turned_it_on_does_not_log_in(ann: Person, server: Server, stranger: Person) -> None:
    authenticator = Authenticator(server, (await ann.call(TwoFactorEnable(password=PASSWORD))).secret)
    code = authenticator.totp.now()
    await ann.call(TwoFactorConfirm(code=code))
    with pytest.raises(WrongCredentials):
        await whole(stranger, code)


async def test_a_recovery_code_stands_in_for_the_authenticator_once(
    authenticator: Authenticator, stranger: Person
) -> None:
    first, second = authenticator.recovery[:2]
    assert len(set(authenticator.recovery)) == 10
    await whole(stranger, first.lower().replace("-", ""))
    with pytest.raises(WrongCredentials):
        await whole(stranger, first)
    await whole(stranger, second)


async def test_one_recovery_code_used_twice_at_once_lets_one_in(
    authenticator: Authenticator, connect: Connector
) -> None:
    people = [await connect() for _ in range(4)]
    asked = [whole(person, authenticator.recovery[0]) for person in people]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Tokens"] + ["WrongCredentials"] * 3


async def test_a_recovery_code_of_another_account_is_worth_nothing(
    authenticator: Authenticator, bob: Person, stranger: Person, server: Server
) -> None:
    other = await Authenticator.of(server, bob)
    for code in (other.recovery[0], await other.code()):
        with pytest.raises(WrongCredentials):
            await whole(stranger, code)


async def test_new_recovery_codes_replace_the_old_ones(
    ann: Person, authenticator: Authenticator, stranger: Person
) -> None:
    for password, code in (("wrong password", await authenticator.code()), (PASSWORD, authenticator.wrong)):
        with pytest.raises(WrongCredentials):
            await ann.call(TwoFactorRenew(password=password, code=code))
    renewed = (await ann.call(TwoFactorRenew(password=PASSWORD, code=await authenticator.code()))).codes
    assert not set(renewed) & set(authenticator.recovery)
    with pytest.raises(WrongCredentials):
        await whole(stranger, authenticator.recovery[1])
    await whole(stranger, renewed[0])
    actions = [one.action for one in (await ann.call(AuditList())).entries]
    assert {"two_factor.confirm", "two_factor.renew"} <= set(actions)


async def test_it_is_turned_off_with_both_proofs_only(
    ann: Person, authenticator: Authenticator, stranger: Person, server: Server
) -> None:
    with pytest.raises(Conflict):
        await ann.call(TwoFactorEnable(password=PASSWORD))
    with pytest.raises(Conflict):
        await ann.call(TwoFactorConfirm(code=await authenticator.code()))
    for password, code in (("wrong password", await authenticator.code()), (PASSWORD, authenticator.wrong)):
        with pytest.raises(WrongCredentials):
            await ann.call(TwoFactorDisable(password=password, code=code))
    assert isinstance(await stranger.call(AccountLogin(login="ann", password=PASSWORD)), SecondStep)
    await ann.call(TwoFactorDisable(password=PASSWORD, code=authenticator.recovery[0]))
    assert isinstance(await stranger.call(AccountLogin(login="ann", password=PASSWORD)), Tokens)
    assert await server.pool.fetchval("SELECT count(*) FROM recovery_code") == 0
    assert (await ann.call(AuditList())).entries[1].action == "two_factor.disable"
    await ann.call(AccountDelete(password=PASSWORD))


async def test_a_ticket_is_no_access_token_and_neither_is_what_it_was_got_with(
    authenticator: Authenticator, connect: Connector
) -> None:
    stranger = await connect()
    for token in (await half(stranger), authenticator.totp.secret, authenticator.recovery[0]):
        person = await connect()
        with pytest.raises(Unauthenticated, match="no access token"):
            await person.call(SessionOpen(token=token))


async def test_the_database_holds_neither_the_secret_nor_the_codes(
    ann: Person, authenticator: Authenticator, server: Server
) -> None:
    box = await server.pool.fetchval("SELECT secret FROM two_factor")
    plain = base64.b32decode(authenticator.totp.secret)
    assert plain not in box
    assert server.keys.unseal(box, f"two_factor:{ann.tokens_given.account}") == plain
    hashes = [row["hash"] for row in await server.pool.fetch("SELECT hash FROM recovery_code")]
    assert {len(one) for one in hashes} == {32}
    assert not [code for code in authenticator.recovery for one in hashes if code.replace("-", "").encode() in one]


async def test_a_secret_moved_to_another_account_does_not_open(
    authenticator: Authenticator, bob: Person, stranger: Person, server: Server
) -> None:
    """Whoever can write to the database still cannot let their own authenticator in elsewhere."""
    await Authenticator.of(server, bob)
    await server.pool.execute("UPDATE two_factor SET secret = (SELECT secret FROM two_factor ORDER BY account LIMIT 1)")
    with pytest.raises(Expired):
        ticket = await half(stranger, "bob")
        await stranger.call(AccountLoginSecondStep(ticket=ticket, code=await authenticator.code()))
