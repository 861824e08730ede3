"""The bench: it explains itself, measures processes, and its sockets speak WebSocket."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import process
from bench.__main__ import SCENARIOS, main
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


async def test_every_scenario_is_listed() -> None:
    code, output = await bench("--help")
    assert code == 0
    assert [name for name in SCENARIOS if name not in output] == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert "--json FILE" in capsys.readouterr().out


def test_an_unknown_scenario_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["unheard_of"])
    assert end.value.code == 2
    assert "unheard_of" in capsys.readouterr().err


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
