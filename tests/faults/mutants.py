"""Servers that lack what the checker is there to prove: each has one line of defence less.

Those in Python are patched into a node as it starts, by name; those in SQL are put into the database.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from typing import Any
from unittest.mock import patch

import asyncpg
from msgspec import Struct

from server.audience import Batch, Stream
from server.carrier import Carrier
from server.core import payload
from server.head import Heads
from server.page import Page
from server.stream import Streams
from storage import pool
from storage.pool import Lane, Row
from storage.standing import Standing

EARLY = 0.03  # seconds between an acknowledgement and its commit


class StaleError(Exception):
    """A mutant changes nothing: what it takes away is no longer there."""


# In Python

_fetchrow = Lane.fetchrow


async def _answer_before_commit(self: Any, query: str, *values: Any, timeout: float) -> Row | None:
    """The row of a transaction that is committed a little later."""
    if self.__dict__.get("commit") is not None:
        await asyncio.wait([self.commit])
    await _fetchrow(self, "SELECT 1", timeout=timeout)
    connection = self._connection
    with pool._away(self._pool):
        transaction = connection.transaction()
        await transaction.start()
        row: Row | None = await connection.fetchrow(query, *values)
    self.commit = asyncio.create_task(_commit_later(transaction))
    return row


async def _commit_later(transaction: Any) -> None:
    with contextlib.suppress(Exception):
        await asyncio.sleep(EARLY)
        await transaction.commit()


def _publish_nothing(self: Carrier, batch: Batch) -> None:
    return None


async def _poll_nothing(self: Heads, streams: Sequence[Stream]) -> None:
    return None


async def _check_nobody(self: Streams, stream: Stream) -> None:
    stream.access = max(stream.access, *(one.access for one in stream.waiting))


_take = Streams.take


def _take_again(self: Streams, batch: Batch) -> None:
    stream = self._streams.get(batch.stream)
    if stream is not None and batch.frames and batch.last <= stream.head:
        for socket in stream.sockets:
            socket.push(b"".join(batch.frames))
    else:
        _take(self, batch)


_add = Page.add


def _keep_page(self: Page, frames: Sequence[bytes], head: int) -> bool:
    _add(self, [one for one in frames if payload(one).startswith(b'{"ev":"message.created"')], head)
    return True


def _trust(self: Standing, rows: Sequence[Row]) -> None:
    return None


PATCHES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "ack before commit": lambda: patch.object(Lane, "fetchrow", _answer_before_commit),
    "publish skipped": lambda: patch.object(Carrier, "publish", _publish_nothing),
    "no head poll": lambda: patch.object(Heads, "poll", _poll_nothing),
    "no fence": lambda: patch.object(Streams, "_check_audience", _check_nobody),
    "changes leave the page": lambda: patch.object(Page, "add", _keep_page),
    "old standings trusted": lambda: patch.object(Standing, "check", _trust),
    "late facts told again": lambda: patch.object(Streams, "take", _take_again),
}


@contextmanager
def patched(names: Sequence[str]) -> Iterator[None]:
    """This process as the named mutants."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(PATCHES[name]())
        yield


# In SQL


class Rewrite(Struct, frozen=True):
    """Parts of message_append in other words, and what else makes the mutant possible, and undoes that."""

    words: tuple[tuple[str, str], ...]
    also: str = ""
    undo: str = ""


_KNOWN = "LEFT JOIN message m ON m.author = i.author AND m.nonce = i.nonce"
_WRITTEN = "p.extra ->> 'forwarded'\n          FROM placed p"
_SORTED = "WHERE id = ANY (channels) ORDER BY id FOR"
_SAME = "a.author = b.author AND a.nonce = b.nonce"
REWRITES = {
    "no dedupe": Rewrite(
        ((_KNOWN, "LEFT JOIN message m ON false"),),
        also="DROP INDEX message_nonce; CREATE INDEX message_nonce ON message (author, nonce)",
        undo=f"DELETE FROM message a USING message b WHERE {_SAME} AND a.seq > b.seq; DROP INDEX message_nonce; "
        "CREATE UNIQUE INDEX message_nonce ON message (author, nonce)",
    ),
    "ON CONFLICT numbering": Rewrite(
        (
            (_KNOWN, "LEFT JOIN message m ON false"),
            (_WRITTEN, f"{_WRITTEN} ON CONFLICT (author, nonce) DO NOTHING"),
        )
    ),
    # Without the second line of defence, too: the journal's short patience ends a deadlock before PostgreSQL sees it.
    "unsorted locks": Rewrite(
        (
            (_SORTED, "WHERE id = ANY (channels) ORDER BY random() FOR"),
            ("\nBEGIN\n", "\nBEGIN\n    PERFORM set_config('lock_timeout', '0', true);\n"),
        )
    ),
}

MUTANTS = (*PATCHES, *REWRITES)


@asynccontextmanager
async def rewritten(url: str, name: str) -> AsyncIterator[None]:
    """The database as a mutant, and then as it was."""
    rewrite = REWRITES[name]
    connection = await asyncpg.connect(url)
    try:
        before = await connection.fetchval("SELECT pg_get_functiondef('message_append'::regproc)")
        text = before
        for words, others in rewrite.words:
            if text.count(words) != 1:
                raise StaleError(f"{name}: message_append has {text.count(words)} times {words!r}")
            text = text.replace(words, others)
        await connection.execute(f"{text}; {rewrite.also}")
        try:
            yield
        finally:
            await connection.execute(f"{before}; {rewrite.undo}")
    finally:
        await connection.close()
