"""Nothing that was acknowledged is lost, doubled or reordered, whatever dies, hangs or is cut off meanwhile."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.checker import together
from tests.faults.cluster import Cluster
from tests.faults.nemesis import NEMESES
from tests.faults.run import run
from tests.faults.scenarios import churn

MESSAGES, PER_SECOND, SCALE = 1000, 400.0, 0.6


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    """Three nodes, which are whole again after each test."""
    async with Cluster() as one:
        yield one


# In the ordinary run; those that stay away are part of "all mixed".
_ALWAYS = ("node kill", "postgres kill", "all mixed")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "nemesis", [pytest.param(one, marks=[] if one in _ALWAYS else [pytest.mark.slow]) for one in NEMESES]
)
async def test_every_invariant_holds_under(nemesis: str, cluster: Cluster) -> None:
    seed = 1 + NEMESES.index(nemesis)
    report = await run(cluster, nemesis, messages=MESSAGES, seed=seed, per_second=PER_SECOND, scale=SCALE)
    assert report.good, str(report)
    assert report.acked >= MESSAGES
    assert report.faults >= 1
    assert report.deliveries >= MESSAGES


@pytest.mark.asyncio(loop_scope="module")
async def test_every_invariant_holds_while_members_come_and_go_and_sockets_break(cluster: Cluster) -> None:
    report = await run(cluster, "", messages=300, seed=8, per_second=PER_SECOND / 2, scenario=churn)
    assert report.good, str(report)
    assert report.unknown >= 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_ten_thousand_messages_survive_all_nemeses() -> None:
    reports = []
    for number, nemesis in enumerate(NEMESES):
        async with Cluster() as cluster:
            reports.append(await run(cluster, nemesis, messages=1500, seed=100 + number, scale=1.5))
    report = together(reports)
    assert report.good, str(report)
    assert report.acked >= 10_000
