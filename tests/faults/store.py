"""The PostgreSQL and the Redis of one run: real ones, that can be killed, stopped and come back."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Literal, Self

import asyncpg

from storage.embedded import Embedded
from storage.migrate import migrate

Part = Literal["postgres", "redis"]


class Store:
    """Both, in a folder of their own. They are restarted by who supervises them, as in production."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="onesocket-faults-"))
        self.folder.chmod(0o755)  # PostgreSQL's own user has to reach it
        self._embedded = Embedded(self.folder)

    async def __aenter__(self) -> Self:
        try:
            await self._embedded.start()
            await migrate(self.url)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for part in ("postgres", "redis"):
            self.go_on(part)
        await self._embedded.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """How the judge reaches the database, past all faults."""
        return self._embedded.database_url

    @property
    def sockets(self) -> dict[Part, Path]:
        """Where they listen."""
        run = self.folder / "run"
        return {"postgres": run / ".s.PGSQL.5432", "redis": run / "valkey.sock"}

    def pid(self, part: Part) -> int:
        """The process that serves at the moment; 0 where there is none."""
        abouts = {name.split()[0]: about for name, about in self._embedded.describe()}
        about = abouts.get("PostgreSQL", "pid 0") if part == "postgres" else _other(abouts)
        return int(about.split(",")[0].removeprefix("pid "))

    def kill(self, part: Part) -> None:
        """SIGKILL: its last words are lost."""
        os.kill(self.pid(part), signal.SIGKILL)

    def pause(self, part: Part) -> None:
        """SIGSTOP: it keeps its connections and says nothing."""
        os.kill(self.pid(part), signal.SIGSTOP)

    def go_on(self, part: Part) -> None:
        """SIGCONT."""
        if pid := self.pid(part):
            os.kill(pid, signal.SIGCONT)

    async def answers(self, part: Part) -> None:
        """Return when it serves."""
        async with asyncio.timeout(60):
            while not await (self._postgres() if part == "postgres" else self._redis()):
                await asyncio.sleep(0.02)

    async def _postgres(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url, timeout=2)
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        await connection.close(timeout=2)
        return True

    async def _redis(self) -> bool:
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_unix_connection(self.sockets["redis"])
                writer.write(b"PING\r\n")
                answer = await reader.readline()
                writer.close()
        except (OSError, TimeoutError):
            return False
        return answer == b"+PONG\r\n"


def _other(abouts: dict[str, str]) -> str:
    return next((about for title, about in abouts.items() if title != "PostgreSQL"), "pid 0")
