"""Passwords: argon2id in a few threads, behind a short queue.

Rule 1: never on the event loop, never unbounded: when the queue is full the answer is `overloaded`.
Rule 2: a login for nobody takes as long as a login for somebody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2

from protocol.error import Overloaded

T = TypeVar("T")


class Passwords:
    """Hashes and checks passwords."""

    def __init__(self, *, memory_kib: int, rounds: int, threads: int, queue: int) -> None:
        self._hasher = argon2.PasswordHasher(time_cost=rounds, memory_cost=memory_kib, parallelism=1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._room = threads + queue
        self.waiting = 0
        self._nobody = self._hasher.hash("a password that nobody has")

    def stop(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """A new hash with its own salt."""
        return await self._run(lambda: self._hasher.hash(password))

    async def matches(self, known: str | None, password: str) -> bool:
        """Whether the password is right; as slow for no hash at all."""
        return await self._run(lambda: self._verify(known or self._nobody, password)) and known is not None

    def outdated(self, known: str) -> bool:
        """Whether the hash was made with other costs than today's."""
        return self._hasher.check_needs_rehash(known)

    def _verify(self, known: str, password: str) -> bool:
        try:
            return self._hasher.verify(known, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self.waiting >= self._room:
            raise Overloaded("too many people log in right now", retry_after=2)
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self.waiting -= 1
