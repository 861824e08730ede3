"""Every scenario measures a real server, tells it in the keys that all share, and fails when anything is wrong."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bench.report import FLAWS
from bench.target import Target, own_server
from tests.test_bench import bench

Spoiler = Callable[[list[bytes]], list[bytes]]
KEYS = {
    "scenario",
    "acked_per_s",
    "delivered_per_s",
    "server_us_per_message",
    "server_us_per_delivery",
    "postgres_us_per_message",
    "redis_us_per_message",
    "ack_ms",
    "delivery_ms",
    "server_rss_mib",
    "lost",
    "duplicated",
    "reordered",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Target]:
    with own_server({}) as target:
        yield target


async def measured(server: Target, file: Path, scenario: str, *options: str) -> dict[str, Any]:
    """Run a scenario; its result, in which nothing may be wrong."""
    where = ("--url", server.url, "--pid", str(server.pid))
    code, output = await bench(scenario, *where, *options, "--json", str(file))
    assert code == 0, output
    found: dict[str, Any] = json.loads(file.read_text())
    assert found.keys() >= KEYS
    assert found["scenario"] == scenario
    assert {name: found[name] for name in FLAWS} == dict.fromkeys(FLAWS, 0)
    assert found["acked"] > 0
    assert found["acked_per_s"] == pytest.approx(found["acked"] / found["seconds"], rel=0.1, abs=1)
    assert 1 < found["server_us_per_message"] < 1_000_000
    assert 0 < found["ack_ms"]["p50"] <= found["ack_ms"]["p95"] <= found["ack_ms"]["p99"] < 60_000
    assert 20 < found["server_rss_mib"] < 1000
    return found


async def test_fanout_delivers_every_message_to_every_member(server: Target, tmp_path: Path) -> None:
    page = tmp_path / "fanout.html"
    load = ("--members", "60", "--senders", "3", "--seconds", "0.6", "--warm-up", "0.2")
    found = await measured(server, tmp_path / "json", "fanout", *load, "--generators", "2", "--html", str(page))
    assert found["sockets"] == 60
    assert found["delivered"] == 60 * found["acked"]
    assert found["delivery_ms"]["p50"] > 0
    assert "every acknowledged message came to everybody" in page.read_text("utf-8")


async def test_a_rate_is_kept(server: Target, tmp_path: Path) -> None:
    load = ("--members", "3", "--senders", "2", "--seconds", "1", "--warm-up", "0", "--rate", "50")
    found = await measured(server, tmp_path / "json", "fanout", *load)
    assert found["acked"] in range(45, 52)
    assert found["rate"] == 50


async def test_rooms_fill_many_channels_at_once(server: Target, tmp_path: Path) -> None:
    load = ("--channels", "4", "--members", "3", "--seconds", "0.5", "--warm-up", "0")
    found = await measured(server, tmp_path / "json", "rooms", *load)
    assert (found["channels"], found["sockets"]) == (4, 12)
    assert found["delivered"] == 3 * found["acked"]


async def test_pairs_write_to_each_other(server: Target, tmp_path: Path) -> None:
    found = await measured(server, tmp_path / "json", "dm", "--pairs", "3", "--seconds", "0.5", "--warm-up", "0")
    assert (found["channels"], found["sockets"]) == (3, 6)
    assert found["delivered"] == 2 * found["acked"]


async def test_a_storm_brings_everybody_what_they_missed(server: Target, tmp_path: Path) -> None:
    load = ("--clients", "12", "--channels", "3", "--gap", "20", "--rate", "50")
    found = await measured(server, tmp_path / "json", "storm", *load, "--max-live-p95-ms", "5000")
    assert found["resumed"] == 12
    assert found["delivered"] >= 12 * 20
    assert 0 < found["resume_s"] < 10


async def test_a_storm_that_takes_too_long_fails(server: Target) -> None:
    load = ("--clients", "2", "--channels", "1", "--gap", "2", "--max-resume-s", "0.0001")
    code, output = await bench("storm", "--url", server.url, *load)
    assert code == 1, output
    assert "is over the limit of 0.0001" in output


async def test_history_reads_whole_pages(server: Target, tmp_path: Path) -> None:
    load = ("--channels", "2", "--readers", "2", "--messages", "60", "--limit", "20", "--seconds", "0.5")
    found = await measured(server, tmp_path / "json", "history", *load)
    assert found["delivered"] == 20 * found["acked"]


async def test_login_goes_all_the_way(server: Target, tmp_path: Path) -> None:
    found = await measured(server, tmp_path / "json", "login", "--accounts", "3", "--depth", "2", "--seconds", "0.5")
    assert found["server_us_per_delivery"] is None


async def test_mixed_is_mostly_reading(server: Target, tmp_path: Path) -> None:
    load = ("--people", "12", "--channels", "4", "--each", "3", "--rate", "150", "--seconds", "1.5")
    found = await measured(server, tmp_path / "json", "mixed", *load)
    assert found["acked_per_s"] < found["requests_per_s"] / 2
    assert 1 < found["server_us_per_request"] < found["server_us_per_message"]
    assert found["passing_per_s"] > 0


async def test_soak_reports_how_memory_grows(server: Target, tmp_path: Path) -> None:
    load = ("--people", "6", "--channels", "2", "--each", "2", "--rate", "40", "--minutes", "0.05")
    found = await measured(server, tmp_path / "json", "soak", *load)
    assert isinstance(found["mib_per_hour"], float)
    assert -50 < found["rss_growth_mib"] < 50


async def test_a_server_that_is_not_there_is_an_error_and_not_a_result() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        code, output = await bench("rooms", "--url", f"ws://127.0.0.1:{nobody.getsockname()[1]}")
    assert code == 3
    assert "python -m bench rooms: " in output
    assert "acked_per_s" not in output


def drop(messages: list[bytes]) -> list[bytes]:
    return messages[1:]


def double(messages: list[bytes]) -> list[bytes]:
    return [messages[0], *messages]


def swap(messages: list[bytes]) -> list[bytes]:
    return [messages[1], messages[0], *messages[2:]]


@pytest.mark.parametrize(
    ("spoiler", "flaw"),
    [(drop, "lost"), (double, "duplicated"), (swap, "reordered")],
    ids=["lost", "duplicated", "reordered"],
)
async def test_a_run_over_a_wire_that_spoils_messages_fails(
    server: Target, spoiler: Spoiler, flaw: str, tmp_path: Path
) -> None:
    file = tmp_path / "spoiled.json"
    async with SpoilingProxy(server.url, spoiler) as url:
        load = ("--members", "6", "--senders", "2", "--seconds", "0.3", "--warm-up", "0")
        code, output = await bench("fanout", "--url", url, *load, "--json", str(file))
    assert code == 1, output
    assert "FAILED" in output
    found = json.loads(file.read_text())
    flaws = {name: found[name] for name in ("lost", "duplicated", "reordered", "mismatched", "refused", "unanswered")}
    assert flaws == dict.fromkeys(flaws, 0) | {flaw: 1}


class SpoilingProxy:
    """Passes everything on, but lets a spoiler at the first two messages to the third member who only listens.

    A sender who misses or doubles its own message would notice that twice.
    """

    def __init__(self, url: str, spoiler: Spoiler) -> None:
        self._server, self._spoiler = urlsplit(url), spoiler
        self._listening = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> str:
        self._proxy = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"ws://127.0.0.1:{self._proxy.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._proxy.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        onward, back = await asyncio.open_connection(self._server.hostname, self._server.port)
        sends = asyncio.Event()
        try:
            await asyncio.gather(self._forward(reader, back, sends), self._return(onward, writer, sends))
        finally:
            back.close()
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sends: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if b'"message.send"' in data:
                sends.set()
            writer.write(data)
        writer.close()

    async def _return(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sends: asyncio.Event) -> None:
        writer.write(await reader.readuntil(b"\r\n\r\n"))
        held: list[bytes] | None = None
        seen = False
        with suppress(asyncio.IncompleteReadError):
            while frame := await read_frame(reader):
                if b'{"ev":"message.created"' not in frame:
                    writer.write(frame)
                    continue
                if not seen and not sends.is_set():
                    seen, self._listening = True, self._listening + 1
                    held = [] if self._listening == 3 else None
                if held is None:
                    writer.write(frame)
                    continue
                held.append(frame)
                if len(held) == 2:
                    writer.write(b"".join(self._spoiler(held)))
                    held = None
        writer.close()


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(2)
    if head[1] >= 126:
        head += await reader.readexactly(2 if head[1] == 126 else 8)
        return head + await reader.readexactly(int.from_bytes(head[2:], "big"))
    return head + await reader.readexactly(head[1])
