"""Scheduled messages while workers are killed in turn: each is sent exactly once, and told exactly once."""

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from protocol.message import MessageHistory
from protocol.scheduled import ScheduledCreate, ScheduledList, ScheduledSent
from tests.service import Service
from tests.test_client_resume import friends, group

COUNT = 100


async def killed_in_turn(service: Service, begin: datetime) -> None:
    """Both workers, one after the other, while the messages are due; what was back is killed again."""
    for number in range(1, 4):
        await asyncio.sleep(max(0.0, (begin - datetime.now(UTC)).total_seconds() + 1.3 * number))
        os.kill(service.workers()[-1 if number % 2 else 0], signal.SIGKILL)
        while service.text.count("is back after") < number:
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_hundred_scheduled_messages_are_each_sent_once_whoever_is_killed(folder: Path) -> None:
    settings = ("--workers", "2", "--set", "frames_per_second=2000", "--set", "frames_in_burst=2000")
    async with Service(folder, *settings) as service:
        port = int(service.url.rpartition(":")[2].partition("/")[0])
        async with friends(port, "ann", "bob") as (ann, bob):
            channel = await group(ann, bob)
            begin = datetime.now(UTC) + timedelta(seconds=8)
            for number in range(COUNT):
                at = begin + timedelta(seconds=5 * number / COUNT)
                await ann.call(ScheduledCreate(channel=channel, text=str(number), at=at, nonce=uuid4()))
            assert datetime.now(UTC) < begin - timedelta(seconds=5)
            await killed_in_turn(service, begin)
            await bob.has(channel, COUNT)
            async with ann.told, asyncio.timeout(60):
                await ann.told.wait_for(lambda: sum(isinstance(one, ScheduledSent) for one in ann.story) >= COUNT)
            ann.in_order()
            bob.in_order()
            sent = [one for one in ann.story if isinstance(one, ScheduledSent)]
            said = (await ann.call(MessageHistory(channel=channel, limit=100), retry=True)).messages
            assert sorted(int(one.text) for one in said) == list(range(COUNT))
            assert not (await ann.call(MessageHistory(channel=channel, before=said[0].seq), retry=True)).messages
            assert sorted(one.message for one in sent) == [one.seq for one in said]
            assert len({one.scheduled for one in sent}) == COUNT
            assert (await ann.call(ScheduledList(), retry=True)).scheduled == []
