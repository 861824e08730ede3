"""A PostgreSQL and a Redis of our own, so that the server runs at once, with nothing installed.

Everything is in one data folder: lock (who uses it), postgres (the database), valkey (a folder to
work in), run (sockets), log, bin (a copy of the programs, where the wheels can't be reached),
pg_hba.conf and pg_ident.conf (who gets in).

Rule 1: one server per data folder; the lock is held from start to stop, and the kernel drops it if we die.
Rule 2: after any death, ours or theirs, the next start works and has every committed row.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from storage import child_postgres, child_valkey
from storage.binary import Program, postgres_server, redis_server
from storage.child import Child
from storage.privilege import Account, EmbeddedError, give, let_in, service_account, user_name

LONGEST_SOCKET_FOLDER = 85  # with the socket's name it must stay below the 104 bytes some systems allow
SHORT_FOLDERS = "/tmp"  # noqa: S108  (TMPDIR may be as long, or private to root; the folder in it is ours alone)
SHORT_FOLDER = "onesocket-"

__all__ = ["Embedded", "EmbeddedError", "FolderInUse", "default_data"]


class FolderInUse(EmbeddedError):
    """Another server has the data folder. Its database is at `Embedded.database_url` all the same."""


class Embedded:
    """The servers of one data folder, from start() to stop()."""

    def __init__(self, data: Path, *, postgres: bool = True, redis: bool = True, max_connections: int = 100) -> None:
        self.fresh = False
        self._data = data.expanduser().resolve()
        self._wants_postgres, self._wants_redis = postgres, redis
        self._max_connections = max_connections
        self._lock: int | None = None
        self._children: list[tuple[Program, Child]] = []

    @property
    def database_url(self) -> str:
        return child_postgres.url(self._sockets)

    @property
    def redis_url(self) -> str:
        return child_valkey.url(self._sockets)

    def describe(self) -> list[tuple[str, str]]:
        """What runs, for the banner of a start."""
        return [
            (f"{program.title} {program.version}", f"pid {child.pid}, {self._sockets}")
            for program, child in self._children
        ]

    async def start(self) -> None:
        """Return when the servers answer. If they can't, nothing is left running."""
        if not (self._wants_postgres or self._wants_redis):
            return
        self._lock = _take_lock(self._data)
        try:
            account = service_account(self._data / "postgres")
            self._make_folders(account)
            if self._wants_postgres:
                await self._start_postgres(account)
            if self._wants_redis:
                await self._start_redis(account)
        except BaseException as error:
            await self.stop()
            if isinstance(error, OSError):
                raise EmbeddedError(f"the servers in {self._data} could not be started: {error}") from error
            raise

    async def stop(self) -> None:
        """Stop both in an orderly way, in bounded time, and let go of the folder."""
        children, self._children = self._children, []
        try:
            await asyncio.gather(*(child.stop() for _, child in children))
        finally:
            if self._lock is not None:
                self._drop_short_folder()
                os.close(self._lock)
                self._lock = None

    async def _start_postgres(self, account: Account) -> None:
        major = child_postgres.cluster_major(self._data)
        program = await asyncio.to_thread(postgres_server, account, self._data, major)
        postgres = child_postgres.Postgres(self._data, self._sockets, program, account, self._max_connections)
        await postgres.create()
        await self._start_child(program, Child(postgres))
        self.fresh = postgres.created

    async def _start_redis(self, account: Account) -> None:
        program = await asyncio.to_thread(redis_server, account, self._data)
        await self._start_child(program, Child(child_valkey.Valkey(self._data, self._sockets, program, account)))

    async def _start_child(self, program: Program, child: Child) -> None:
        self._children.append((program, child))
        await child.start()

    @property
    def _sockets(self) -> Path:
        """Where the sockets are: in the data folder, or where its link leads when that path won't do."""
        run = self._data / "run"
        return run.readlink() if run.is_symlink() else run

    def _make_folders(self, account: Account) -> None:
        owner = self._data.stat().st_uid
        if os.geteuid() == 0 and owner:
            raise EmbeddedError(f"{self._data} belongs to {user_name(owner) or owner}: start as that user, not as root")
        let_in(self._data, account)
        (self._data / "log").mkdir(mode=0o700, exist_ok=True)
        self._drop_short_folder()
        run = self._data / "run"
        if len(os.fsencode(run)) > LONGEST_SOCKET_FOLDER or "," in str(run):  # which separates hosts in URLs
            run.symlink_to(tempfile.mkdtemp(dir=SHORT_FOLDERS, prefix=SHORT_FOLDER))
        give(self._sockets, account)

    def _drop_short_folder(self) -> None:
        """Remove the short socket folder, of this run or of one that was killed, and the link to it."""
        run = self._data / "run"
        if run.is_symlink():
            folder = run.readlink()
            run.unlink()
            if folder.name.startswith(SHORT_FOLDER):
                shutil.rmtree(folder, ignore_errors=True)


def default_data() -> Path:
    """The data folder when none is configured."""
    if os.geteuid() == 0:
        return Path("/var/lib/onesocket")
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "onesocket"


def _take_lock(data: Path) -> int:
    """Lock the data folder for this process, and write who has it."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EmbeddedError(
            f"{data} cannot be used ({error.strerror}): choose another data folder, or start as its owner"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise FolderInUse(
            f"another server (pid {holder}) uses {data}: stop it, or give this one another data folder"
        ) from None
    with contextlib.suppress(OSError):  # a full disk is no reason: the name is a courtesy
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock
