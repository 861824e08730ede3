"""A large community, written straight into the database of a server that was started for it.

Members cannot log in but for those who were registered before; everything else is as if it had been done by requests.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

# Words as common as words are: the first in half of all messages, the last in one of a hundred thousand.
_COMMON = [
    "the",
    "and",
    "of",
    "to",
    "engine",
    "card",
    "thread",
    "wheel",
    "mill",
    "store",
    "number",
    "order",
    "table",
    "proof",
]

_MEMBERS = """
    WITH people AS (
        INSERT INTO account (id, username, name_key, display_name, locale, avatar)
        SELECT gen_random_uuid(), 'seed' || n, 'seed' || n, 'Seed ' || md5(n::text), 'en', 'fox'
          FROM generate_series(1, $2::integer) n RETURNING id, display_name
    ), streams AS (
        INSERT INTO stream (id) SELECT id FROM people
    )
    INSERT INTO space_member (space, account, name) SELECT $1, id, lower(display_name) FROM people
"""
_ROLES = """
    INSERT INTO role (id, space, name, position, permissions)
    SELECT gen_random_uuid(), $1, 'role ' || n, n, 0 FROM generate_series(1, $2::integer) n
"""
_GIVEN = """
    UPDATE space_member m SET roles = ARRAY[r.id] FROM
           (SELECT id, row_number() OVER (ORDER BY position) - 1 AS k, count(*) OVER () AS n
              FROM role WHERE space = $1 AND id <> $1) r
     WHERE m.space = $1 AND abs(hashtext(m.account::text)) % (2 * r.n) = r.k
"""
_CHANNELS = """
    WITH made AS (
        INSERT INTO stream (id, guard) SELECT gen_random_uuid(), $1 FROM generate_series(1, $2::integer) RETURNING id
    )
    INSERT INTO channel (id, kind, name, space, position, nonce)
    SELECT id, 'text', 'channel ' || row_number() OVER (), $1, row_number() OVER (), gen_random_uuid() FROM made
"""
# A tenth of the channels is seen by one role only.
_PRIVATE = """
    WITH few AS (
        SELECT c.id, row_number() OVER (ORDER BY c.id) AS k FROM channel c
         WHERE c.space = $1 AND c.position > 0 ORDER BY c.id LIMIT $2::integer / 10
    ), roles AS (
        SELECT id, row_number() OVER (ORDER BY id) AS k, count(*) OVER () AS n FROM role WHERE space = $1 AND id <> $1
    )
    INSERT INTO overwrite (channel, target, member, allow, deny)
    SELECT id, $1::uuid, false, 0, 1 FROM few
    UNION ALL SELECT s.id, r.id, false, 1, 0 FROM few s JOIN roles r ON r.k = 1 + s.k % r.n
"""
# The few first channels have most of the messages, as channels do.
_MESSAGES = """
    WITH rooms AS (
        SELECT id, row_number() OVER (ORDER BY position) AS k, count(*) OVER () AS n
          FROM channel WHERE space = $1 AND kind = 'text'
    ), drawn AS (
        SELECT n, 1 + floor(power(random(), 3) * (SELECT max(k) FROM rooms))::integer AS k
          FROM generate_series(1, $2::integer) n
    )
    INSERT INTO message (channel, seq, author, nonce, sent_at, text)
    SELECT r.id, row_number() OVER (PARTITION BY r.id ORDER BY d.n), $3, gen_random_uuid(),
           now() - make_interval(secs => 30 * ($2::integer - d.n)), said.text
      FROM drawn d JOIN rooms r USING (k), LATERAL (
           SELECT string_agg(CASE WHEN w % 3 = 0 THEN 'w' || floor(power(random(), 2) * 100000) ELSE
                      ($4::text[])[1 + floor(power(random(), 2) * cardinality($4::text[]))::integer] END, ' ') AS text
             FROM generate_series(1, 6 + (d.n % 7)) w) said
"""
_HEADS = """
    UPDATE stream s SET head = m.last, last = m.last, moved_at = m.at
      FROM (SELECT channel, max(seq) AS last, max(sent_at) AS at FROM message GROUP BY channel) m WHERE m.channel = s.id
"""
_STEPS: tuple[tuple[str, str], ...] = (
    ("members", _MEMBERS),
    ("roles", _ROLES),
    ("roles of members", _GIVEN),
    ("channels", _CHANNELS),
    ("private channels", _PRIVATE),
    ("messages", _MESSAGES),
    ("heads", _HEADS),
)


async def seed(url: str, space: UUID, author: UUID, *, members: int, roles: int, channels: int, messages: int) -> None:
    """Fill a space; says how far it is."""
    values: dict[str, Sequence[Any]] = {
        _MEMBERS: (space, members),
        _ROLES: (space, roles),
        _GIVEN: (space,),
        _CHANNELS: (space, channels),
        _PRIVATE: (space, channels),
        _MESSAGES: (space, messages, author, _COMMON),
        _HEADS: (),
    }
    db = await asyncpg.connect(url)
    try:
        for name, query in _STEPS:
            sys.stderr.write(f"seeding {name}\n")
            await db.execute(query, *values[query], timeout=1800)
        await db.execute(
            """
            UPDATE space SET structure = structure + 1,
                   members = (SELECT count(*) FROM space_member m WHERE m.space = $1) WHERE id = $1
            """,
            space,
        )
        await db.execute("UPDATE stream SET access = access + 1 WHERE id = $1", space)
        await db.execute("VACUUM ANALYZE", timeout=1800)
    finally:
        await db.close()
