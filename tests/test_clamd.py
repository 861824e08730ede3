"""clamd: what it finds is refused, and so is what it did not look at, unless the operator said otherwise."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from server import Config
from server.commands import doctor
from server.media.clamd import Scanner
from server.media.job import Rejected
from server.media.processor import Processor
from tests import film

# The test file that every scanner finds; in two parts, so that none finds this one.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}" + b"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def clamd(speak: Speak) -> AsyncIterator[str]:
    """A server on a port of its own that says what a test has it say."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await speak(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"tcp://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def whole(reader: asyncio.StreamReader) -> bytes:
    """What was streamed, to its end."""
    assert await reader.readexactly(10) == b"zINSTREAM\0"
    pieces = []
    while size := int.from_bytes(await reader.readexactly(4), "big"):
        assert size <= 2**20
        pieces.append(await reader.readexactly(size))
    return b"".join(pieces)


def saying(answer: bytes, seen: list[bytes] | None = None) -> Speak:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        content = await whole(reader)
        if seen is not None:
            seen.append(content)
        writer.write(answer)
        await writer.drain()

    return speak


async def verdict(url: str, file: Path, **options: float | bool) -> str:
    try:
        await Scanner(url, **options).scan(file)  # type: ignore[arg-type]
    except Rejected as rejected:
        return f"{rejected.code}: {rejected.detail}"
    return "clean"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 1000)
    return path


async def test_the_whole_file_is_streamed_and_its_verdict_counts(file: Path) -> None:
    seen: list[bytes] = []
    async with clamd(saying(b"stream: OK\0", seen)) as url:
        assert await verdict(url, file) == "clean"
    assert seen == [file.read_bytes()]
    async with clamd(saying(b"stream: Win.Test.EICAR_HDB-1 FOUND\0")) as url:
        assert await verdict(url, file) == "infected: Win.Test.EICAR_HDB-1"
        assert await verdict(url, file, required=False) == "infected: Win.Test.EICAR_HDB-1"


async def _too_large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As clamd ends a stream that is longer than it takes, before its end."""
    await reader.readexactly(100)
    writer.write(b"INSTREAM size limit exceeded. ERROR\0")
    await writer.drain()


async def _gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(100)


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await whole(reader)
    while True:
        writer.write(b"stream: O" * 1000)
        await writer.drain()


@pytest.mark.parametrize("speak", [_too_large, _gone, _silent, _endless, saying(b"stream: OKAY\0"), saying(b"")])
async def test_what_it_did_not_look_at_is_refused_unless_that_is_allowed(file: Path, speak: Speak) -> None:
    async with clamd(speak) as url:
        refused, allowed = await asyncio.gather(
            verdict(url, file, patience=0.3), verdict(url, file, patience=0.3, required=False)
        )
    assert (refused, allowed) == ("unscanned: clamd did not look at it", "clean")


async def test_a_clamd_that_is_away_is_no_clean_file(file: Path, tmp_path: Path) -> None:
    async with clamd(saying(b"")) as url:
        pass
    for where in (url, f"unix://{tmp_path}/none.sock"):
        assert await verdict(where, file) == "unscanned: clamd did not look at it"
    for wrong in ("http://127.0.0.1", "tcp://", "unix://", "127.0.0.1:3310", ""):
        with pytest.raises(ValueError, match="clamd_url"):
            Scanner(wrong)


async def _alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"PONG\0" if await reader.readexactly(6) == b"zPING\0" else b"UNKNOWN COMMAND\0")
    await writer.drain()


async def test_the_doctor_knows_whether_clamd_is_there() -> None:
    async with clamd(_alive) as url:
        assert await Scanner(url).answers()
        assert (await doctor._scanner(Config(clamd_url=url))).state == "ok"
    assert not await Scanner(url).answers()
    assert (await doctor._scanner(Config(clamd_url=url))).state == "bad"
    assert (await doctor._scanner(Config(clamd_url="clamd"))).state == "bad"


async def test_a_file_is_scanned_before_it_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(film.picture("PNG"))
    async with clamd(saying(b"stream: Bad.Thing FOUND\0")) as url:
        processor = Processor(tmp_path / "scratch", scanner=Scanner(url))
        with pytest.raises(Rejected) as rejected:
            await processor.run(tmp_path / "a.png", "attachment", "a.png", "image/png")
        assert (rejected.value.code, rejected.value.detail) == ("infected", "Bad.Thing")
        await processor.stop()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("clamd") is None, reason="Debian's clamav-daemon is not installed")
async def test_a_real_clamd_finds_the_test_file(tmp_path: Path) -> None:
    """With a signature made here: none is downloaded."""
    (tmp_path / "db").mkdir()
    (tmp_path / "db/own.ndb").write_text(f"Own.Test.Eicar:0:*:{EICAR.hex()}\n")
    (tmp_path / "clamd.conf").write_text(
        f"LocalSocket {tmp_path}/socket\nDatabaseDirectory {tmp_path}/db\nForeground yes\nStreamMaxLength 1M\n"
    )
    real = await asyncio.create_subprocess_exec(
        "clamd", "--config-file", str(tmp_path / "clamd.conf"), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60):
            while not (tmp_path / "socket").exists():
                assert real.returncode is None
                await asyncio.sleep(0.05)
        url = f"unix://{tmp_path}/socket"
        files = {"clean": b"hello", "bad": b"before " + EICAR + b" behind", "large": bytes(3 * 2**20)}
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        assert await Scanner(url).answers()
        assert await verdict(url, tmp_path / "clean") == "clean"
        assert await verdict(url, tmp_path / "bad") == "infected: Own.Test.Eicar.UNOFFICIAL"
        assert await verdict(url, tmp_path / "large") == "unscanned: clamd did not look at it"
    finally:
        real.kill()
        await real.wait()
