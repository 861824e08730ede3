"""Whoever changes a space holds it alone, whoever changes one of its channels holds it together with others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import asyncpg

from tests.authorization.checks import Function
from tests.authorization.world import World

_LOCK = "SELECT * FROM stream_lock($1::uuid[])"
_APPEND = (
    "SELECT * FROM {}($1::uuid[], '{{0}}', ARRAY[gen_random_uuid()], ARRAY[gen_random_uuid()], '{{x}}', '{{null}}'{})"
)
_STORE, _STORE_FREE = _APPEND.format("message_append", ""), _APPEND.format("message_append_free", ", NULL")
# What holds, what comes, and whether it has to wait, or is told so at once.
CASES = (
    ("hall", _LOCK, "club", "waits"),
    ("club", _LOCK, "hall", "waits"),
    ("club", _LOCK, "club", "waits"),
    ("hall", _LOCK, "cellar", ""),
    ("hall", _LOCK, "den", ""),
    ("club", _STORE, "hall", "waits"),
    ("hall", _STORE, "cellar", ""),
    ("club", _STORE_FREE, "hall", "is held"),
    ("hall", _STORE_FREE, "cellar", ""),
)
MUTANTS = (
    Function("WHERE s.id = ANY (wanted) AND s.guard IS NOT NULL", "WHERE false", (), "stream_lock"),
    Function("FROM space p WHERE p.id = ANY (wanted)", "FROM space p WHERE false", (), "stream_lock"),
    Function("WHEN l.alone THEN", "WHEN false THEN", (), "stream_lock"),
    Function(
        "THEN pg_advisory_xact_lock(l.key) ELSE pg_advisory_xact_lock_shared",
        "THEN pg_advisory_xact_lock(l.key) ELSE pg_advisory_xact_lock",
        (),
        "stream_lock",
    ),
    Function("WHERE id = ANY (channels) AND guard IS NOT NULL", "WHERE false", (), "message_append"),
    Function("pg_try_advisory_xact_lock_shared(uuid_hash_extended(guard, 0))", "true", (), "message_append_free"),
)


async def run(world: World, url: str) -> None:
    """Every case."""
    holder, comer = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        await comer.execute("SET lock_timeout = '40ms'")
        for held, asked, wanted, what in CASES:
            async with holder.transaction():
                await holder.execute("SELECT * FROM stream_lock($1::uuid[])", [_id(world, held)])
                came = await _comes(comer, asked, _id(world, wanted))
                assert came == what, f"{asked} {wanted}, while {held} is held: {came}, not {what}"
    finally:
        for one in (holder, comer):
            await one.close()


def _id(world: World, name: str) -> Any:
    return (world.channels.get(name) or world.spaces[name]).id


async def _comes(db: asyncpg.Connection[Any], text: str, id: Any) -> str:
    """Whether it has to wait, or is told that it would have to."""
    transaction = db.transaction()
    await transaction.start()
    try:
        rows: Iterable[Any] = await db.fetch(text, [id])
        return "is held" if any(row.get("held") for row in rows) else ""
    except asyncpg.LockNotAvailableError:
        return "waits"
    finally:
        await transaction.rollback()
