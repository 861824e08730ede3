"""One process that looks at one file, as the server sees it.

Rule 1: it is started by vfork (subprocess does, with no preexec_fn; uvloop does not). To fork would copy the tables of
the server's memory: a tenth of a second in which no socket is served.
Rule 2: whatever it says or does not say, it is ended, waited for, and its pipes are closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from server.media.job import Answer, Code, Done, Job, Progress, Refused, Told
from storage.process import ended

log = logging.getLogger("onesocket.media")

_LINE, _PART, _MOST = 16 * 1024, 16 * 1024, 128 * 1024
_PROGRAM = (sys.executable, "-P", "-s", "-B", "-m", "server.media.worker")
_ROOT = str(Path(__file__).parents[2])
_DEATHS: dict[int, Code] = {
    signal.SIGXCPU: "over_time",
    signal.SIGKILL: "over_time",
    signal.SIGXFSZ: "too_large_result",
}
_decode = msgspec.json.Decoder(Answer)


class Child:
    """A process, from its start to its end: `async with Child(job) as child`."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._said = asyncio.StreamReader(_LINE)
        self._heard = 0

    async def __aenter__(self) -> Child:
        self._start()
        self.pid = self._process.pid
        asyncio.get_running_loop().add_reader(self._pipe, self._hear)
        return self

    def _start(self) -> None:
        own = {"PYTHONPATH": _ROOT, "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": self._job.folder}
        self._process = subprocess.Popen(
            _PROGRAM,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._job.folder,
            env=own,
            start_new_session=True,
        )
        assert self._process.stdin and self._process.stdout
        self._pipe = self._process.stdout
        os.set_blocking(self._pipe.fileno(), False)
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:  # a job is smaller than a pipe
            pipe.write(msgspec.json.encode(self._job) + b"\n")

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        asyncio.get_running_loop().remove_reader(self._pipe)
        self._pipe.close()
        await asyncio.shield(self._gone())

    def _hear(self) -> None:
        """A part of what it says; one that never ends is one that is not understood."""
        data = os.read(self._pipe.fileno(), _PART)
        self._heard += len(data)
        if data and self._heard <= _MOST:
            return self._said.feed_data(data)
        asyncio.get_running_loop().remove_reader(self._pipe)
        return self._said.set_exception(ValueError("it never ends")) if data else self._said.feed_eof()

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    async def _gone(self) -> int:
        """Its exit code, once it has one."""
        await ended(self.pid, lambda: self._process.poll() is not None)
        return self._process.wait()

    async def answer(self, told: Told) -> Done | Refused:
        """Its word, or the reason for which it has none."""
        try:
            async with asyncio.timeout(self._job.bounds.wall):
                return await self._answer(told)
        except TimeoutError:
            return Refused("over_time", f"more than {self._job.bounds.wall} seconds")
        except ValueError:  # a line too long, or no answer at all
            return Refused("unreadable", "its process talked nonsense")

    async def _answer(self, told: Told) -> Done | Refused:
        while line := await self._said.readline():
            answer: Answer = _decode.decode(line)
            if not isinstance(answer, Progress):
                return answer
            told(answer.done)
        return _silent(await self._gone())


def _silent(code: int) -> Refused:
    """Why a process that is gone has said nothing."""
    if code >= 0:
        log.error("a process that looks at files could not begin (exit %d)", code)
        return Refused("unreadable", f"exit {code}")
    name = signal.Signals(-code).name
    log.warning("a process that looked at a file died by %s", name)
    return Refused(_DEATHS.get(-code, "unreadable"), name)
