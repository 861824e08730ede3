"""Old facts are forgotten: a few at a time, in nobody's way, and by an index."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from server import Server
from storage import stream as storage
from tests.chat import sql

MANY = 1200


async def old_facts(db: asyncpg.Connection, streams: Sequence[UUID], days: int) -> None:
    """One more for each of these streams."""
    await db.execute(
        """
        WITH moved AS (
            INSERT INTO stream (id, head) SELECT unnest($1::uuid[]), 1
            ON CONFLICT (id) DO UPDATE SET head = stream.head + 1 RETURNING id, head
        )
        INSERT INTO fact (stream, seq, kind, data, at)
        SELECT id, head, 'x', '{}', now() - make_interval(days => $2) FROM moved
        """,
        list(streams),
        days,
    )


async def kept(db: asyncpg.Connection, streams: Sequence[UUID]) -> list[int]:
    rows = await db.fetch("SELECT kept FROM stream WHERE id = ANY ($1::uuid[]) ORDER BY id", list(streams))
    return [row["kept"] for row in rows]


async def test_what_is_old_goes_and_what_is_not_stays(server: Server) -> None:
    many = [UUID(int=number) for number in range(1, MANY + 1)]
    async with sql(server) as db:
        for days in (50, 40, 20):
            await old_facts(db, many, days)
        await old_facts(db, many[:3], 10)
        await storage.prune(server.pool, 30)
        assert await kept(db, many) == [2] * MANY
        rows = await db.fetch("SELECT seq, count(*) FROM fact WHERE stream = ANY ($1::uuid[]) GROUP BY seq", many)
        assert {row["seq"]: row["count"] for row in rows} == {3: MANY, 4: 3}
        await storage.prune(server.pool, 30)
        assert await kept(db, many) == [2] * MANY


async def test_a_stream_that_somebody_holds_holds_up_nothing_that_came_before_it(server: Server) -> None:
    before, last = [UUID(int=number) for number in range(2, MANY)], UUID(int=1)
    others = [UUID(int=number) for number in range(MANY, MANY + 100)]
    async with sql(server) as db, sql(server) as holder:
        await old_facts(db, before, 50)
        await old_facts(db, [last, *others], 40)
        async with holder.transaction():
            await holder.execute("SELECT FROM stream WHERE id = $1 FOR NO KEY UPDATE", last)
            pruning = asyncio.create_task(storage.prune(server.pool, 30))
            async with asyncio.timeout(20):
                while sum(await kept(db, before)) < 1000:
                    await asyncio.sleep(0.01)
                while not await db.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    await asyncio.sleep(0.01)
            free = await db.fetch("SELECT FROM stream WHERE id = ANY ($1::uuid[]) FOR UPDATE SKIP LOCKED", others)
            assert len(free) == len(others), "locked before one with a smaller id"
            assert not pruning.done()
        await pruning
        assert await kept(db, [last, *before, *others]) == [1] * (MANY - 1 + 100)


async def test_what_is_old_is_found_by_an_index(server: Server) -> None:
    async with sql(server) as db:
        await old_facts(db, [UUID(int=number) for number in range(1, 5001)], 10)
        await db.execute("ANALYZE fact")
        rows = await db.fetch(
            "EXPLAIN SELECT stream, seq FROM fact WHERE at < now() - interval '30 days' ORDER BY at LIMIT 500"
        )
    plan = "\n".join(row[0] for row in rows)
    assert "fact_at" in plan
    assert "Seq Scan" not in plan
