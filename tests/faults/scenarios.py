"""Work and faults put together by hand, each so that one line of defence is all that stands between it and harm."""

from __future__ import annotations

import asyncio
import itertools

from tests.faults.cluster import Cluster
from tests.faults.history import Fault, Recorder
from tests.faults.workload import Workload


async def calm(cluster: Cluster, workload: Workload, recorder: Recorder) -> None:
    """Nothing is broken."""
    await workload.run()


async def quiet(cluster: Cluster, workload: Workload, recorder: Recorder) -> None:
    """Few messages, so that none makes up for what was not told of another."""
    await workload.write()


async def power_cut(cluster: Cluster, workload: Workload, recorder: Recorder) -> None:
    """PostgreSQL dies in the middle of the work, twice."""
    work = asyncio.create_task(workload.run())
    for share in (0.3, 0.6):
        await _until(workload, share)
        start = recorder.now()
        cluster.store.kill("postgres")
        await asyncio.sleep(0.1)
        await cluster.store.answers("postgres")
        recorder.log.faults.append(Fault("postgres kill", start, recorder.now()))
    await work


async def silent_end(cluster: Cluster, workload: Workload, recorder: Recorder) -> None:
    """Nobody reaches Redis while the last messages are written; after that nothing happens that would tell of them."""
    work = asyncio.create_task(workload.run())
    await _until(workload, 0.5)
    start = recorder.now()
    for node in cluster.nodes:
        node.redis.refuse()
    await work
    for node in cluster.nodes:
        node.redis.heal()
    recorder.log.faults.append(Fault("redis cut off", start, recorder.now(), excuses=False))


async def lost_replies(cluster: Cluster, workload: Workload, recorder: Recorder) -> None:
    """Sockets break again and again, with requests in flight whose senders will ask again."""
    work = asyncio.create_task(workload.run())
    start = recorder.now()
    for node in itertools.cycle(cluster.nodes):
        share = workload.done + 0.03
        await asyncio.sleep(0.25)
        await _until(workload, min(1.0, share))  # a slow machine gets somewhere before the next one, too
        node.clients.reset()
        if workload.done >= 1:
            break
    recorder.log.faults.append(Fault("cut", start, recorder.now()))
    await work


async def churn(cluster: Cluster, workload: Workload, recorder: Recorder) -> None:
    """Members come and go while sockets break and come back."""
    churning = asyncio.create_task(workload.churn())
    await lost_replies(cluster, workload, recorder)
    await churning


async def slow_redis(cluster: Cluster, workload: Workload, recorder: Recorder) -> None:
    """What is published arrives after the database has been asked."""
    work = asyncio.create_task(workload.run())
    start = recorder.now()
    for node in cluster.nodes:
        node.redis.delay(0.4)
    await work
    await asyncio.sleep(2.5)  # what is on its way arrives
    for node in cluster.nodes:
        node.redis.heal()
    recorder.log.faults.append(Fault("latency", start, recorder.now()))


async def late_news(cluster: Cluster, workload: Workload, recorder: Recorder) -> None:
    """What the owner's node tells comes late: others hear of what was written after a kick before they hear of it."""
    work = asyncio.create_task(workload.run())
    start = recorder.now()
    cluster.nodes[1].redis.delay(0.3)
    await work
    cluster.nodes[1].redis.heal()
    recorder.log.faults.append(Fault("latency", start, recorder.now()))


async def crowd(cluster: Cluster, workload: Workload, recorder: Recorder) -> None:
    """Everybody writes into all channels at once, on all nodes."""
    await asyncio.gather(workload.run(), workload.rush(rounds=25, size=24))


async def _until(workload: Workload, share: float) -> None:
    """Wait until so much of the work is begun."""
    while workload.done < share:
        await asyncio.sleep(0.01)
