"""Passwords: hashed beside the loop, by few, behind a short queue."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import argon2
import pytest

from protocol.error import Overloaded
from server.password import Passwords

Maker = Callable[..., Passwords]


@pytest.fixture
async def make() -> AsyncIterator[Maker]:
    made: list[Passwords] = []

    def begin(*, memory_kib: int = 8, rounds: int = 1, threads: int = 2, queue: int = 50) -> Passwords:
        made.append(Passwords(memory_kib=memory_kib, rounds=rounds, threads=threads, queue=queue))
        return made[-1]

    yield begin
    for one in made:
        one.stop()


async def test_a_hash_is_argon2id_and_its_own_each_time(make: Maker) -> None:
    passwords = make(memory_kib=19456, rounds=2)
    first, second = await passwords.hash("a password"), await passwords.hash("a password")
    assert first != second
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "a password" not in first


async def test_only_the_right_password_matches(make: Maker) -> None:
    passwords = make()
    known = await passwords.hash("p\u00e4ssw\u00f6rd")
    assert await passwords.matches(known, "p\u00e4ssw\u00f6rd")
    for wrong in ("", "passw\u00f6rd", "p\u00e4ssw\u00f6rd ", "P\u00e4ssw\u00f6rd", "\u0000"):
        assert not await passwords.matches(known, wrong)


async def test_nobody_has_no_password_not_even_the_one_that_nobody_has(make: Maker) -> None:
    passwords = make()
    for password in ("", "a password that nobody has"):
        assert not await passwords.matches(None, password)


async def test_a_damaged_hash_matches_nothing(make: Maker) -> None:
    passwords = make()
    for damaged in ("", "plain", "$argon2id$v=19$m=8,t=1,p=1$", (await passwords.hash("x"))[:-4] + "AAAA"):
        assert not await passwords.matches(damaged, "x")


async def test_nobodys_password_costs_what_everybodys_does(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, verified = make(memory_kib=1024, rounds=3), []
    real = argon2.PasswordHasher.verify

    def watched(self: argon2.PasswordHasher, known: str, password: str) -> bool:
        verified.append(argon2.extract_parameters(known))
        return real(self, known, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", watched)
    await passwords.matches(await passwords.hash("right"), "wrong")
    await passwords.matches(None, "wrong")
    assert len(verified) == 2
    assert verified[0] == verified[1]


async def test_a_hash_of_other_costs_is_outdated(make: Maker) -> None:
    cheap, dear = make(rounds=1), make(rounds=2)
    known = await cheap.hash("a password")
    assert (cheap.outdated(known), dear.outdated(known)) == (False, True)
    assert await dear.matches(known, "a password")


async def test_beyond_threads_and_queue_the_answer_is_overloaded(make: Maker) -> None:
    passwords = make(memory_kib=4096, rounds=20, threads=1, queue=3)
    answers = await asyncio.gather(*(passwords.hash("a password") for _ in range(10)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert (len(refused), passwords.waiting) == (6, 0)
    assert all(one.retry_after for one in refused)
    assert await passwords.hash("a password"), "and there is room again"


async def test_the_loop_turns_while_passwords_are_hashed(make: Maker) -> None:
    passwords = make(memory_kib=65536, rounds=6, threads=1)
    hashing = asyncio.create_task(passwords.hash("a password"))
    turns, began = 0, time.monotonic()
    while not hashing.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert time.monotonic() - began > 0.02, "it took a while"
    assert turns > 5


async def test_who_gives_up_waiting_makes_room_once_its_turn_is_over(make: Maker) -> None:
    passwords = make(memory_kib=4096, rounds=10, threads=1, queue=1)
    tasks = [asyncio.create_task(passwords.hash("a password")) for _ in range(2)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert passwords.waiting == 0
    await passwords.hash("a password")
