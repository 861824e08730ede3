"""Everything that the database, and each node, has to say at the end of a run."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

from protocol.message import MessageHistory
from protocol.session import SessionOpen
from tests.faults.cluster import Cluster
from tests.faults.history import Database, Fact, Message, Told
from tests.faults.people import Person, Place
from tests.faults.wire import Wire

NEWEST = 50  # which nodes may have in memory
_FACTS = """
    SELECT stream, seq, kind AS ev, '' AS author, data, told FROM fact WHERE stream = ANY ($1)
    UNION ALL
    SELECT channel, seq, 'message.created', author::text, '{}', seq FROM message WHERE channel = ANY ($1)
    ORDER BY 1, 2
"""
_MESSAGES = """
    SELECT m.channel, m.seq, m.author::text, m.nonce::text, m.text, m.deleted_at IS NOT NULL AS deleted,
           ARRAY(SELECT r.emoji || ' ' || r.account FROM reaction r WHERE r.channel = m.channel AND r.seq = m.seq
                 ORDER BY 1) AS reactions
      FROM message m WHERE m.channel = ANY ($1) ORDER BY 1, 2
"""
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


async def heads(url: str, streams: Sequence[UUID]) -> dict[str, int]:
    """How far streams are."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        rows = await connection.fetch("SELECT id, head FROM stream WHERE id = ANY ($1)", streams)
        return {str(row["id"]): row["head"] for row in rows}
    finally:
        await connection.close()


async def deadlocks(url: str) -> int:
    """How many there have been since PostgreSQL began to count."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return int(await connection.fetchval(_DEADLOCKS))
    finally:
        await connection.close()


async def database(url: str, places: Sequence[Place], people: Sequence[Person]) -> Database:
    """All there is of these channels and accounts."""
    channels = [one.id for one in places]
    streams = [*channels, *(one.id for one in people)]
    found: defaultdict[str, list[Fact]] = defaultdict(list)
    stored: dict[str, list[Message]] = {str(one): [] for one in channels}
    connection = await asyncpg.connect(url, timeout=10)
    try:
        for row in await connection.fetch(_FACTS, streams):
            found[str(row["stream"])].append(_fact(row))
        for row in await connection.fetch(_MESSAGES, channels):
            stored[str(row["channel"])].append(_message(row))
    finally:
        await connection.close()
    return Database(
        heads=await heads(url, streams),
        facts={str(one): found[str(one)] for one in streams},
        messages=stored,
        members={str(one.id): sorted(one.members) for one in places},
        deadlocks=await deadlocks(url),
    )


def _fact(row: Any) -> Fact:
    data = json.loads(row["data"])
    told = row["told"] or data.get("message") or next(iter(data.get("messages", ())), 0)
    return Fact(
        seq=row["seq"],
        ev=row["ev"],
        user=row["author"] or data.get("user", ""),
        message=told if isinstance(told, int) else 0,
    )


def _message(row: Any) -> Message:
    reactions = [tuple(one.split(" ")) for one in row["reactions"]]
    return Message(
        seq=row["seq"],
        author=row["author"],
        nonce=row["nonce"],
        text="" if row["deleted"] else row["text"],
        deleted=row["deleted"],
        reactions=reactions,
    )


async def told(cluster: Cluster, places: Sequence[Place], person: Person) -> list[Told]:
    """The whole history of each channel as each node tells it, and its newest page: as it is in memory, then again."""
    found = []
    known = await heads(cluster.store.url, [place.id for place in places])
    for node in cluster.nodes:
        wire = await Wire.open(node.url, patience=10.0)
        await wire.ask(SessionOpen(token=person.token, wants=[]), 10.0)
        for place in places:
            name, channel = f"node {node.number}", str(place.id)
            for _ in range(2):
                newest = MessageHistory(channel=place.id, limit=NEWEST, known=known[channel])
                found.append(Told(name, channel, (await wire.ask(newest, 10.0))["messages"], NEWEST))
            found.append(Told(name, channel, await _history(wire, place.id)))
        await wire.close()
    return found


async def _history(wire: Wire, channel: UUID) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    before: int | None = None
    while True:
        page = await wire.ask(MessageHistory(channel=channel, before=before, limit=100), 10.0)
        messages = page["messages"] + messages
        if not page["earlier"] or not page["messages"]:
            return messages
        before = page["messages"][0]["seq"]
