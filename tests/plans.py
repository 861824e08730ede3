"""Plans of real requests: a database of some size, and what PostgreSQL tells of how it answers.

Its own auto_explain sends the plan of each statement that was run, of those within functions too, to whoever ran it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from uuid import UUID

import asyncpg
from msgspec import Struct

from bench.seed import seed
from storage import pool

# What has so many rows that nobody may read all of it for one request.
LARGE = frozenset(
    (
        *("account", "channel", "device", "fact", "friend", "mark", "member", "mention", "message", "notification"),
        *("search", "search_word", "space_member", "stream"),
    )
)
PEOPLE, ROOMS, GROUPS, OWN_GROUPS = 3000, 40, 5000, 50
_TOLD = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_analyze": "off",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
}
# Of `me`, who is in some of the groups, and has much besides.
_SEEDS = f"""
    CREATE TEMP TABLE person AS SELECT id, row_number() OVER () AS n FROM account WHERE username LIKE 'seed%';

    WITH made AS (
        INSERT INTO stream (id, head, last)
        SELECT gen_random_uuid(), 20, 20 FROM generate_series(1, {GROUPS}) RETURNING id
    ), channels AS (
        INSERT INTO channel (id, kind, name, nonce, members) SELECT id, 'group', 'group', gen_random_uuid(), 3 FROM made
    ), numbered AS (SELECT id, row_number() OVER () AS n FROM made)
    INSERT INTO member (channel, account)
    SELECT g.id, p.id FROM numbered g JOIN person p ON p.n = g.n % {PEOPLE}
    UNION ALL SELECT g.id, p.id FROM numbered g JOIN person p ON p.n = (g.n + 7) % {PEOPLE}
    UNION ALL SELECT g.id, me.id FROM numbered g, me WHERE n <= {OWN_GROUPS};

    INSERT INTO message (channel, seq, author, nonce, sent_at, text)
    SELECT channel, n, me.id, gen_random_uuid(), now(), 'the engine'
      FROM member JOIN me ON me.id = account, generate_series(1, 20) n;

    INSERT INTO fact (stream, seq, kind, data)
    SELECT id, k, 'user.updated', '{{}}' FROM person, generate_series(1, 4) k
    UNION ALL SELECT id, 1000 + k, 'user.updated', '{{}}' FROM me, generate_series(1, 4000) k;
    UPDATE stream SET head = 5000 FROM me WHERE stream.id = me.id;

    INSERT INTO mention (account, channel, seq)
    SELECT p.id, m.channel, m.seq FROM person p
      JOIN (SELECT *, row_number() OVER () AS n FROM message) m ON m.n = 5 * p.n
    UNION ALL (SELECT me.id, channel, seq FROM message, me WHERE seq % 40 = 0 LIMIT 300);

    INSERT INTO mark (channel, account, read)
    SELECT c.id, p.id, 1 FROM person p
      JOIN (SELECT id, row_number() OVER () AS n FROM channel WHERE kind = 'text') c ON c.n = p.n % {ROOMS} + 1;

    INSERT INTO notification (account, id, kind, by, channel, seq, read)
    SELECT account, row_number() OVER (), 'mention', account, channel, seq, seq % 3 > 0 FROM mention;

    INSERT INTO device (id, account, name, address, refresh_hash, expires_at)
    SELECT gen_random_uuid(), id, 'seed', '', '', now() + interval '1 day' FROM person;

    INSERT INTO friend (account, other, state)
    SELECT p.id, q.id, 'friend' FROM person p JOIN person q ON q.n = p.n + 1
    UNION ALL SELECT me.id, p.id, 'friend' FROM me, person p WHERE p.n < 30;

    INSERT INTO search (channel, at, seq, words) SELECT channel, sent_at, seq, to_tsvector('simple', text) FROM message;
    INSERT INTO tail (channel, seq) SELECT id, last FROM stream JOIN channel USING (id);
    INSERT INTO search_word (word, grams)
    SELECT word, array_to_tsvector(ARRAY(SELECT substr(word, k, 3) FROM generate_series(1, length(word) - 2) k))
      FROM (SELECT DISTINCT left(translate(md5(n::text), '0123456789', 'ghijklmnop'), 9) AS word
              FROM generate_series(1, 3000) n) w ON CONFLICT DO NOTHING;
"""


async def fill(url: str, space: UUID, owner: UUID, person: UUID) -> None:
    """A space of some size, and all that people have besides; from now on plans are told."""
    await seed(url, space, owner, members=PEOPLE, roles=10, channels=ROOMS, messages=12_000)
    db = await asyncpg.connect(url)
    try:
        await db.execute("SET session_replication_role = replica")  # nothing is checked
        await db.execute("CREATE TEMP TABLE me (id uuid)")
        await db.execute("INSERT INTO me VALUES ($1)", person)
        await db.execute(_SEEDS)
        await db.execute(f"VACUUM ANALYZE {', '.join(LARGE)}")
        for table in LARGE:
            count = await db.fetchval(f"SELECT count(*) FROM {table}")
            assert count > 1000, f"{table} has only {count} rows"
        await db.execute("LOAD 'auto_explain'")
        name = await db.fetchval("SELECT current_database()")
        for setting, value in _TOLD.items():
            await db.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    finally:
        await db.close()


class Plan(Struct, frozen=True):
    """How a statement was answered: the tables that were read as a whole, and the indexes."""

    query: str
    whole: frozenset[str]
    indexes: frozenset[str]
    tree: dict[str, Any]


@contextmanager
def told() -> Iterator[list[Plan]]:
    """The plans of what connections run meanwhile."""
    found: list[Plan] = []
    texts: set[str] = set()

    def hear(_: object, fields: dict[str, str], __: object) -> None:
        _, marked, text = fields["M"].partition("plan:")
        if marked:
            texts.add(text)

    with patch.object(pool._Connection, "_process_log_message", hear):
        yield found
    found += [_plan(json.loads(text)) for text in texts]


def _plan(told: dict[str, Any]) -> Plan:
    nodes = list(_nodes(told["Plan"]))
    return Plan(
        query=" ".join(told["Query Text"].split()),
        whole=frozenset(node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"),
        indexes=frozenset(node["Index Name"] for node in nodes if "Index Name" in node),
        tree=told["Plan"],
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
