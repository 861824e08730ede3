"""call: processes are killed in the middle of one. Who comes back goes on; of whoever does not the call is rid."""

import asyncio
import os
import signal
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from protocol.call import CallAnswer, CallChanged, CallGet, CallRinging, CallStart
from protocol.voice import Seated
from tests.service import Service
from tests.test_client_resume import Friend, direct, friends

BOUND = 30.0  # a heartbeat


async def answered(friend: Friend, channel: UUID, call: UUID) -> Seated:
    return await friend.call(CallAnswer(channel=channel, call=call), retry=True)


async def kill_workers(service: Service) -> None:
    """All of them; they are back within seconds."""
    before = service.text.count("is back after")
    victims = service.workers()
    for worker in victims:
        os.kill(worker, signal.SIGKILL)
    async with asyncio.timeout(30):
        while service.text.count("is back after") < before + len(victims):
            await asyncio.sleep(0.05)


async def ended(friend: Friend, seconds: float) -> None:
    def over() -> bool:
        changes = [one.message.call for one in friend.story if isinstance(one, CallChanged)]
        return any(one is not None and one.state == "ended" for one in changes)

    async with friend.told, asyncio.timeout(seconds):
        await friend.told.wait_for(over)


@pytest.mark.slow
async def test_a_call_goes_on_though_all_processes_are_killed_and_ends_when_nobody_comes_back(folder: Path) -> None:
    async with Service(folder, "--workers", "2") as service:
        port = int(service.url.rpartition(":")[2].partition("/")[0])
        async with friends(port, "ann", "bob") as (ann, bob):
            channel = await direct(ann, bob)
            call = await ann.call(CallStart(channel=channel, nonce=uuid4()))
            assert call.call is not None
            ringing = await bob.hears(CallRinging)
            assert isinstance(ringing, CallRinging) and ringing.call == call.call
            seated = await answered(bob, channel, call.call)

            await kill_workers(service)
            back = await asyncio.gather(*(answered(one, channel, call.call) for one in (ann, bob)))
            assert [(one.seat, one.back) for one in back] == [(call.seat, True), (seated.seat, True)]
            now = await ann.call(CallGet(channel=channel), retry=True)
            assert {one.user for one in now.people} == {ann.account, bob.account}

            await kill_workers(service)  # and nobody takes their seat again
            await ended(ann, BOUND)
            bob.in_order()
