"""The checker is proven by servers that lack one line of defence: each is caught, and the whole one is not."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.faults import scenarios
from tests.faults.cluster import Cluster
from tests.faults.mutants import MUTANTS, PATCHES, REWRITES, StaleError, rewritten
from tests.faults.run import Scenario, run

pytestmark = pytest.mark.asyncio(loop_scope="module")

# What exposes a mutant, and the invariant that it breaks.
CAUGHT: dict[str, tuple[Scenario, str]] = {
    "ack before commit": (scenarios.power_cut, "1 acked is stored once"),
    "publish skipped": (scenarios.quiet, "9 delivery is prompt"),
    "no head poll": (scenarios.silent_end, "4 readers agree with the database"),
    "no fence": (scenarios.late_news, "8 kicked is out"),
    "changes leave the page": (scenarios.calm, "4 readers agree with the database"),
    "old standings trusted": (scenarios.late_news, "8 kicked is out"),
    "late facts told again": (scenarios.slow_redis, "4 readers agree with the database"),
    "no dedupe": (scenarios.lost_replies, "1 acked is stored once"),
    "ON CONFLICT numbering": (scenarios.lost_replies, "3 numbers have no gap"),
    "unsorted locks": (scenarios.crowd, "10 no deadlock"),
}
ALWAYS = {"no dedupe"}  # the others take longer, and go with the slow tests
SCENARIOS = list(dict.fromkeys(scenario for scenario, _ in CAUGHT.values()))
PACE: dict[Scenario, tuple[int, float]] = {  # messages, and how many a second
    scenarios.quiet: (60, 10.0),
    scenarios.calm: (150, 140.0),
    scenarios.lost_replies: (150, 140.0),
}
USUAL_PACE = (300, 140.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    """Three nodes, which are made into mutants and back."""
    async with Cluster() as one:
        yield one


async def test_every_mutant_has_something_that_exposes_it() -> None:
    assert CAUGHT.keys() == set(MUTANTS)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: str(one.__name__))
async def test_the_whole_server_stands(scenario: Scenario, cluster: Cluster) -> None:
    messages, pace = PACE.get(scenario, USUAL_PACE)
    report = await run(cluster, "", messages=messages, seed=7, per_second=pace, scenario=scenario)
    assert report.good, str(report)


@pytest.mark.parametrize(
    "mutant", [pytest.param(one, marks=[] if one in ALWAYS else pytest.mark.slow) for one in CAUGHT]
)
async def test_a_mutant_is_caught(mutant: str, cluster: Cluster) -> None:
    scenario, invariant = CAUGHT[mutant]
    messages, pace = PACE.get(scenario, USUAL_PACE)
    async with AsyncExitStack() as stack:
        if mutant in PATCHES:
            await cluster.become(mutant)
            stack.push_async_callback(cluster.become)
        else:
            await stack.enter_async_context(rewritten(cluster.store.url, mutant))
        report = await run(cluster, mutant, messages=messages, seed=7, per_second=pace, scenario=scenario, quiesce=3.0)
    assert invariant in report.broken, str(report)


async def test_a_mutant_of_words_that_are_not_there_is_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = type(REWRITES["no dedupe"])((("words that message_append does not have", ""),))
    monkeypatch.setitem(REWRITES, "no dedupe", stale)
    with pytest.raises(StaleError):
        async with rewritten(cluster.store.url, "no dedupe"):
            pass
