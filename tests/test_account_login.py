"""account: getting in with a password, and what keeps others from it. (Second steps: test_two_factor.py.)"""

import asyncio
import threading
import time

import pytest

from protocol.account import AccountChangePassword, AccountLogin, AccountRegister, AccountVerifyEmail, Tokens
from protocol.audit import AuditList
from protocol.codec import encode
from protocol.error import Overloaded, RateLimited, Refusal, WrongCredentials
from protocol.session import SessionPing
from server import Server
from tests.conftest import Connector, Person, Starter
from tests.mailbox import Mailbox
from tests.raw_socket import RawSocket

PASSWORD = Person.password
NOBODY = "redis://127.0.0.1:1"
PATIENT = {"login_timeout": 100}


async def test_a_login_by_name_makes_a_new_device(ann: Person, stranger: Person) -> None:
    for name in ("ann", "ANN", "\u0430nn"):
        tokens = await stranger.call(AccountLogin(login=name, password=PASSWORD, device="a tablet"))
        assert isinstance(tokens, Tokens)
        assert (tokens.account == ann.tokens_given.account, tokens.device == ann.tokens_given.device) == (True, False)
    assert (await stranger.open(tokens)).device == tokens.device
    newest = (await ann.call(AuditList(limit=1))).entries[0]
    assert (newest.action, newest.device, newest.detail) == ("account.login", tokens.device, {"name": "a tablet"})


async def test_an_address_logs_in_once_it_is_confirmed_and_not_before(
    connect: Connector, mailbox: Mailbox, stranger: Person
) -> None:
    ann = await connect("ann", email="ann@example.org")
    with pytest.raises(WrongCredentials):
        await stranger.call(AccountLogin(login="ann@example.org", password=PASSWORD))
    await ann.call(AccountVerifyEmail(ticket=(await mailbox.next("ann@example.org")).ticket))
    tokens = await stranger.call(AccountLogin(login="ANN@Example.org", password=PASSWORD))
    assert isinstance(tokens, Tokens)
    assert tokens.account == ann.tokens_given.account


async def test_a_wrong_password_and_an_unknown_name_get_the_same_bytes(ann: Person, server: Server) -> None:
    socket = await RawSocket.connect(server.url)
    wrong = await socket.ask(encode(AccountLogin(id=1, login="ann", password="wrong password")))
    unknown = await socket.ask(encode(AccountLogin(id=2, login="nobody", password="wrong password")))
    socket.abort()
    assert wrong.code == "wrong_credentials"
    assert wrong.body == unknown.body


async def refusal_time(person: Person, name: str) -> float:
    began = time.perf_counter()
    with pytest.raises(WrongCredentials):
        await person.call(AccountLogin(login=name, password="wrong password"))
    return time.perf_counter() - began


async def test_a_wrong_password_and_an_unknown_name_take_the_same_time(start: Starter) -> None:
    """The least of many, taken in turns: whatever else this machine does only ever adds to it.

    On a busy machine it takes more of them until both have had a quiet moment, and begins anew where one had a quicker
    moment than there will be for the other.
    """
    server = await start(password_memory_kib=19456, password_rounds=2, **PATIENT)
    async with Person(server.url, reconnect=False) as person:
        await person.call(AccountRegister(username="ann", password=PASSWORD))
        for turn in range(120):
            if turn % 30 == 0:
                known, unknown = 9.0, 9.0
            known = min(known, await refusal_time(person, "ann"))
            unknown = min(unknown, await refusal_time(person, "nobody"))
            if turn % 30 >= 10 and abs(known / unknown - 1) < 0.1:
                break
    assert known / unknown == pytest.approx(1, abs=0.1)
    assert unknown > 0.005, "nobody's password was not even looked at"


async def test_a_failed_login_is_told_to_the_owner_only(ann: Person, stranger: Person) -> None:
    with pytest.raises(WrongCredentials):
        await stranger.call(AccountLogin(login="ann", password="wrong password"))
    async with asyncio.timeout(5):
        while (entry := (await ann.call(AuditList(limit=1))).entries[0]).action != "login.failed":
            await asyncio.sleep(0.01)
    assert (entry.address, entry.device, entry.detail) == ("127.0.0.1", None, {})


async def test_a_hash_made_with_other_costs_is_renewed_at_the_next_login(start: Starter) -> None:
    old = await start(password_rounds=1)
    async with Person(old.url, reconnect=False) as person:
        await person.call(AccountRegister(username="ann", password=PASSWORD))
    new = await start(password_rounds=3)
    before = await new.pool.fetchval("SELECT password_hash FROM account")
    async with Person(new.url, reconnect=False) as person:
        await person.call(AccountLogin(login="ann", password=PASSWORD))
        after = await new.pool.fetchval("SELECT password_hash FROM account")
        assert ("t=1" in before, "t=3" in after) == (True, True)
        await person.call(AccountLogin(login="ann", password=PASSWORD))
        assert await new.pool.fetchval("SELECT password_hash FROM account") == after


async def test_a_renewed_hash_never_brings_an_old_password_back(start: Starter) -> None:
    """The login is checked against the old password, then waits for its turn to be hashed anew."""
    cheap = await start(password_rounds=1)
    server = await start(password_rounds=60, password_memory_kib=4096, password_threads=1)
    async with Person(cheap.url, reconnect=False) as ann, Person(server.url, reconnect=False) as mallory:
        await ann.open(await ann.call(AccountRegister(username="ann", password=PASSWORD)))
        login = asyncio.create_task(mallory.call(AccountLogin(login="ann", password=PASSWORD)))
        async with asyncio.timeout(5):
            while not server.passwords.waiting:
                await asyncio.sleep(0.001)
        await ann.call(AccountChangePassword(password=PASSWORD, new_password="a new password"))
        with pytest.raises(Refusal) as refused:
            await login
        assert isinstance(refused.value, Overloaded | WrongCredentials)
        with pytest.raises(WrongCredentials):
            await mallory.call(AccountLogin(login="ann", password=PASSWORD))
        await ann.call(AccountLogin(login="ann", password="a new password"))
    assert await cheap.pool.fetchval("SELECT count(*) FROM device WHERE revoked_at IS NULL") == 2


async def guesses(person: Person, name: str, count: int) -> None:
    for _ in range(count):
        with pytest.raises(WrongCredentials):
            await person.call(AccountLogin(login=name, password="wrong password"))


async def refused(person: Person, name: str, password: str = PASSWORD) -> float:
    with pytest.raises(RateLimited) as found:
        await person.call(AccountLogin(login=name, password=password))
    assert found.value.retry_after is not None
    return found.value.retry_after


@pytest.mark.parametrize("redis", ["here", "away"])
async def test_five_guesses_a_name_and_address_and_then_a_wait(start: Starter, redis: str) -> None:
    """Without Redis, too: the server counts for itself. Unknown names are counted as known ones are."""
    server = await (start(throttle=1.0) if redis == "here" else start(throttle=1.0, redis_url=NOBODY))
    assert server.bus.alive == (redis == "here")
    async with Person(server.url, reconnect=False) as person:
        await person.call(AccountRegister(username="ann", password=PASSWORD))
        for name in ("ann", "nobody"):
            await guesses(person, name, 5)
            assert 150 < await refused(person, name) <= 180, "the right password does not help any more"
        assert await refused(person, "\u0430NN") > 150, "a look-alike name is no other name"
        await person.call(AccountRegister(username="bob", password=PASSWORD))
        await person.call(AccountLogin(login="bob", password=PASSWORD))


async def test_a_rightful_login_costs_no_attempt(start: Starter) -> None:
    server = await start(throttle=1.0)
    async with Person(server.url, reconnect=False) as person:
        await person.call(AccountRegister(username="ann", password=PASSWORD))
        for _ in range(8):
            await person.call(AccountLogin(login="ann", password=PASSWORD))
        await guesses(person, "ann", 5)
        await refused(person, "ann")


async def test_an_attack_from_everywhere_does_not_lock_the_owner_out_at_home(start: Starter) -> None:
    server = await start(throttle=1.0, trusted_proxies=["127.0.0.1/32"], password_queue=500)

    async def attack(number: int) -> None:
        headers = {"X-Forwarded-For": f"203.0.113.{number}"}
        async with Person(server.url, reconnect=False, headers=headers) as person:
            await guesses(person, "ann", 5)

    home = {"X-Forwarded-For": "198.51.100.7"}
    async with Person(server.url, reconnect=False, headers=home) as ann:
        await ann.call(AccountRegister(username="ann", password=PASSWORD))
        await asyncio.gather(*map(attack, range(20)))
        async with Person(server.url, reconnect=False, headers={"X-Forwarded-For": "203.0.113.99"}) as mallory:
            await refused(mallory, "ann")
        assert isinstance(await ann.call(AccountLogin(login="ann", password=PASSWORD)), Tokens)


async def test_five_hundred_logins_at_once_are_bounded_and_block_nobody(
    start: Starter, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start(
        password_memory_kib=8192, password_rounds=3, pending_per_address=100, acquire_timeout=5, **PATIENT
    )
    sockets = [await RawSocket.connect(server.url) for _ in range(20)]
    workers, most, pings = 0, 0, []
    async with Person(server.url, reconnect=False) as watcher:
        for at, socket in enumerate(sockets):
            names = [f"nobody{at}-{number}" for number in range(25)]
            socket.send(*(encode(AccountLogin(id=n, login=name, password="guess")) for n, name in enumerate(names)))
        answers = asyncio.gather(*(socket.replies(25) for socket in sockets))
        while not answers.done():
            began = time.perf_counter()
            await watcher.call(SessionPing())
            pings.append(time.perf_counter() - began)
            workers = max(workers, sum(one.name.startswith("password") for one in threading.enumerate()))
            most = max(most, server.passwords.waiting)
            await asyncio.sleep(0.02)
        codes = [reply.code for replies in await answers for reply in replies]
    for socket in sockets:
        socket.abort()
    assert len(codes) == 500
    assert set(codes) == {"wrong_credentials", "overloaded"}
    assert codes.count("wrong_credentials") >= 52
    assert 1 <= workers <= 2
    assert 3 <= most <= 52
    assert sorted(pings)[len(pings) // 2] < 0.1
    assert "redis did not answer" not in caplog.text, "so many at once must not look like a Redis that is away"
