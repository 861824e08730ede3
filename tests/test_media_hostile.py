"""Files that were made to do harm: each gets a code or a safe result, and others get theirs meanwhile."""

import asyncio
import contextlib
import os
import random
import signal
import struct
import sys
import textwrap
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from pathlib import Path

import psutil
import pytest

from server.media import child
from server.media.job import Bounds, Rejected, Result
from server.media.processor import Processor
from tests import film

Starter = Callable[..., Processor]
MIB = 2**20


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Starter]:
    """Makes processors."""
    started: list[Processor] = []

    def make(bounds: Bounds | None = None, **options: int) -> Processor:
        started.append(Processor(tmp_path / f"scratch{len(started)}", bounds, **options))
        return started[-1]

    yield make
    for one in started:
        await one.stop()


async def judged(
    processor: Processor, content: bytes | Path, declared: str = "", purpose: str = "attachment"
) -> Result | str:
    """The result, or the code of the refusal."""
    path = content if isinstance(content, Path) else Path(processor._scratch).with_name(os.urandom(4).hex())
    if isinstance(content, bytes):
        path.write_bytes(content)
    try:
        return await processor.run(path, purpose, "a", declared)
    except Rejected as rejected:
        return rejected.code


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG that says how large it is, whatever is in it."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """So many zeros in a thousandth of the place."""
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(count // MIB)) + packer.flush()


def bombs() -> dict[str, tuple[bytes, str]]:
    webp = bytearray(film.picture("WEBP", lossless=True))
    webp[21:25] = struct.pack("<I", 16382 | 16382 << 14)
    gif = bytearray(film.animation("GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    annotated = film.picture("PNG")[:33] + chunk(b"zTXt", b"a\0\0" + zeros(8 * MIB)) + film.picture("PNG")[33:]
    return {
        "many pixels": (png(30_000, 30_000, zeros(8 * MIB)), "too_large_picture"),
        "more than numbers hold": (png(2**31 - 1, 2**31 - 1, b""), "too_large_picture"),
        "very wide": (png(40_000, 1, zeros(MIB)), "too_large_picture"),
        "a large canvas of a GIF": (bytes(gif), "too_large_picture"),
        "many frames": (film.animation("GIF", 700, (2, 2)), "too_large_picture"),
        "a large WebP": (bytes(webp), "too_large_picture"),
        "a long text": (annotated, "unreadable"),
        "more rows than it said": (png(10, 10, zeros(8 * MIB)), ""),
    }


async def test_bombs_are_refused_before_they_go_off(begin: Starter) -> None:
    processor = begin()
    cases = bombs()
    found = await asyncio.gather(*(judged(processor, content) for content, _ in cases.values()))
    codes = {name: one if isinstance(one, str) else "" for name, one in zip(cases, found, strict=True)}
    assert codes == {name: code for name, (_, code) in cases.items()}


async def test_what_is_cut_off_or_garbled_is_unreadable(begin: Starter, tmp_path: Path) -> None:
    processor, noise = begin(), random.Random(7).randbytes
    whole = [film.picture("PNG", (99, 99)), film.picture("JPEG", (99, 99)), film.picture("WEBP", (99, 99))]
    whole += [film.video(tmp_path / "a.mp4", "mp4", "libx264").read_bytes()]
    broken = [one[: len(one) * 6 // 10] for one in whole]
    broken += [whole[1][:40] + noise(2000), whole[3][:40] + noise(2000)]
    broken += [b"OggS" + bytes(24) + b"OpusHead" + noise(500), b"\x1a\x45\xdf\xa3\x42\x82\x84webm" + noise(500)]
    found = await asyncio.gather(*(judged(processor, one) for one in broken))
    assert found == ["unreadable"] * len(broken)


async def test_a_file_that_is_two_things_is_written_anew_as_one(begin: Starter) -> None:
    processor = begin()
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("evil.class", "a program")
    comment = film.picture("JPEG", comment=b"<script>alert(document.domain)</script>")
    script = b"<script>alert(1)</script>"
    for polyglot in (film.picture("GIF") + packed.getvalue(), film.picture("PNG") + script, comment + script):
        result = await judged(processor, polyglot)
        assert isinstance(result, Result)
        written = result.variants[0].path.read_bytes()
        assert not [word for word in (b"PK\x03\x04", b"evil", b"script") if word in written]
    assert await judged(processor, b"GIF89a/*" + b" */=1;alert(1)//" * 9) == "unreadable"


async def test_a_file_is_what_it_contains_whatever_it_is_said_to_be(begin: Starter) -> None:
    processor, picture = begin(), film.picture("PNG")
    page = b"<html><script>alert(1)</script>"
    assert await judged(processor, page, "image/png") == "wrong_type"
    assert await judged(processor, b"MZ\x90\0", "video/mp4") == "wrong_type"
    assert await judged(processor, picture, "Video/MP4; codecs=x") == "wrong_type"
    results = [
        await judged(processor, picture, "image/jpeg"),
        await judged(processor, picture, "text/html"),
        await judged(processor, page, "image/svg+xml"),
        await judged(processor, zeros(MIB), "application/zip"),
    ]
    assert [one.type for one in results if isinstance(one, Result)] == ["image/png"] * 2 + [
        "application/octet-stream"
    ] * 2
    assert [one.inline for one in results if isinstance(one, Result)] == [True, True, False, False]


def large() -> bytes:
    """A picture that takes two seconds."""
    return png(6000, 6000, zeros(108 * MIB))


async def test_whoever_takes_too_much_is_stopped_and_the_others_go_on(begin: Starter) -> None:
    cases = {
        "over_time": (begin(Bounds(wall=0.05)), film.picture("PNG")),
        "over_memory": (begin(Bounds(memory=80 * MIB)), large()),
        "too_large_result": (begin(Bounds(output=200)), film.picture("PNG", (500, 500))),
    }
    spent, others = begin(Bounds(cpu=1)), begin()
    *codes, cpu, good = await asyncio.gather(
        *(judged(*case) for case in cases.values()), judged(spent, large()), judged(others, film.picture("PNG"))
    )
    assert codes == list(cases)
    assert cpu == "over_time"
    assert isinstance(good, Result)
    assert not [one for one in psutil.Process().children() if "server.media.worker" in one.cmdline()]


async def test_a_process_that_dies_takes_one_file_with_it(begin: Starter) -> None:
    processor = begin()
    slow = asyncio.ensure_future(judged(processor, large()))
    [running] = await begun(processor)
    good = asyncio.ensure_future(judged(processor, film.picture("PNG")))
    os.kill(running, signal.SIGSEGV)
    assert await slow == "unreadable"
    assert isinstance(await good, Result)


async def begun(processor: Processor) -> list[int]:
    """The first processes of one."""
    async with asyncio.timeout(20):
        while not processor._running:
            await asyncio.sleep(0.001)
    return [one.pid for one in processor._running]


SERVER = """
import asyncio, sys
from pathlib import Path
from server.media.processor import Processor

async def main():
    processor = Processor(Path(sys.argv[1]))
    job = asyncio.ensure_future(processor.run(Path(sys.argv[2]), "attachment", "", ""))
    while not processor._running:
        await asyncio.sleep(0.01)
    print(*[one.pid for one in processor._running], flush=True)
    await job

asyncio.run(main())
"""


async def test_who_looks_at_a_file_ends_with_the_server_however_that_ends(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(large())
    arguments = (sys.executable, "-c", SERVER, str(tmp_path / "scratch"), str(tmp_path / "large"))
    server = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    assert server.stdout is not None
    looking = psutil.Process(int(await server.stdout.readline()))
    try:
        async with asyncio.timeout(20):
            while not list((tmp_path / "scratch").glob("*/original")):
                await asyncio.sleep(0.01)
            looking.suspend()  # it does not end by itself
            server.kill()
            await server.wait()
            while alive(looking):
                await asyncio.sleep(0.01)
    finally:
        if alive(looking):
            looking.kill()


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def test_more_than_may_wait_are_sent_away(begin: Starter) -> None:
    processor = begin(processes=1, queue=1)
    found = await asyncio.gather(*(judged(processor, film.picture("PNG")) for _ in range(5)))
    assert [one if isinstance(one, str) else "done" for one in found] == ["done"] * 2 + ["overloaded"] * 3
    assert processor.under_way == 0


async def test_who_gives_up_leaves_no_process_and_no_files(begin: Starter) -> None:
    processor = begin()
    job = asyncio.ensure_future(judged(processor, large()))
    await begun(processor)
    job.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await job
    assert not processor._running
    assert list(processor._scratch.iterdir()) == []


LIES = {
    "nonsense": "print('no answer', flush=True); time.sleep(60)",
    "a path": """
        print('{"type":"done","kind":"image","made":[{"name":"../../x","type":"image/png","width":1,"height":1}]}')
    """,
    "a type": """
        print('{"type":"done","kind":"image","made":[{"name":"original","type":"text/html","width":1,"height":1}]}')
    """,
    "a file that is empty": """
        print('{"type":"done","kind":"image","made":[{"name":"original","type":"image/png","width":1,"height":1}]}')
    """,
    "another kind": """print('{"type":"done","kind":"other"}')""",
    "a line without an end": "sys.stdout.write('x' * 10**7)",
    "progress for ever": """
        while True: print('{"type":"progress","done":0.5}')
    """,
    "silence": "pass",
    "an error": "raise ValueError",
}


async def test_a_process_that_was_taken_over_is_believed_nothing(
    begin: Starter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = begin(processes=4)
    for name, body in LIES.items():
        package = tmp_path / name.replace(" ", "_") / "server/media"
        package.mkdir(parents=True)
        for folder in (package, package.parent):
            (folder / "__init__.py").touch()
        lines = "import json, sys, time, pathlib\njob = json.loads(sys.stdin.readline())\n"
        lines += "pathlib.Path(job['folder'], 'original').touch()\n"
        (package / "worker.py").write_text(lines + textwrap.dedent(body))
        monkeypatch.setattr(child, "_ROOT", str(package.parents[1]))
        found = await judged(processor, film.picture("PNG"))
        assert found == "unreadable", name
    assert list(processor._scratch.iterdir()) == []


ATTEMPTS = {
    "read": "open(SECRET).read()",
    "look around": "os.listdir(os.path.dirname(SECRET))",
    "write": "open(SECRET, 'w')",
    "make": "open(SECRET + '2', 'x')",
    "remove": "os.unlink(SECRET)",
    "open up": "os.chmod(SECRET, 0o777)",
    "call": "socket.socket()",
    "run": "subprocess.run(['/bin/true'])",
    "fork": "os.fork()",
    "stop its parent": "os.kill(os.getppid(), 0)",
    "see its parent": "open(f'/proc/{os.getppid()}/environ').read()",
    "take memory": "bytearray(1100 * 2**20)",
    "fill the disk": "[os.write(GIVEN, bytes(2**20)) for _ in range(9)]",
}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has what the jail is made of")
async def test_in_the_jail_there_is_nothing_to_do_but_to_compute(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a key")
    lines = ["import os, socket, subprocess, threading", f"SECRET = {str(tmp_path / 'secret')!r}"]
    lines += ["from server.media import jail", "from server.media.job import Bounds"]
    lines += [f"GIVEN = os.open({str(tmp_path / 'given')!r}, os.O_CREAT | os.O_WRONLY)"]
    lines += ["held = jail.enter(Bounds(output=4 * 2**20))", "print(*held)"]
    for name, attempt in ATTEMPTS.items():
        lines += ["try:", f"    {attempt}", f"    print('done: {name}')", "except (OSError, MemoryError):", "    pass"]
    lines += ["threading.Thread(target=print, args=['threads are fine']).start()"]
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "\n".join(lines), stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    held, *rest = out.decode().splitlines()
    if "landlock" not in held or "seccomp" not in held:
        pytest.skip(f"this kernel has only: {held}")
    assert rest == ["threads are fine"]
    assert (tmp_path / "secret").read_text() == "a key"
    assert (tmp_path / "given").stat().st_size == 4 * MIB


async def test_what_a_killed_server_has_left_is_gone_and_nobody_else_looks_in(begin: Starter, tmp_path: Path) -> None:
    (tmp_path / "scratch0/left").mkdir(parents=True)
    result = await judged(begin(), b"")
    assert isinstance(result, Result)
    assert list((tmp_path / "scratch0").iterdir()) == [result.folder]
    assert (tmp_path / "scratch0").stat().st_mode & 0o77 == 0
