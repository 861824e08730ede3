"""metric: the text that Prometheus reads, of one process and of several."""

import math
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from server import Config, Server
from server.measure import _labelled
from server.metric import BUCKETS, Family, Histogram, OpMetric, family, histogram, line, render
from tests.conftest import QUICK
from tests.raw import Raw, head, until


def read(page: bytes) -> dict[str, Metric]:
    """The page as Prometheus' own parser reads it; each family once."""
    families = list(text_string_to_metric_families(page.decode()))
    assert len({one.name for one in families}) == len(families), "a family stands in two places"
    return {one.name: one for one in families}


def test_a_family_has_its_help_type_and_samples() -> None:
    page = render([family("sockets", "gauge", "Open sockets.", [({"kind": "a"}, 3), ({"kind": "b"}, 0.5)])])
    one = read(page)["sockets"]
    assert (one.type, one.documentation) == ("gauge", "Open sockets.")
    assert [(sample.labels, sample.value) for sample in one.samples] == [({"kind": "a"}, 3), ({"kind": "b"}, 0.5)]


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\nb", "a b", "a{b}", "a,b=c", "déjà", ""])
def test_whatever_a_label_says_it_is_one_label(text: str) -> None:
    row = _labelled(line("thing", {"label": text}, 1), {"worker": "0"})
    (sample,) = read(render([Family("thing", "gauge", "A thing.", [row])]))["thing"].samples
    assert (sample.labels, sample.value) == ({"label": text, "worker": "0"}, 1)


def test_a_histogram_is_cumulative_and_ends_in_infinity() -> None:
    part = Histogram()
    for value in (0.0, 0.0005, 0.0006, 0.3, 11, 1000):
        part.observe(value)
    one = read(render([histogram("seconds", "Time.", [({"op": "a"}, part), ({"op": "never"}, Histogram())])]))[
        "seconds"
    ]
    assert one.type == "histogram"
    buckets = [(float(s.labels["le"]), s.value) for s in one.samples if s.name == "seconds_bucket"]
    assert buckets == [(bound, sum(v <= bound for v in (0, 0.0005, 0.0006, 0.3))) for bound in BUCKETS] + [
        (math.inf, 6)
    ]
    rest = {s.name: s.value for s in one.samples if s.name != "seconds_bucket"}
    assert rest == {"seconds_count": 6, "seconds_sum": pytest.approx(1011.3011)}
    assert {s.labels["op"] for s in one.samples} == {"a"}, "what never happened takes no room"


def test_the_families_of_several_workers_stand_together() -> None:
    def worker(number: str, count: int) -> list[Family]:
        part = Histogram()
        part.observe(0.001 * count)
        families = [
            family("requests_total", "counter", "Requests.", [({"op": "a"}, count)]),
            family("sockets", "gauge", "Open sockets.", [({}, count)]),
            histogram("seconds", "Time.", [({}, part)]),
            family("empty", "gauge", "Nothing.", []),
        ]
        for one in families:
            one.rows = [_labelled(row, {"worker": number}) for row in one.rows]
        return families

    page = render(worker("0", 1), worker("1", 2), worker("2", 3))
    found = read(page)
    assert {name: len(one.samples) for name, one in found.items()} == {
        "requests": 3,
        "sockets": 3,
        "seconds": 3 * (len(BUCKETS) + 3),
    }
    assert {s.labels["worker"]: s.value for s in found["sockets"].samples} == {"0": 1, "1": 2, "2": 3}
    assert page.count(b"# TYPE requests_total") == 1
    assert read(render(worker("0", 1)))["sockets"].samples[0].value == 1, "rendering changes nothing"


def test_refusals_are_counted_by_their_code() -> None:
    one = OpMetric("message.send")
    one.done(0.001)
    one.refused("invalid", 0.001)
    one.refused("invalid", 0.001)
    assert list(one.outcomes()) == [
        ({"op": "message.send", "result": "ok"}, 1),
        ({"op": "message.send", "result": "invalid"}, 2),
    ]
    assert sum(one.latency.counts) == 3


async def test_a_worker_shows_the_numbers_of_its_siblings_too(database: str, redis_url: str, folder: Path) -> None:
    config = Config(**{**QUICK, "data": folder, "database_url": database, "redis_url": redis_url})
    async with Server(config, worker="0", siblings=True) as first:
        await until(lambda: first.measures.page().count(b'worker="0"') > 10)
        async with Server(config, worker="1", siblings=True) as second:
            await until(lambda: b'worker="0"' in second.measures.page())
            raw = await Raw.connect(second.port)
            raw.send(head("GET", "/metrics", ()))
            sockets = read((await raw.reply()).body)["onesocket_sockets"]
            assert {one.labels["worker"]: one.value for one in sockets.samples} == {"0": 0, "1": 1}
