"""The bench: every scenario measures, writes what it found, and fails past its limit."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import process
from bench.__main__ import SCENARIOS
from bench.wire import masked, open_sockets

ROOT = Path(__file__).parent.parent


async def bench(*arguments: str) -> tuple[int, str]:
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench", *arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(running.communicate(), 110)
    finally:
        if running.returncode is None:
            running.terminate()
            await running.wait()
    assert running.returncode is not None
    return running.returncode, output.decode()


async def test_every_scenario_is_listed_and_explains_itself() -> None:
    code, output = await bench("--help")
    assert code == 0
    for name in SCENARIOS:
        assert name in output
        code, explained = await bench(name, "--help")
        assert code == 0
        assert "--json FILE" in explained
    assert (await bench("unheard_of"))[0] == 2


async def test_idle_measures_memory_and_cpu_of_sockets_that_do_nothing(tmp_path: Path) -> None:
    file = tmp_path / "idle.json"
    options = (
        "--sockets",
        "100",
        "--accounts",
        "5",
        "--hold",
        "0.5",
        "--max-kib",
        "1000",
        "--json",
        str(file),
    )
    code, output = await bench("idle", *options)
    assert code == 0, output
    found: dict[str, Any] = json.loads(file.read_text())
    assert found["scenario"] == "idle"
    assert found["sockets"] == 100
    assert -5 < found["kib_per_socket"] < 100
    assert 20 < found["server_rss_mib"] < 1000
    assert 0 <= found["idle_cpu_percent"] <= 100
    assert 0 < found["seconds_to_open"] < 60


async def test_ping_compares_the_server_with_a_bare_one_and_fails_past_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "ping.json"
    options = (
        "--sockets",
        "5",
        "--rounds",
        "1",
        "--seconds",
        "0.5",
        "--max-ratio",
        "0.001",
        "--json",
        str(file),
    )
    code, output = await bench("ping", *options)
    assert code == 1, output
    assert "over the limit" in output
    found: dict[str, Any] = json.loads(file.read_text())
    assert found["scenario"] == "ping"
    assert 1 < found["bare_us_per_request"] < 1000
    assert 1 < found["server_us_per_request"] < 1000
    assert found["ratio"] == pytest.approx(found["server_us_per_request"] / found["bare_us_per_request"], abs=0.02)
    assert found["requests_per_s"] > 100


def test_a_process_is_measured_by_what_it_does() -> None:
    before = process.cpu_seconds(os.getpid())
    while process.cpu_seconds(os.getpid()) < before + 0.05:
        sum(range(10_000))
    rss = process.rss_kib(os.getpid())
    ballast = b"x" * 50_000_000
    assert 40_000 < process.rss_kib(os.getpid()) - rss < 60_000
    del ballast


async def test_raw_sockets_put_frames_together_however_they_are_cut() -> None:
    bodies = [b"a" * size for size in (0, 1, 125, 126, 300)]
    greeting = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + frame(b'{"ev":"session.hello"}')
    stream = b"".join(map(frame, bodies)) + b"\x89\x02hi"
    ponged: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await trickle(writer, greeting)
        login = await reader.readuntil(b"}")
        assert b'"token":"secret"' in login
        await trickle(writer, frame(b'{"re":0,"ok":{}}'))
        await reader.readexactly(6 + 4)
        await trickle(writer, stream)
        ponged.set_result(await reader.readexactly(6 + 2))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        [raw] = await open_sockets(url, ["secret"])
        heard: list[bytes] = []
        raw.heard = lambda _, body: heard.append(body)
        raw.send(masked(b"more"))
        assert await asyncio.wait_for(ponged, 5) == masked(b"hi", 10)
    assert heard == bodies


async def test_raw_sockets_say_why_they_could_not_log_in() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 429 Too Many Requests\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        with pytest.raises(ConnectionError, match="429"):
            await open_sockets(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", ["secret"])


def frame(body: bytes) -> bytes:
    """As servers send it: unmasked."""
    size = len(body)
    return (bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")) + body


async def trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
    for at in range(len(data)):
        writer.write(data[at : at + 1])
        await asyncio.sleep(0)
