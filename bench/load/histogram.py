"""Latencies as counts in buckets of 20 microseconds: cheap to add to, to send and to put together."""

from collections.abc import Iterable

BUCKET_NS = 20_000
Counts = dict[int, int]


def merge(into: Counts, counts: Counts) -> None:
    """Add counts to others."""
    for bucket, count in counts.items():
        into[bucket] = into.get(bucket, 0) + count


def percentiles(counts: Counts, parts: Iterable[float]) -> list[float | None]:
    """The milliseconds within which these parts (0 to 1, ascending) of all were done."""
    total, seen, found = sum(counts.values()), 0, []
    ordered = iter(sorted(counts.items()))
    bucket = -1
    for part in parts:
        while total and seen < part * total:
            bucket, count = next(ordered)
            seen += count
        found.append(round((bucket + 1) * BUCKET_NS / 1e6, 2) if total else None)
    return found


def summary(counts: Counts) -> dict[str, float | None]:
    """The three that are reported."""
    return dict(zip(("p50", "p95", "p99"), percentiles(counts, (0.5, 0.95, 0.99)), strict=True))
