"""A server process that is meant to run: started, watched, and started again when it dies.

Watching costs nothing: the event loop is told by the kernel (a poll of 0.2 s where the kernel can't).
A child that dies again and again is started at most every two seconds.
"""

import asyncio
import logging
import subprocess
from pathlib import Path
from typing import Protocol

from storage.privilege import EmbeddedError
from storage.process import Steps, end, ended, last_lines

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
STEADY = 10.0  # seconds of life after which a death counts as the first again
PATIENCE = 300.0  # a database that recovers a lot of work takes minutes, and says so
ATTEMPTS = 5

log = logging.getLogger("onesocket.embedded")


class ServerProgram(Protocol):
    """What a child needs to know of its program."""

    name: str
    log_file: Path
    stop_steps: Steps

    async def prepare(self) -> None:
        """Clear away what a predecessor left behind."""

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process."""
        ...

    async def answers(self) -> bool:
        """Whether it serves already. Raises when it never will."""
        ...


class Child:
    """One program, kept running."""

    def __init__(self, program: ServerProgram) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._pause = FIRST_PAUSE

    @property
    def pid(self) -> int:
        """The pid it has now; another one after a restart."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Return when the program answers; from then on it is kept running."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._bring_up()
                break
            except _EndedEarlyError:  # a predecessor may be in its last moments
                if attempt == ATTEMPTS:
                    raise
                await asyncio.sleep(self._next_pause())
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self._program.name}")

    async def stop(self) -> None:
        """End it, kindly at first, in bounded time."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        if self._process:
            await end(self._process.pid, self._is_gone, self._program.stop_steps)
            self._process = None

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while self._process:
            since = loop.time()
            await ended(self._process.pid, self._is_gone)
            died = loop.time()
            if died - since > STEADY:
                self._pause = FIRST_PAUSE
            log.warning("%s died (%s), restarting", self._program.name, _cause(self._process.wait()))
            while not await self._brought_back():
                pass
            log.info("%s is back after %.1f s", self._program.name, loop.time() - died)

    async def _brought_back(self) -> bool:
        await asyncio.sleep(self._next_pause())
        try:
            await self._bring_up()
        except Exception as error:  # whatever it is, giving up would be worse
            log.warning("%s is not back yet: %s", self._program.name, str(error).partition("\n")[0])
            return False
        return True

    async def _bring_up(self) -> None:
        """Start it once and wait for its answer."""
        await self._program.prepare()
        try:
            process = self._process = self._program.launch()
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedError(f"{self._program.name} could not be started: {error}") from error
        try:
            async with asyncio.timeout(PATIENCE):
                await self._answered(process)
        except (EmbeddedError, TimeoutError) as error:
            await end(process.pid, self._is_gone, self._program.stop_steps)
            if isinstance(error, EmbeddedError):
                raise
            raise EmbeddedError(f"{self._program.name} did not answer for {PATIENCE:.0f} s") from error

    async def _answered(self, process: subprocess.Popen[bytes]) -> None:
        pause = 0.01
        while process.poll() is None:
            if await self._program.answers():
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.25)
        raise _EndedEarlyError(
            f"{self._program.name} did not start ({_cause(process.wait())}); {self._program.log_file} ends:\n"
            f"{last_lines(self._program.log_file)}"
        )

    def _next_pause(self) -> float:
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        return pause

    def _is_gone(self) -> bool:
        return self._process is None or self._process.poll() is not None


class _EndedEarlyError(EmbeddedError):
    """The process ended before it answered; another attempt may do better."""


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"
