"""Numbers about the running server, in the text format that Prometheus reads.

Rule: counting on the hot path is an integer and a list element; names and labels are made when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

Sample = tuple[Mapping[str, str], float]


class Family(Struct):
    """A metric with its samples, each a finished line."""

    name: str
    kind: str
    doc: str
    rows: list[str]


class Histogram:
    """How many values fell into which bucket, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts, self.total = [0] * (len(BUCKETS) + 1), 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(BUCKETS, value)] += 1
        self.total += value

    def lines(self, name: str, labels: Mapping[str, str]) -> Iterator[str]:
        """The cumulative buckets, sum and count."""
        cumulative = 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            cumulative += count
            yield line(f"{name}_bucket", {**labels, "le": bound}, cumulative)
        yield line(f"{name}_sum", labels, self.total)
        yield line(f"{name}_count", labels, cumulative)


class OpMetric:
    """What happened to the requests of one op."""

    __slots__ = ("latency", "name", "ok", "refusals")

    def __init__(self, name: str) -> None:
        self.name, self.ok, self.latency = name, 0, Histogram()
        self.refusals: dict[str, int] = {}

    def done(self, seconds: float) -> None:
        """One was answered."""
        self.ok += 1
        self.latency.observe(seconds)

    def refused(self, code: str, seconds: float) -> None:
        """One was refused."""
        self.refusals[code] = self.refusals.get(code, 0) + 1
        self.latency.observe(seconds)

    def outcomes(self) -> Iterator[Sample]:
        """Requests by result."""
        if self.ok:
            yield {"op": self.name, "result": "ok"}, self.ok
        for code, count in sorted(self.refusals.items()):
            yield {"op": self.name, "result": code}, count


def line(name: str, labels: Mapping[str, str], value: float) -> str:
    """One sample."""
    inner = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
    number = repr(value) if isinstance(value, float) else str(value)
    return f"{name}{{{inner}}} {number}" if inner else f"{name} {number}"


def family(name: str, kind: str, doc: str, samples: Iterable[Sample]) -> Family:
    """A counter or gauge."""
    return Family(name, kind, doc, [line(name, labels, value) for labels, value in samples])


def histogram(name: str, doc: str, parts: Iterable[tuple[Mapping[str, str], Histogram]]) -> Family:
    """A family of histograms, those with values."""
    rows = [row for labels, part in parts if any(part.counts) for row in part.lines(name, labels)]
    return Family(name, "histogram", doc, rows)


def render(*processes: Iterable[Family]) -> bytes:
    """The families of all processes as one page: the lines of a metric stand together."""
    merged: dict[str, Family] = {}
    for families in processes:
        for one in families:
            known = merged.setdefault(one.name, Family(one.name, one.kind, one.doc, []))
            known.rows.extend(one.rows)
    return "".join(
        f"# HELP {one.name} {one.doc}\n# TYPE {one.name} {one.kind}\n" + "\n".join(one.rows) + "\n"
        for one in merged.values()
        if one.rows
    ).encode()


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
