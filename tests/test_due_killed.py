"""Messages that disappear and polls that close while workers are killed in turn: each goes or closes exactly once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from protocol.ballot import NewPoll
from protocol.channel import ChannelUpdate
from protocol.message import MessageDeleted, MessageHistory, MessageSend
from protocol.poll import PollClosed
from tests.service import Service
from tests.test_client_resume import Friend, friends, group
from tests.test_scheduled_killed import killed_in_turn

SETTINGS = ("--workers", "2", "--set", "frames_per_second=2000", "--set", "frames_in_burst=2000")
FEW, MANY = 30, 100
OPTIONS = ["tea", "coffee"]


@asynccontextmanager
async def talking(service: Service) -> AsyncIterator[tuple[Friend, Friend, UUID, UUID]]:
    """Two people, a group of theirs in which messages disappear after a minute, and one in which they stay."""
    port = int(service.url.rpartition(":")[2].partition("/")[0])
    async with friends(port, "ann", "bob") as (ann, bob):
        going, staying = await group(ann, bob), await group(ann, bob)
        await ann.call(ChannelUpdate(channel=going, disappears_after=60))
        yield ann, bob, going, staying


async def ask(ann: Friend, channel: UUID, closes_at: datetime) -> None:
    poll = NewPoll(options=OPTIONS, closes_at=closes_at)
    await ann.call(MessageSend(channel=channel, text="?", nonce=uuid4(), poll=poll))


def gone(person: Friend) -> list[int]:
    return [seq for one in person.story if isinstance(one, MessageDeleted) for seq in one.messages]


def closed(person: Friend) -> list[int]:
    return [one.message for one in person.story if isinstance(one, PollClosed)]


async def judge(ann: Friend, bob: Friend, going: UUID, staying: UUID, count: int) -> None:
    """Everything is over, and was told once to both, in order."""
    for person in (ann, bob):
        async with person.told, asyncio.timeout(60):
            await person.told.wait_for(lambda p=person: len(gone(p)) >= count and len(closed(p)) >= count)  # type: ignore[misc]
    said = (await ann.call(MessageHistory(channel=going, limit=100), retry=True)).messages
    asked = (await ann.call(MessageHistory(channel=staying, limit=100), retry=True)).messages
    assert (len(said), len(asked)) == (count, count)
    assert all(one.deleted_at is not None and not one.text for one in said)
    assert all(one.poll is not None and one.poll.closed_at is not None for one in asked)
    for person in (ann, bob):
        person.in_order()
        assert sorted(gone(person)) == [one.seq for one in said]
        assert sorted(closed(person)) == [one.seq for one in asked]


async def move(db: asyncpg.Connection[asyncpg.Record], seq: int = 2**31) -> None:
    """Let it be time for all up to a seq of their channels."""
    async with db.transaction():
        await db.execute("SELECT FROM stream ORDER BY id FOR NO KEY UPDATE")
        await db.execute("UPDATE message SET expires_at = now() WHERE seq <= $1 AND expires_at IS NOT NULL", seq)
        await db.execute("UPDATE due SET at = now() WHERE seq <= $1", seq)


async def test_what_is_due_is_done_once_whoever_is_killed(folder: Path, database: str, redis_url: str) -> None:
    """Their times are moved by hand; and so is that at which others may take what the killed ones had taken."""
    where = ("--set", f"database_url={database}", "--set", f"redis_url={redis_url}")
    async with Service(folder, *SETTINGS, *where) as service, talking(service) as (ann, bob, going, staying):
        for number in range(FEW):
            await ann.send(going, str(number))
            await ask(ann, staying, datetime.now(UTC) + timedelta(days=1))
        db = await asyncpg.connect(database)
        for number in range(FEW):
            await move(db, number + 2)
            if number % 10 == 4:
                os.kill(service.workers()[number // 10 % 2], signal.SIGKILL)
            await asyncio.sleep(0.05)
        async with asyncio.timeout(60):
            while await db.fetchval("SELECT count(*) FROM due"):
                await move(db)
                await asyncio.sleep(0.2)
        await db.close()
        await judge(ann, bob, going, staying, FEW)


@pytest.mark.slow
async def test_a_hundred_of_each_are_done_once_at_their_time(folder: Path) -> None:
    async with Service(folder, *SETTINGS) as service, talking(service) as (ann, bob, going, staying):
        begin = datetime.now(UTC)
        for number in range(MANY):
            await ask(ann, staying, begin + timedelta(seconds=61 + 5 * number / MANY))
            await ann.send(going, str(number))
            await asyncio.sleep(max(0.0, (begin - datetime.now(UTC)).total_seconds() + 5 * number / MANY))
        assert datetime.now(UTC) < begin + timedelta(seconds=20)
        await killed_in_turn(service, begin + timedelta(seconds=60))
        await judge(ann, bob, going, staying, MANY)
