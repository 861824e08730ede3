"""Has files looked at, each in a process that lives for it, a few at a time.

Rule 1: what is known of a file before that is its signature; nothing of it is decoded in the server's own process.
Rule 2: a process has so much memory, time and output, and is killed at the end of its patience; others notice nothing.
Rule 3: what it answers is believed as much as the file: bounded, checked, and without a word about paths.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import tempfile
from pathlib import Path

from server.config import Config
from server.media.child import Child
from server.media.clamd import Scanner
from server.media.job import (
    OTHER,
    Bounds,
    Done,
    Job,
    Refused,
    Rejected,
    Result,
    Told,
    Variant,
)
from server.media.sniff import family, head, known, shown_name, sniff

PICTURES = frozenset({"avatar", "banner", "icon", "emoji", "sticker"})


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
        self._running: set[Child] = set()
        self._begun, self._beginning = False, asyncio.Lock()
        self.under_way = 0

    async def stop(self) -> None:
        """End what runs."""
        for child in self._running:
            child.kill()
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
        async with Child(job) as child:
            self._running.add(child)
            try:
                answer = await child.answer(lambda done: told(0.1 + 0.9 * done))
            finally:
                self._running.discard(child)
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
