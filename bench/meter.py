"""CPU and memory of everybody who takes part in a run, read from outside."""

import time
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import urlopen

from bench import process
from bench.target import Target

_FETCHED = "onesocket_facts_fetched_total{"
_PATIENCE = 5.0


@dataclass(frozen=True)
class Reading:
    """CPU seconds and MiB at one moment; None for what is not known."""

    at: float
    server: float | None
    postgres: float | None
    redis: float | None
    generators: tuple[float, ...]
    rss_mib: float | None


class Meter:
    """Reads the processes of a target and of its generators."""

    def __init__(self, target: Target, generators: list[int]) -> None:
        self._target, self._generators = target, generators

    def read(self) -> Reading:
        """Now."""
        workers = self._target.workers
        return Reading(
            time.monotonic(),
            sum(process.cpu_seconds(pid) for pid in workers) if workers else None,
            _family(self._target.postgres),
            _family(self._target.redis),
            tuple(process.cpu_seconds(pid) for pid in self._generators),
            sum(process.rss_kib(pid) for pid in workers) / 1024 if workers else None,
        )


def _family(pid: int | None) -> float | None:
    with suppress(OSError):
        return None if pid is None else process.family_cpu_seconds(pid)
    return None


def facts_fetched(url: str) -> int | None:
    """How many facts the server at a ws:// address has read anew from its database; None when it does not say.

    Of several processes one answers, and knows of the others what was true some seconds ago: that is not known, then.
    """
    parts = urlsplit(url)
    scheme = "https" if parts.scheme == "wss" else "http"
    try:
        with urlopen(f"{scheme}://{parts.netloc}/metrics", timeout=_PATIENCE) as reply:
            lines = reply.read().decode().splitlines()
    except OSError:
        return None
    found = [line for line in lines if line.startswith(_FETCHED)]
    return int(float(found[0].rpartition(" ")[2])) if len(found) == 1 else None


def between(before: float | None, after: float | None) -> float | None:
    """What was used from one reading to the other."""
    return None if before is None or after is None else after - before
