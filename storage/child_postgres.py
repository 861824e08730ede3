"""Our own PostgreSQL: how it is created, what it is started with, and when it is up.

Rule 1: acknowledged means on the disk: fsync and synchronous_commit are on, whatever a settings file says.
Rule 2: only the user of the server (and root) gets in: the socket is in a private folder, and the kernel says
        who is at its other end.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import asyncpg

from storage.binary import Program
from storage.privilege import Account, EmbeddedError, give, user_name
from storage.process import Leftover, Steps, clear, ended, last_lines, spawn

NAME = "onesocket"  # of the role and of the database
PARTIAL = "postgres.partial-"
LONGEST_SHUTDOWN = 20.0

log = logging.getLogger("onesocket.embedded")


class Postgres:
    """The program `postgres` on one cluster folder."""

    name = "postgresql"
    # fast shutdown; then without the last checkpoint, which costs a recovery at the next start; then by force
    stop_steps: Steps = ((signal.SIGINT, LONGEST_SHUTDOWN), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))

    def __init__(self, data: Path, sockets: Path, program: Program, account: Account, max_connections: int) -> None:
        self.created = False
        self.log_file = data / "log" / "postgresql.log"
        self._data = data
        self._cluster = data / "postgres"
        self._sockets = sockets
        self._program = program
        self._account = account
        self._max_connections = max_connections
        self._leftover = Leftover(self._cluster, ("postgres",), self._cluster / "postmaster.pid")

    async def create(self) -> None:
        """Make the cluster if there is none. It gets its name at the end, so one made half does not count."""
        if (self._cluster / "PG_VERSION").exists():
            return
        if not self._account.name:
            raise EmbeddedError(
                f"the user {self._account.uid} has no name on this system, which PostgreSQL needs: "
                "add it to /etc/passwd, or set DATABASE_URL"
            )
        for old in self._data.glob(f"{PARTIAL}*"):
            shutil.rmtree(old, ignore_errors=True)  # a killed initdb may still be writing its last words
        partial = Path(tempfile.mkdtemp(dir=self._data, prefix=PARTIAL))
        give(partial, self._account)
        initdb = self._program.path.parent / "initdb"
        options = ["-U", NAME, "-A", "peer", "-E", "UTF8", "--no-instructions", *self._locale()]
        process = spawn([initdb, "-D", partial, *options], self._account, self.log_file, signal.SIGKILL)
        try:
            await ended(process.pid, lambda: process.poll() is not None)
        except BaseException:
            process.kill()
            raise
        if code := process.wait():
            raise EmbeddedError(f"initdb failed (exit {code}):\n{last_lines(self.log_file)}")
        partial.rename(self._cluster)

    async def prepare(self) -> None:
        """End a server that was left over, and remove the locks of dead ones, which may name a zombie."""
        if await clear(self._leftover, self.stop_steps):
            log.warning("%s was still running from before, stopped it", self.name)
        if self._leftover.main() is not None:
            raise EmbeddedError(f"a PostgreSQL in {self._cluster} does not end: stop it, then start again")
        give(self._cluster, self._account)
        for lock in (self._cluster / "postmaster.pid", *self._sockets.glob(".s.PGSQL.*")):
            lock.unlink(missing_ok=True)
        self._write_access_rules()

    def launch(self) -> subprocess.Popen[bytes]:
        settings = [word for name, value in self._settings().items() for word in ("-c", f"{name}={value}")]
        command: list[str | Path] = [self._program.path, "-D", self._cluster, *settings]
        return spawn(command, self._account, self.log_file, signal.SIGINT)

    async def answers(self) -> bool:
        """Whether our database takes connections; it is created when there is none yet."""
        if not self._says_ready():
            return False
        try:
            connection = await self._connect(NAME)
        except asyncpg.InvalidCatalogNameError:
            await self._create_database()
            return True
        except asyncpg.TooManyConnectionsError:  # clients were waiting for it, and were faster
            return True
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InsufficientPrivilegeError) as error:
            raise EmbeddedError(f"PostgreSQL in {self._cluster} does not let us in: {error}") from error
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close(timeout=5)
        return True

    def _says_ready(self) -> bool:
        """What its pid file says, so that waiting for a long recovery does not fill its log with refusals."""
        try:
            return "ready" in (self._cluster / "postmaster.pid").read_text().split()[-1:]
        except OSError:
            return False

    async def _create_database(self) -> None:
        connection = await self._connect("postgres")
        try:
            await connection.execute(f"CREATE DATABASE {NAME}")
        except asyncpg.PostgresError as error:
            raise EmbeddedError(f"the database could not be created: {error}") from error
        finally:
            await connection.close(timeout=5)
        self.created = True

    async def _connect(self, database: str) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(url(self._sockets, database), timeout=5)

    def _settings(self) -> dict[str, object]:
        return {
            "listen_addresses": "",
            "port": 5432,
            "unix_socket_directories": '"' + str(self._sockets).replace('"', '""') + '"',
            "unix_socket_permissions": "0700",
            "hba_file": self._data / "pg_hba.conf",
            "ident_file": self._data / "pg_ident.conf",
            "max_connections": self._max_connections,
            "shared_buffers": "128MB",
            "fsync": "on",
            "full_page_writes": "on",
            "synchronous_commit": "on",
            "wal_compression": "off",  # the wheel has only pglz: updates after a checkpoint took 8x as long
            "max_wal_size": "512MB",  # what has to be replayed after a crash, at most
            "jit": "off",  # it compiles for longer than our queries run
            "random_page_cost": 1.1,  # no disk of today seeks
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_destination": "stderr",
            "logging_collector": "off",
            # Errors go to the caller, who logs them; here they would fill a file, with the users' data.
            "log_min_messages": "log",
            "log_checkpoints": "off",
            "cluster_name": NAME,
        }

    def _write_access_rules(self) -> None:
        """Who may connect, written at each start: a cluster made by root may be run by its owner later."""
        users = dict.fromkeys((user_name(os.geteuid()), self._account.name, "root"))
        lines = [f'{NAME} "{user}" {NAME}' for user in users if user]
        for name, text in (
            ("pg_hba.conf", f"local all {NAME} peer map={NAME}"),
            ("pg_ident.conf", "\n".join(lines)),
        ):
            file = self._data / name
            file.write_text(text + "\n")
            file.chmod(0o644)

    def _locale(self) -> list[str]:
        """Order by code point, letters as Unicode has them: the same on every system."""
        if self._program.major >= 17:
            return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return ["--locale=C", "--lc-ctype=" + ("C.UTF-8" if sys.platform == "linux" else "UTF-8")]


def url(sockets: Path, database: str = NAME) -> str:
    """How to connect to the server whose socket is in this folder."""
    return f"postgresql://{NAME}@/{database}?host={quote(str(sockets))}"


def cluster_major(data: Path) -> int | None:
    """The version that the cluster in a data folder was made with, if there is one."""
    try:
        return int((data / "postgres" / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None
