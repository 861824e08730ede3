"""Our own Valkey (or Redis): what it is started with, and when it is up.

It holds what may be lost: rate limits, presence, voice states, messages under way. So nothing goes to disk.
Everything in it expires, so when its memory is full it gives up what would have expired first: writes go on,
a rate limit is forgotten shortly before its time, and nothing without an expiry is ever dropped.
"""

import asyncio
import logging
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

from storage.binary import Program
from storage.privilege import Account, give
from storage.process import Leftover, Steps, clear, spawn

log = logging.getLogger("onesocket.embedded")


class Valkey:
    """The program `valkey-server`, in a folder of sockets."""

    name = "valkey"
    stop_steps: Steps = ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0))

    def __init__(self, data: Path, sockets: Path, program: Program, account: Account) -> None:
        self.log_file = data / "log" / "valkey.log"
        self._program = program
        self._account = account
        self._folder = data / "valkey"
        self._socket = sockets / "valkey.sock"
        self._pid_file = self._folder / "valkey.pid"
        self._leftover = Leftover(self._folder, ("valkey-server", "redis-server"), self._pid_file)

    async def prepare(self) -> None:
        """End a server that was left over, and remove its socket."""
        if await clear(self._leftover, self.stop_steps):
            log.warning("%s was still running from before, stopped it", self.name)
        give(self._folder, self._account)
        for file in (self._socket, self._pid_file):
            file.unlink(missing_ok=True)

    def launch(self) -> subprocess.Popen[bytes]:
        settings = [word for name, value in self._settings().items() for word in (f"--{name}", str(value))]
        return spawn([self._program.path, *settings], self._account, self.log_file, signal.SIGKILL)

    async def answers(self) -> bool:
        """Whether it answers a ping, asked without a client library: this needs five bytes of one."""
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    writer.write(b"PING\r\n")
                    return await reader.readline() == b"+PONG\r\n"
                finally:
                    writer.close()
        except OSError:
            return False

    def _settings(self) -> dict[str, object]:
        return {
            "port": 0,
            "unixsocket": self._socket,
            "unixsocketperm": 700,
            "pidfile": self._pid_file,
            "dir": self._folder,
            "save": "",
            "appendonly": "no",
            "maxmemory": "256mb",
            "maxmemory-policy": "volatile-ttl",
            "maxclients": 512,
            "loglevel": "warning",
            "set-proc-title": "no",  # the folder in its arguments is how some systems recognise it
        }


def url(sockets: Path) -> str:
    """How to connect to the server whose socket is in this folder."""
    return f"unix://{quote(str(sockets / 'valkey.sock'))}"
