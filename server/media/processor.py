"""Has files looked at, each in a process that lives for it, a few at a time.

Rule 1: what is known of a file before that is its signature; nothing of it is decoded in the server's own process.
Rule 2: a process has so much memory, time and output, and is killed at the end of its patience; others notice nothing.
Rule 3: what it answers is believed as much as the file: bounded, checked, and without a word about paths.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from server.config import Config
from server.media.clamd import Scanner
from server.media.job import (
    OTHER,
    Answer,
    Bounds,
    Done,
    Job,
    Progress,
    Refused,
    Rejected,
    Result,
    Told,
    Variant,
)
from server.media.sniff import family, head, known, shown_name, sniff

log = logging.getLogger("onesocket.media")

PICTURES = frozenset({"avatar", "banner", "icon", "emoji", "sticker"})
_LINE, _LINES = 16 * 1024, 1000
_ROOT = str(Path(__file__).parents[2])
_DEATHS = {signal.SIGXCPU: "over_time", signal.SIGKILL: "over_time", signal.SIGXFSZ: "too_large_result"}
_decode = msgspec.json.Decoder(Answer)


class Processor:
    """Looks at files. `scratch`: a folder of its own, for as long as it runs."""

    def __init__(
        self,
        scratch: Path,
        bounds: Bounds | None = None,
        *,
        processes: int = 2,
        queue: int = 50,
        scanner: Scanner | None = None,
    ) -> None:
        self._scratch, self._bounds, self._scanner = scratch, bounds or Bounds(), scanner
        self._turns, self._room = asyncio.Semaphore(processes), processes + queue
        self._running: set[asyncio.subprocess.Process] = set()
        self._begun, self._beginning = False, asyncio.Lock()
        self.under_way = 0

    async def stop(self) -> None:
        """End what runs."""
        for process in self._running:
            _kill(process)
        if self._begun:
            await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)

    async def run(
        self, source: Path, purpose: str, declared_name: str, declared_type: str, progress: Told | None = None
    ) -> Result:
        """What a file is and what was made of it, or `Rejected`. `discard` the result when its files were taken."""
        if self.under_way >= self._room:
            raise Rejected("overloaded")
        self.under_way += 1
        told: Told = progress or (lambda done: None)
        try:
            kind = await self._kind(source, purpose, declared_type)
            if self._scanner is not None:
                await self._scanner.scan(source)
            told(0.1)
            return await self._looked_at(source, purpose, shown_name(declared_name), kind, told)
        finally:
            self.under_way -= 1

    async def discard(self, result: Result) -> None:
        """Remove what was made."""
        await asyncio.to_thread(shutil.rmtree, result.folder, ignore_errors=True)

    async def _kind(self, source: Path, purpose: str, declared: str) -> str:
        """The type by content; neither what was declared nor the purpose may say otherwise."""
        kind = sniff(await asyncio.to_thread(head, source))
        said = known(declared)
        if said is not None and family(said) != family(kind):
            raise Rejected("wrong_type", f"{kind}, not {said}")
        wanted = "image" if purpose in PICTURES else "film" if purpose == "voice" else family(kind)
        if family(kind) != wanted:
            raise Rejected("wrong_type", f"{kind} as {purpose}")
        return kind

    async def _folder(self) -> Path:
        """A new one; before the first, what a server that was killed has left goes."""
        async with self._beginning:
            if not self._begun:
                await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)
                self._scratch.mkdir(parents=True, mode=0o700)
                self._begun = True
        return Path(tempfile.mkdtemp(dir=self._scratch))

    async def _looked_at(self, source: Path, purpose: str, name: str, kind: str, told: Told) -> Result:
        folder = await self._folder()
        try:
            if family(kind) == "other":
                return _result(name, OTHER, Done(kind="other"), [], folder)
            job = Job(str(source.absolute()), str(folder), kind, purpose, self._bounds, os.getpid())
            async with self._turns:
                done = await self._decoded(job, told)
            return self._checked(name, kind, done, folder)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise

    async def _decoded(self, job: Job, told: Told) -> Done:
        """The word of a process, or the reason for which it has none."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-s", "-B", "-m", "server.media.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=job.folder,
            env={"PYTHONPATH": _ROOT, "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": job.folder},
            start_new_session=True,
            limit=_LINE,
        )
        self._running.add(process)
        try:
            async with asyncio.timeout(job.bounds.wall):
                answer = await _answer(process, job, told)
        except TimeoutError:
            answer = Refused("over_time", f"more than {job.bounds.wall} seconds")
        finally:
            _kill(process)
            await asyncio.shield(process.wait())
            self._running.discard(process)
        if answer is None:
            answer = _silent(process.returncode or 0)
        if isinstance(answer, Refused):
            if answer.code == "unsupported" and family(job.type) == "film" and job.purpose != "voice":
                return Done(kind="video" if job.type.startswith("video/") else "audio")
            raise Rejected(answer.code, answer.detail)
        return answer

    def _checked(self, name: str, kind: str, done: Done, folder: Path) -> Result:
        """What was said, held against what is there."""
        said = {made.name: made for made in done.made}
        variants = []
        for made in said.values():
            path = folder / made.name
            size = path.lstat().st_size
            if not 0 < size <= self._bounds.output:
                raise Rejected("unreadable", f"{made.name} of {size} bytes")
            variants.append(Variant(made.name, path, made.type, size, made.width, made.height))
        for path in folder.iterdir():
            if path.name not in said:
                path.unlink()
        if family(kind) == "image":
            if done.kind not in ("image", "animation") or "original" not in said:
                raise Rejected("unreadable", "no picture came of it")
            kind = said["original"].type
        elif done.kind == "other":
            kind = OTHER
        elif done.kind == "audio":
            kind = kind.replace("video/", "audio/")
        elif done.kind != "video":
            raise Rejected("unreadable", "neither video nor sound")
        return _result(name, kind, done, variants, folder)


def configured(config: Config, worker: str) -> Processor:
    """As the operator wants it; ValueError when a setting makes no sense."""
    bounds = Bounds(
        memory=config.media_memory_mib * 2**20,
        cpu=config.media_seconds,
        wall=3.0 * config.media_seconds,
        pixels=config.media_pixels,
        voice=60 * config.voice_minutes,
    )
    scanner = Scanner(config.clamd_url, required=config.clamd_required) if config.clamd_url else None
    return Processor(
        config.folder / "media" / worker,
        bounds,
        processes=config.media_processes,
        queue=config.media_queue,
        scanner=scanner,
    )


async def _answer(process: asyncio.subprocess.Process, job: Job, told: Told) -> Done | Refused | None:
    """The last line, None when there is none."""
    assert process.stdin and process.stdout
    with contextlib.suppress(ConnectionError):
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        await process.stdin.drain()
    try:
        for _ in range(_LINES):
            line = await process.stdout.readline()
            if not line:
                await process.wait()
                return None
            answer: Answer = _decode.decode(line)
            if not isinstance(answer, Progress):
                return answer
            told(0.1 + 0.9 * answer.done)
    except ValueError:  # a line too long, or no answer at all
        pass
    return Refused("unreadable", "its process talked nonsense")


def _silent(code: int) -> Refused:
    """Why a process that is gone has said nothing."""
    if code >= 0:
        log.error("a process that looks at files could not begin (exit %d)", code)
        return Refused("unreadable", f"exit {code}")
    died: Callable[[int], str] = lambda number: signal.Signals(number).name  # noqa: E731
    log.warning("a process that looked at a file died by %s", died(-code))
    return Refused(_DEATHS.get(signal.Signals(-code), "unreadable"), died(-code))  # type: ignore[arg-type]


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _result(name: str, kind: str, done: Done, variants: list[Variant], folder: Path) -> Result:
    return Result(
        name=name,
        type=kind,
        kind=done.kind,
        inline=kind != OTHER,
        width=done.width,
        height=done.height,
        duration=done.duration,
        waveform=done.waveform,
        preview=None if done.preview is None else base64.b64encode(done.preview).decode(),
        variants=variants,
        folder=folder,
    )
