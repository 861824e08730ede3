"""search: the documents of messages.

Rule 1: a document is written by who holds the tail of its channel, and by nobody else.
Rule 2: who works with documents holds the words' lock together with others, who forgets words holds it alone: so no
word is forgotten that is just being stored. It is taken before rows are.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from protocol.message import Message
from storage import tail, words
from storage.chore import Chores
from storage.message import message
from storage.pool import Database, Pool, Transaction
from storage.tail import Portion

BACKLOGS = Chores("search_backlog", "channel")
_LOCK = 0x736561726368  # "search"
_KNOWN = 200_000


class Index:
    """Writes documents."""

    def __init__(self) -> None:
        self._known: set[str] = set()  # words that are in the list for certain
        self._forgotten = 0

    async def __call__(self, tx: Transaction, portions: Sequence[Portion]) -> None:
        """Documents of what is new or has changed, and none of what was taken back."""
        changed = [(one.span.channel, message) for one in portions for message in one.changed]
        gone = [(one.span.channel, seq) for one in portions for seq in one.deleted]
        gone += [(channel, message.seq) for channel, message in changed]
        fresh = [(one.span.channel, message) for one in portions for message in one.created]
        if gone:
            await _lock(tx)
            await _forget(tx, gone)
        if fresh or changed:
            await self.write(tx, fresh + changed)

    async def write(self, tx: Transaction, messages: Sequence[tuple[UUID, Message]]) -> None:
        """The documents of messages as they are now."""
        documents, found = [], set[str]()
        for _, one in messages:
            document, tokens = words.document(one)
            documents.append(document)
            found.update(tokens)
        await self._keep(tx, found)
        await tx.execute(
            """
            INSERT INTO search (channel, at, seq, words)
            SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::text[]::tsvector[])
            ON CONFLICT (channel, at, seq) DO UPDATE SET words = excluded.words
            """,
            [channel for channel, _ in messages],
            [one.sent_at for _, one in messages],
            [one.seq for _, one in messages],
            documents,
        )

    async def _keep(self, tx: Transaction, found: set[str]) -> None:
        """Have words in the list of words."""
        await _lock(tx)
        forgotten = await tx.fetchval("SELECT last_value + is_called::int FROM search_forgotten")
        if forgotten != self._forgotten or len(self._known) > _KNOWN:
            self._known.clear()
            self._forgotten = forgotten
        new = sorted(word for word in found - self._known if words.listed(word))
        if new:
            await tx.execute(
                """
                INSERT INTO search_word (word, grams) SELECT * FROM unnest($1::text[], $2::text[]::tsvector[])
                ON CONFLICT DO NOTHING
                """,
                new,
                [" ".join(words.grams(word)) for word in new],
            )
            tx.then(lambda: self._known.update(new))


async def _lock(tx: Transaction) -> None:
    await tx.execute("SELECT pg_advisory_xact_lock_shared($1)", _LOCK)


# Taking documents away

_DOUBTED = """
    doubted AS (
        SELECT word FROM search_word WHERE NOT doubt AND word = ANY
               (ARRAY(SELECT DISTINCT unnest(tsvector_to_array(words)) FROM gone)) ORDER BY word FOR UPDATE
    ), marked AS (
        UPDATE search_word SET doubt = true WHERE word = ANY (ARRAY(SELECT word FROM doubted))
    )
"""


async def _forget(tx: Transaction, keys: Sequence[tuple[UUID, int]]) -> None:
    """The documents of these messages; whether their words stand elsewhere will be looked at."""
    await tx.execute(
        f"""
        WITH gone AS (
            DELETE FROM search s USING unnest($1::uuid[], $2::bigint[]) AS p(channel, seq), message m
             WHERE m.channel = p.channel AND m.seq = p.seq
               AND s.channel = p.channel AND s.at = m.sent_at AND s.seq = p.seq RETURNING s.words
        ), {_DOUBTED} SELECT FROM gone
        """,
        [channel for channel, _ in keys],
        [seq for _, seq in keys],
    )


async def thin(tx: Transaction, channel: UUID, limit: int) -> int:
    """Forget some documents of a channel that was deleted; how many."""
    await _lock(tx)
    rows = await tx.fetch(
        f"""
        WITH gone AS (
            DELETE FROM search WHERE ctid = ANY
                   (ARRAY(SELECT ctid FROM search WHERE channel = $1 ORDER BY at LIMIT $2)) RETURNING words
        ), {_DOUBTED} SELECT FROM gone
        """,
        channel,
        limit,
    )
    return len(rows)


# What was there before there were documents


async def older(tx: Transaction, index: Index, channel: UUID, limit: int) -> bool:
    """Documents for some more of a channel's older messages, newest first; whether there are still others."""
    await tx.execute("SELECT FROM tail WHERE channel = $1 FOR UPDATE", channel)
    rows = await tx.fetch(
        f"""
        SELECT {tail.COLUMNS} FROM search_backlog b JOIN message m ON m.channel = b.channel AND m.seq < b.below
         WHERE b.channel = $1 ORDER BY m.seq DESC LIMIT $2
        """,
        channel,
        limit,
    )
    found = [(channel, message(row)) for row in rows if row["deleted_at"] is None]
    if found:
        await index.write(tx, found)
    if len(rows) == limit:
        await tx.execute("UPDATE search_backlog SET below = $2 WHERE channel = $1", channel, rows[-1]["seq"])
        return True
    await tx.execute("DELETE FROM search_backlog WHERE channel = $1", channel)
    return False


# Words that stand nowhere any more


async def tidy(pool: Pool, limit: int) -> int:
    """Look at some words that were taken out of messages, and forget those that stand in none; how many there were."""
    doubtful = [
        (row["word"], await _witness(pool, row["word"]))
        for row in await pool.fetch("SELECT word FROM search_word WHERE doubt ORDER BY word LIMIT $1", limit)
    ]
    if not doubtful:
        return 0
    async with pool.transaction() as tx:
        await tx.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await tx.execute("SELECT nextval('search_forgotten')")
        for word, witness in doubtful:
            if witness is not None and await _stands(tx, word, witness):
                await tx.execute("UPDATE search_word SET doubt = false WHERE word = $1", word)
            elif witness is None and await _witness(tx, word) is None:
                await tx.execute("DELETE FROM search_word WHERE word = $1", word)
    return len(doubtful)


async def _witness(db: Database, word: str) -> str | None:
    """Where there is a document with a word."""
    found: str | None = await db.fetchval(
        "SELECT ctid::text FROM search WHERE words @@ $1::text::tsquery LIMIT 1", word
    )
    return found


async def _stands(db: Database, word: str, witness: str) -> bool:
    found = await db.fetchval(
        "SELECT EXISTS (SELECT FROM search WHERE ctid = $2::text::tid AND words @@ $1::text::tsquery)", word, witness
    )
    return bool(found)
