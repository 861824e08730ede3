"""`onesocket serve` as a process of its own, for tests that kill it."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

CHEAP = ("password_memory_kib=8", "password_rounds=1", "throttle=1000", "pending_per_address=500", "drain=1")


class Service:
    """A running `onesocket serve`, what it printed and what it logged."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder, self.output = folder, folder / "serve.out"
        self._others = self.output.stat().st_size if self.output.exists() else 0  # what one before it wrote there
        sets = [part for one in CHEAP for part in ("--set", one)]
        self._argv = [sys.executable, "-m", "server", "serve", "--port", "0", "--data", str(folder / "data")]
        self._argv += [*sets, *arguments]
        self.process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    async def start(self) -> float:
        """Start it; the seconds until it was ready."""
        began = time.monotonic()
        already = len(self.text)
        with self.output.open("ab") as output:
            environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
            self.process = subprocess.Popen(self._argv, stdout=output, stderr=output, env=environment)
        try:
            while "is ready after" not in self.text[already:]:
                assert self.process.poll() is None, self.text
                assert time.monotonic() - began < 60, self.text
                await asyncio.sleep(0.02)
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        found = re.findall(r"^  socket +(\S+)$", self.text, re.MULTILINE)
        self.url = found[-1]
        return time.monotonic() - began

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it and wait; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    @property
    def text(self) -> str:
        """All that it wrote."""
        return self.output.read_bytes()[self._others :].decode() if self.output.exists() else ""

    def workers(self) -> list[int]:
        """The pids of its worker processes."""
        return self.children(b"worker")

    def children(self, word: bytes) -> list[int]:
        """The pids of its children whose command line has a word."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if word in Path(f"/proc/{pid}/cmdline").read_bytes()]

    async def ready(self) -> str:
        """What /readyz says, `gone` when nobody answers."""
        return await asyncio.to_thread(self._ready)

    def _ready(self) -> str:
        try:
            with urllib.request.urlopen(self.url.replace("ws", "http", 1) + "/readyz", timeout=2) as reply:
                return str(reply.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return "gone"
