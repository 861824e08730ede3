"""Other processes, as Linux shows them in /proc: their CPU, their memory, and who of them listens where."""

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_kib(pid: int) -> int:
    """Memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(f"{pid} holds no memory: it has ended")


def allow_many_files() -> int:
    """Raise the limit of open files as far as it goes; how far that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def family(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield pid
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from family(int(child))


def python_listener(pid: int) -> tuple[int, int] | None:
    """Which Python process of a family listens on TCP, and its port; its databases listen, too."""
    ports = _listening()
    for member in family(pid):
        with suppress(OSError):
            if "python" not in Path(f"/proc/{member}/exe").resolve().name:
                continue
            for file in Path(f"/proc/{member}/fd").iterdir():
                port = ports.get(str(file.readlink()))
                if port is not None:
                    return member, port
    return None


def _listening() -> dict[str, int]:
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    found[f"socket:[{fields[9]}]"] = int(fields[1].rpartition(":")[2], 16)
    return found
