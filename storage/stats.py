"""stats: counters by day, kept by the tail in the transaction that says how far it is: so each message counts once.

Rule: counters are changed in the order of their keys, so that nobody who counts holds up another for good.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, date
from uuid import UUID

from protocol.stats import ChannelDay, ChannelStats, ChannelTotal, ServerDay, ServerStats, SpaceDay, SpaceStats
from storage.pool import Database, Transaction
from storage.tail import Portion

_PARTS, _TOP = 16, 10
_DAYS, _ACTIVE_DAYS = 400, 92
_TODAY = "(now() AT TIME ZONE 'UTC')::date"
_RANGE = f"generate_series({_TODAY} - ($2::int - 1), {_TODAY}, '1 day') AS g(at)"


# Counting


async def count(tx: Transaction, portions: Sequence[Portion]) -> None:
    """What was said, and by whom: work for the tail."""
    said = Counter(
        (portion.span.channel, one.author, one.sent_at.astimezone(UTC).date())
        for portion in portions
        for one in portion.created
    )
    if not said:
        return
    columns = list(zip(*((*key, number) for key, number in sorted(said.items())), strict=True))
    await tx.execute(_MESSAGES, columns[0], columns[2], columns[3])
    await tx.execute(_ACTIVE, *columns[:3])
    await _count_all(tx, said)


_MESSAGES = """
    INSERT INTO stats AS s (space, channel, day, messages)
    SELECT c.space, CASE WHEN c.kind = 'thread' THEN coalesce(c.parent, c.id) ELSE c.id END, t.day, sum(t.messages)
      FROM unnest($1::uuid[], $2::date[], $3::bigint[]) AS t(channel, day, messages)
      JOIN channel c ON c.id = t.channel AND c.space IS NOT NULL
     GROUP BY 1, 2, 3 ORDER BY 2, 3
    ON CONFLICT (channel, day) DO UPDATE SET messages = s.messages + excluded.messages
"""
_ACTIVE = """
    INSERT INTO stats_active (space, channel, day, account)
    SELECT DISTINCT c.space, CASE WHEN c.kind = 'thread' THEN coalesce(c.parent, c.id) ELSE c.id END, t.day, t.account
      FROM unnest($1::uuid[], $2::uuid[], $3::date[]) AS t(channel, account, day)
      JOIN channel c ON c.id = t.channel AND c.space IS NOT NULL
      JOIN account a ON a.id = t.account AND a.deleted_at IS NULL
     ORDER BY 2, 3, 4
    ON CONFLICT DO NOTHING
"""


async def _count_all(tx: Transaction, said: Counter[tuple[UUID, UUID, date]]) -> None:
    days: Counter[date] = Counter()
    for (_, _, day), number in said.items():
        days[day] += number
    await tx.execute(
        """
        INSERT INTO stats_server AS s (day, part, messages)
        SELECT t.day, $3, t.messages FROM unnest($1::date[], $2::bigint[]) AS t(day, messages) ORDER BY t.day
        ON CONFLICT (day, part) DO UPDATE SET messages = s.messages + excluded.messages
        """,
        list(days),
        list(days.values()),
        random.randrange(_PARTS),  # noqa: S311 - who waits for whom is no secret
    )


async def moved(tx: Transaction, space: UUID, joined: int, departed: int) -> None:
    """Somebody has come to a space, or gone."""
    await tx.execute(
        f"""
        INSERT INTO stats_member AS s (space, day, joined, departed) VALUES ($1, {_TODAY}, $2, $3)
        ON CONFLICT (space, day) DO UPDATE SET joined = s.joined + $2, departed = s.departed + $3
        """,
        space,
        joined,
        departed,
    )


# Looking


async def of_space(db: Database, space: UUID, seen: Collection[UUID], days: int) -> SpaceStats:
    """In these channels of it."""
    rows = await db.fetch(
        f"""
        SELECT g.at::date::text AS day, coalesce(m.joined, 0) AS joined, coalesce(m.departed, 0) AS departed,
               (SELECT coalesce(sum(messages), 0)::bigint FROM stats
                 WHERE space = $1 AND day = g.at AND channel = ANY ($3::uuid[])) AS messages,
               (SELECT count(DISTINCT account) FROM stats_active
                 WHERE space = $1 AND day = g.at AND channel = ANY ($3::uuid[])) AS active
          FROM {_RANGE} LEFT JOIN stats_member m ON m.space = $1 AND m.day = g.at ORDER BY g.at
        """,
        space,
        days,
        list(seen),
    )
    active = await db.fetchval(
        f"""
        SELECT count(DISTINCT account) FROM stats_active
         WHERE space = $1 AND day > {_TODAY} - $2::int AND channel = ANY ($3::uuid[])
        """,
        space,
        days,
        list(seen),
    )
    return SpaceStats(
        days=[SpaceDay(**row) for row in rows],
        members=await db.fetchval("SELECT members FROM space WHERE id = $1", space) or 0,
        active=active,
        channels=await _top(db, space, seen, days),
    )


async def _top(db: Database, space: UUID, seen: Collection[UUID], days: int) -> list[ChannelTotal]:
    rows = await db.fetch(
        f"""
        SELECT channel, sum(messages)::bigint AS messages FROM stats
         WHERE space = $1 AND day > {_TODAY} - $2::int AND channel = ANY ($3::uuid[])
         GROUP BY channel ORDER BY 2 DESC, channel LIMIT {_TOP}
        """,
        space,
        days,
        list(seen),
    )
    return [ChannelTotal(**row) for row in rows]


async def of_channel(db: Database, channel: UUID, days: int) -> ChannelStats:
    """In it, and in its threads."""
    rows = await db.fetch(
        f"""
        SELECT g.at::date::text AS day, coalesce(s.messages, 0) AS messages
          FROM {_RANGE} LEFT JOIN stats s ON s.channel = $1 AND s.day = g.at ORDER BY g.at
        """,
        channel,
        days,
    )
    active = await db.fetchval(
        f"SELECT count(DISTINCT account) FROM stats_active WHERE channel = $1 AND day > {_TODAY} - $2::int",
        channel,
        days,
    )
    return ChannelStats(days=[ChannelDay(**row) for row in rows], active=active)


async def of_server(db: Database, days: int) -> ServerStats:
    """Everywhere."""
    rows = await db.fetch(
        f"""
        SELECT g.at::date::text AS day,
               (SELECT coalesce(sum(messages), 0)::bigint FROM stats_server WHERE day = g.at) AS messages,
               coalesce(r.registered, 0) AS registered
          FROM {_RANGE.replace("$2", "$1")}
          LEFT JOIN (SELECT (created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS registered FROM account
                      WHERE created_at > now() - make_interval(days => $1 + 1) GROUP BY 1) r ON r.day = g.at
         ORDER BY g.at
        """,
        days,
    )
    totals = await db.fetchrow(
        """
        SELECT (SELECT count(*) FROM account WHERE deleted_at IS NULL) AS accounts,
               (SELECT count(*) FROM space WHERE deleted_at IS NULL) AS spaces
        """
    )
    assert totals is not None
    return ServerStats(days=[ServerDay(**row) for row in rows], **totals)


# The end


async def forget(tx: Transaction, account: UUID) -> None:
    """When an account has said something is not known any more; that something was said is."""
    await tx.execute("DELETE FROM stats_active WHERE account = $1", account)


async def prune(db: Database) -> None:
    """Forget what nobody asks for any more."""
    kept = {"stats": _DAYS, "stats_active": _ACTIVE_DAYS, "stats_member": _DAYS, "stats_server": _DAYS}
    for table, days in kept.items():
        await db.execute(f"DELETE FROM {table} WHERE day < {_TODAY} - $1::int", days)
