"""Other processes, as Linux shows them in /proc: their CPU, their memory, and who of them listens where."""

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"


def cpu_seconds(pid: int, *, with_ended_children: bool = False) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11 : 15 if with_ended_children else 13])) / _TICKS


def family_cpu_seconds(pid: int) -> float:
    """The same for a process and all its descendants, those that have ended included."""
    total = 0.0
    for member in family(pid):
        with suppress(OSError):
            total += cpu_seconds(member, with_ended_children=True)
    return total


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


def named(pid: int, *names: str) -> int | None:
    """The first of a family that has one of these names."""
    for member in family(pid):
        with suppress(OSError):
            if Path(f"/proc/{member}/comm").read_text().strip() in names:
                return member
    return None


def python_listeners(pid: int) -> list[tuple[int, int]]:
    """Which Python processes of a family listen on TCP, and their ports; their databases listen, too."""
    ports, found = _listening(), []
    for member in family(pid):
        with suppress(OSError):
            if "python" not in Path(f"/proc/{member}/exe").resolve().name:
                continue
            files = [str(file.readlink()) for file in Path(f"/proc/{member}/fd").iterdir()]
            found += [(member, ports[name]) for name in files if name in ports][:1]
    return found


def _listening() -> dict[str, int]:
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    found[f"socket:[{fields[9]}]"] = int(fields[1].rpartition(":")[2], 16)
    return found
