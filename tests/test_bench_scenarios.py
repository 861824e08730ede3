"""Every scenario measures a real server, tells it in the keys that all share, and fails when anything is wrong."""

import argparse
import asyncio
import json
import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bench import storm
from bench.report import FLAWS
from bench.target import Target, beside, target
from tests.test_bench import bench

Spoiler = Callable[[list[bytes]], list[bytes]]
KEYS = {
    "scenario",
    "acked_per_s",
    "delivered_per_s",
    "server_us_per_message",
    "server_us_per_delivery",
    "postgres_us_per_message",
    "postgres_us_per_delivery",
    "redis_us_per_message",
    "redis_us_per_delivery",
    "ack_ms",
    "delivery_ms",
    "server_rss_mib",
    *FLAWS,
    "seconds",
    "acked",
    "delivered",
    "server_cpu_percent",
    "generator_cpu_percent",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Target]:
    with target(argparse.Namespace(url=None)) as own:
        yield own


def starter(server: Target) -> int:
    """The process that started a server and its databases."""
    return int(Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def result(file: Path, scenario: str) -> dict[str, Any]:
    """What a scenario wrote, with all keys that they share."""
    found: dict[str, Any] = json.loads(file.read_text())
    assert found["scenario"] == scenario
    assert KEYS - found.keys() == set()
    return found


async def measured(server: Target, file: Path, scenario: str, *options: str, fails: str = "") -> dict[str, Any]:
    """Run a scenario; its result, in which nothing may be wrong. `fails`: the only reason not to exit with 0."""
    where = ("--url", server.url, "--pid", str(starter(server)))
    code, output = await bench(scenario, *where, *options, "--json", str(file))
    assert code == (1 if fails else 0), output
    assert fails in output
    found = result(file, scenario)
    assert {name: found[name] for name in FLAWS} == dict.fromkeys(FLAWS, 0)
    assert found["acked"] > 0
    assert found["acked_per_s"] == pytest.approx(found["acked"] / found["seconds"], rel=0.1, abs=1)
    assert 1 < found["server_us_per_message"] < 1_000_000
    assert 0 < found["ack_ms"]["p50"] <= found["ack_ms"]["p95"] <= found["ack_ms"]["p99"] < 60_000
    assert 20 < found["server_rss_mib"] < 1000
    return found


IDLE = ("--sockets", "100", "--accounts", "5", "--hold", "0.3", "--max-kib", "1000")


async def test_idle_measures_memory_and_cpu_of_sockets_that_do_nothing(server: Target, tmp_path: Path) -> None:
    file = tmp_path / "idle.json"
    where = ("--url", server.url, "--pid", str(starter(server)))
    code, output = await bench("idle", *where, *IDLE, "--json", str(file))
    assert code == 0, output
    assert "nothing was sent, and no socket was dropped" in output
    found = result(file, "idle")
    assert found["sockets"] == 100
    assert -5 < found["kib_per_socket"] < 100
    assert 20 < found["server_rss_mib"] < 1000
    assert 0 <= found["idle_cpu_percent"] <= 100
    assert 0 < found["seconds_to_open"] < 60
    counts = (*FLAWS, "acked", "delivered")
    assert {name: found[name] for name in counts} == dict.fromkeys(counts, 0)
    assert found["ack_ms"] == found["delivery_ms"] == {"p50": None, "p95": None, "p99": None}
    assert found["postgres_us_per_delivery"] is found["server_us_per_message"] is None


async def test_idle_reports_sockets_that_were_dropped(server: Target, tmp_path: Path) -> None:
    file = tmp_path / "idle.json"
    async with DroppingProxy(server.url, 2) as url:
        code, output = await bench("idle", "--url", url, "--pid", str(server.pid), *IDLE, "--json", str(file))
    assert code == 1, output
    assert "FAILED: 2 dropped" in output
    found = result(file, "idle")
    assert (found["sockets"], found["dropped"]) == (100, 2)
    assert found["first_problem"] == "2 of 300 sockets were closed while they idled"


async def test_ping_compares_the_server_with_a_bare_one_and_fails_past_its_limit(
    server: Target, tmp_path: Path
) -> None:
    file = tmp_path / "ping.json"
    load = ("--sockets", "5", "--rounds", "1", "--seconds", "0.5", "--max-ratio", "0.001")
    where = ("--url", server.url, "--pid", str(starter(server)))
    code, output = await bench("ping", *where, *load, "--json", str(file))
    assert code == 1, output
    assert "over the limit" in output
    found = result(file, "ping")
    assert 1 < found["bare_us_per_request"] < 1000
    assert 1 < found["server_us_per_request"] < 1000
    assert found["ratio"] == pytest.approx(found["server_us_per_request"] / found["bare_us_per_request"], abs=0.02)
    assert found["requests_per_s"] > 100
    assert 1 < found["server_us_per_message"] < 1000
    assert found["acked_per_s"] == pytest.approx(found["acked"] / found["seconds"], rel=0.1)


async def test_fanout_delivers_every_message_to_every_member(server: Target, tmp_path: Path) -> None:
    page = tmp_path / "fanout.html"
    load = ("--members", "60", "--senders", "3", "--seconds", "0.6", "--warm-up", "0.2")
    found = await measured(server, tmp_path / "json", "fanout", *load, "--generators", "2", "--html", str(page))
    assert found["sockets"] == 60
    assert found["delivered"] == 60 * found["acked"]
    assert found["delivery_ms"]["p50"] > 0
    for part in ("server", "postgres"):
        a_message, a_delivery = found[f"{part}_us_per_message"], found[f"{part}_us_per_delivery"]
        assert 0 < a_delivery == pytest.approx(a_message / 60, abs=0.01)
    assert found["redis_us_per_delivery"] is not None
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


STORM = ("--clients", "12", "--channels", "3", "--gap", "20", "--rate", "50")


async def test_a_storm_brings_everybody_what_they_missed_and_fails_when_it_takes_too_long(
    server: Target, tmp_path: Path
) -> None:
    limits = ("--max-live-p95-ms", "5000", "--max-resume-s", "0.0001")
    fails = "is over the limit of 0.0001"
    found = await measured(server, tmp_path / "json", "storm", *STORM, *limits, fails=fails)
    assert found["resumed"] == 12
    assert found["delivered"] >= 12 * 20
    assert 0 < found["resume_s"] < 10
    assert found["fetched"] < 3 * 20, "what was missed was still in memory"


async def test_a_cold_storm_is_read_from_the_database(server: Target) -> None:
    parser = argparse.ArgumentParser()
    storm.add_options(parser)
    found, _ = await storm.measure(server, parser.parse_args(["--cold", *STORM]))
    assert {name: found[name] for name in FLAWS} == dict.fromkeys(FLAWS, 0)
    assert (found["cold"], found["resumed"], found["workers"]) == (True, 12, 2)
    assert found["delivered"] >= 12 * 20
    assert found["fetched"] >= 3 * 20, "what was missed in each channel"


def test_a_second_server_is_started_beside_one_of_our_own_only() -> None:
    with pytest.raises(SystemExit, match="do without --url"), beside(Target("ws://127.0.0.1:9")):
        pass


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
    load = ("--people", "6", "--channels", "2", "--each", "2", "--rate", "40", "--minutes", "0.035")
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


STAMP = re.compile(rb'"@\d{19}')


def drop(messages: list[bytes]) -> list[bytes]:
    return messages[1:]


def double(messages: list[bytes]) -> list[bytes]:
    return [messages[0], *messages]


def swap(messages: list[bytes]) -> list[bytes]:
    return [messages[1], messages[0], *messages[2:]]


def exchange(messages: list[bytes]) -> list[bytes]:
    """Both arrive in the order of their seq, but each with the stamp of the other."""
    (first,), (second,) = map(STAMP.findall, messages[:2])
    return [messages[0].replace(first, second), messages[1].replace(second, first), *messages[2:]]


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
    flaws = {name: found[name] for name in FLAWS}
    assert flaws == dict.fromkeys(FLAWS, 0) | {flaw: 1}


@pytest.mark.parametrize(
    ("load", "listener"),
    [
        (("--generators", "1", "--members", "6", "--senders", "2"), 3),
        (("--generators", "2", "--members", "2", "--senders", "1"), 1),
    ],
    ids=["beside others", "alone in its generator"],
)
async def test_another_message_at_the_right_seq_is_noticed_by_who_only_listens(
    server: Target, load: tuple[str, ...], listener: int, tmp_path: Path
) -> None:
    file = tmp_path / "spoiled.json"
    async with SpoilingProxy(server.url, exchange, listener) as url:
        timing = ("--seconds", "0.3", "--warm-up", "0")
        code, output = await bench("fanout", "--url", url, *load, *timing, "--json", str(file))
    assert code == 1, output
    found = json.loads(file.read_text())
    mismatched = found["mismatched"]
    assert mismatched > 0
    assert {name: found[name] for name in FLAWS} == dict.fromkeys(FLAWS, 0) | {"mismatched": mismatched}


class Proxy(ABC):
    """Passes everything on, frame by frame towards the client."""

    def __init__(self, url: str) -> None:
        self._server = urlsplit(url)
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
            with suppress(ConnectionError):
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

    @abstractmethod
    async def _return(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sends: asyncio.Event) -> None:
        """What comes from the server. `sends`: whether the client has sent a message."""


class DroppingProxy(Proxy):
    """Ends the first few connections that a session was opened on, as soon as that is answered."""

    def __init__(self, url: str, count: int) -> None:
        super().__init__(url)
        self._count = count

    async def _return(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sends: asyncio.Event) -> None:
        writer.write(await reader.readuntil(b"\r\n\r\n"))
        with suppress(asyncio.IncompleteReadError):
            while frame := await read_frame(reader):
                writer.write(frame)
                if self._count and b'"channels":' in frame:
                    self._count -= 1
                    break
        writer.close()


class SpoilingProxy(Proxy):
    """Lets a spoiler at the first two messages to one of the members who only listen, the third if not told otherwise.

    A sender who misses or doubles its own message would notice that twice.
    """

    def __init__(self, url: str, spoiler: Spoiler, listener: int = 3) -> None:
        super().__init__(url)
        self._spoiler, self._listener, self._listening = spoiler, listener, 0

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
                    held = [] if self._listening == self._listener else None
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
