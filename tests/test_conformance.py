"""WebSocket conformance: every case of the Autobahn suite, run by kosoku against our own gateway.

The core (about 10 s) is part of the ordinary run; compression, large messages and limits take minutes:

    python -m pytest -m slow tests/test_conformance.py
"""

from collections.abc import Sequence
from typing import Any

import pytest
from kosoku import FailureError, run_fuzzingclient

from tests.echo import Plain, echoing

# Nothing may stand in the way of what the cases send: limits have tests of their own.
LIMITLESS: dict[str, Any] = {
    "frame_bytes": 16 << 20,
    "frames_per_second": 10**9,
    "frames_in_burst": 10**9,
    "pending_per_address": 10**6,
    "write_buffer_bytes": 1 << 30,
    "write_timeout": 600,
}
SLOW = ["9.*", "12.*", "13.*"]

# Cases that our gateway answers otherwise than the suite wants, and why: none.
KNOWN: dict[str, str] = {}


async def judged(cases: Sequence[str] | None, exclude: Sequence[str], **settings: Any) -> dict[str, str]:
    """What the suite says of each case."""
    async with echoing(Plain, **LIMITLESS, **settings) as listening:
        try:
            results = await run_fuzzingclient(f"ws://127.0.0.1:{listening.port}/", cases, exclude, concurrency=2)
        except FailureError as failure:
            results = failure.results
    return {
        one.case_id: "ok" if one.passed else f"{one.behavior.value}, close {one.behavior_close.value}: {one.result}"
        for one in results
    }


def unexpected(results: dict[str, str]) -> dict[str, str]:
    """Failures that are not known, and known ones that have become good."""
    return {case: said for case, said in results.items() if (said != "ok") != (case in KNOWN)}


async def test_every_core_case_passes() -> None:
    results = await judged(None, SLOW)
    assert len(results) == 247
    assert unexpected(results) == {}


async def test_the_first_case_of_each_compression_setting_passes() -> None:
    cases = [f"12.{setting}.1" for setting in range(1, 6)] + [f"13.{setting}.1" for setting in range(1, 8)]
    results = await judged(cases, [], compression=True)
    assert list(results) == cases
    assert unexpected(results) == {}


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_large_messages_and_many_fragments_pass() -> None:
    results = await judged(["9.*"], [])
    assert len(results) == 54
    assert unexpected(results) == {}


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_every_compression_case_passes() -> None:
    results = await judged(["12.*", "13.*"], [], compression=True)
    assert len(results) == 216
    assert unexpected(results) == {}
