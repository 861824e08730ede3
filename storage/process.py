"""Processes beside ours: starting one, waiting for its end, ending it, finding those left over from before.

Rule 1: a child does not outlive us where the kernel can see to that (Linux). The kernel watches the thread
        that started the child, so children are started from the event loop's thread, never from a pool's.
Rule 2: nothing is signalled on the word of a pid file. Numbers are reused: a process must prove to be ours.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from storage.privilege import Account

LOG_LIMIT = 10 * 1024 * 1024
POLL = 0.2  # where the kernel has no way to tell us that a process ended
SET_PARENT_DEATH_SIGNAL = 1  # prctl's number for it
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

Steps = Sequence[tuple[signal.Signals, float]]  # what to send, and how long to wait before the next
Command = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Leftover:
    """How to recognise a server of ours: its working folder, its program's name, and its pid file."""

    folder: Path
    programs: tuple[str, ...]
    pid_file: Path

    def main(self) -> int | None:
        """The pid in the pid file, if a process of ours has it."""
        try:
            pid = int(self.pid_file.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if pid > 1 and self.owns(pid) else None

    def all(self) -> list[int]:
        """Every process of ours, those that lost their parent included; only Linux can tell."""
        pids = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
        return [pid for pid in pids if self.owns(pid)] if sys.platform == "linux" else []

    def owns(self, pid: int) -> bool:
        """Whether this living process is such a server, or a child of one."""
        if sys.platform != "linux":
            return str(self.folder) in _command_line(pid)
        try:  # a zombie has neither; an operator's shell that stands in the folder is another program
            folder, program = Path(f"/proc/{pid}/cwd").readlink(), Path(f"/proc/{pid}/exe").readlink()
        except OSError:
            return False
        return folder == self.folder and program.name.removesuffix(" (deleted)") in self.programs


def spawn(command: Command, account: Account, log: Path, death_signal: signal.Signals) -> subprocess.Popen[bytes]:
    """Start a program as the account, in a session of its own so that Ctrl-C reaches only us."""
    _rotate(log)
    change = not account.is_us
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
            umask=0o077,
            user=account.uid if change else None,
            group=account.gid if change else None,
            extra_groups=[] if change else None,
            preexec_fn=_die_with_us(death_signal),  # noqa: PLW1509  (a single system call; nothing else can do it)
        )


async def ended(pid: int, is_gone: Callable[[], bool]) -> None:
    """Return when the process has ended; `is_gone` is asked where the kernel doesn't tell by itself."""
    open_pid: Callable[[int], int] | None = getattr(os, "pidfd_open", None)
    try:
        watched = open_pid(pid) if open_pid else -1
    except OSError:  # ended already, or a kernel or sandbox without it
        watched = -1
    if watched < 0:
        while not is_gone():  # noqa: ASYNC110  (there is no event: that is the case)
            await asyncio.sleep(POLL)
        return
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(watched, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(watched)
        os.close(watched)


async def end(pid: int, is_gone: Callable[[], bool], steps: Steps) -> bool:
    """Ask a process to end, then insist; whether it has ended."""
    for step, patience in steps:
        if is_gone():
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, step)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await ended(pid, is_gone)
    return is_gone()


async def clear(leftover: Leftover, steps: Steps) -> bool:
    """End what is left over from before; whether there was a server still running."""
    main = leftover.main()
    if main is not None:
        await end(main, partial(_is_gone, leftover, main), steps)
    for pid in leftover.all():  # without their server, what is left of its children is only in the way
        await end(pid, partial(_is_gone, leftover, pid), [(signal.SIGKILL, 5)])
    return main is not None


def last_lines(log: Path, limit: int = 2000) -> str:
    """The end of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - limit))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


def _die_with_us(death_signal: signal.Signals) -> Callable[[], None] | None:
    """What a child does before it becomes the program; after it changed its user, which would undo it."""
    if sys.platform != "linux":
        return None
    parent, prctl, getppid, leave = os.getpid(), ctypes.CDLL(None).prctl, os.getppid, os._exit

    def ask_for_signal() -> None:
        prctl(SET_PARENT_DEATH_SIGNAL, int(death_signal))
        if getppid() != parent:  # we died in between
            leave(1)

    return ask_for_signal


def _is_gone(leftover: Leftover, pid: int) -> bool:
    return not leftover.owns(pid)


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))


def _command_line(pid: int) -> str:
    asked = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    return asked.stdout
