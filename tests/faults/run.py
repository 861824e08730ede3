"""One run: a crowd works, a nemesis breaks things, everything heals, and the records are judged."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from tests.faults import snapshot
from tests.faults.checker import Report, check
from tests.faults.cluster import Cluster
from tests.faults.history import Recorder
from tests.faults.nemesis import Nemesis
from tests.faults.workload import Workload

QUIESCE = 10.0
AFTERMATH = 0.3  # seconds in which what comes twice would come
PER_SECOND = 140.0
EACH = 250  # messages for each fault
LONGEST = 1800.0

Scenario = Callable[[Cluster, Workload, Recorder], Awaitable[None]]


async def run(
    cluster: Cluster,
    nemesis: str,
    *,
    messages: int,
    seed: int,
    per_second: float = PER_SECOND,
    folder: Path | None = None,
    scale: float = 1.0,
    scenario: Scenario | None = None,
    quiesce: float = QUIESCE,
) -> Report:
    """Run one nemesis (or a scenario) to its end; without a folder the records are kept if something is wrong."""
    recorder = Recorder(folder or Path(tempfile.mkdtemp(prefix="onesocket-history-")))
    workload = Workload(cluster, recorder, messages=messages, per_second=per_second, seed=seed)
    try:
        await workload.prepare()
        before = await snapshot.deadlocks(cluster.store.url)
        if scenario is None:
            enemy = Nemesis(nemesis, cluster, recorder, strikes=max(3, messages // EACH), seed=seed, scale=scale)
            await _under_fire(workload, enemy)
        else:
            await scenario(cluster, workload, recorder)
        await _settle(cluster, workload, quiesce)
        recorder.log.told = await snapshot.told(cluster, workload.places, workload.people["owner"])
    finally:
        await workload.stop()
    end = await snapshot.database(cluster.store.url, workload.places, list(workload.people.values()))
    # a crash sets the count to zero
    end = msgspec.structs.replace(end, deadlocks=end.deadlocks - (before if before <= end.deadlocks else 0))
    recorder.close(end)
    report = check(recorder.log, end)
    if report.good and folder is None:
        shutil.rmtree(recorder.folder)
        return report
    return msgspec.structs.replace(report, records=str(recorder.folder))


async def _under_fire(workload: Workload, nemesis: Nemesis) -> None:
    """Work until everything is written, with a fault at each of the nemesis' moments."""
    work = asyncio.create_task(workload.run())
    try:
        async with asyncio.timeout(LONGEST):
            for moment in nemesis.moments:
                while workload.done < moment and not work.done():
                    await asyncio.sleep(0.02)
                await nemesis.strike()
            await work
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def _settle(cluster: Cluster, workload: Workload, quiesce: float) -> None:
    """Wait until every reader has everything, for as long as that may take."""
    streams = [*(one.id for one in workload.places), *(one.id for one in workload.people.values())]
    heads = await snapshot.heads(cluster.store.url, streams)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(quiesce):
            while any(
                one.cursors.get(stream, head) < head for one in workload.listeners for stream, head in heads.items()
            ):
                await asyncio.sleep(0.02)
    await asyncio.sleep(AFTERMATH)
