"""What a process may do that decodes what strangers sent: compute, for a while, in so much memory, and nothing else.

Everything it needs is opened before. Then the kernel is asked, as far as it knows how:
- limits of memory, processor time, output and open files; the last place in the queue for the processor (everywhere)
- no rights to gain, and an end with the process that started it (Linux)
- no file but Python's own to open, and none to write (Landlock, Linux 5.13); no port, no other process (6.7, 6.12)
- no socket, no program, no process, no signal to anybody, no file of ours made another's (seccomp, on x86-64 and ARM64)

Rule: what the kernel does not know is left out, and the rest holds; `held` says what holds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import signal
import struct
import sys

from server.media.job import Bounds

_OPEN_FILES = 64
_NICE = 10
_SET_PARENT_DEATH_SIGNAL, _SET_SECCOMP, _SET_NO_NEW_PRIVILEGES, _FILTER = 1, 22, 38, 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION, _BENEATH = 1, 1
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  # how many kinds of access each version knows
_NETWORK_SINCE, _SCOPES_SINCE = 4, 6
# Numbers of system calls: x86-64, ARM64.
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_CLONE, _CLONE3, _THREAD = (56, 220), 435, 0x00010000
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "bind": (49, 200),
    "listen": (50, 201),
    "connect": (42, 203),
    "sendto": (44, 206),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),  # ARM64 has only clone
    "vfork": (58, None),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "prlimit64": (302, 261),
    "setpriority": (141, 140),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "ioprio_set": (251, 30),
    "mount": (165, 40),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "pidfd_send_signal": (424, 424),
    "io_uring_setup": (425, 425),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
}


def die_with(parent: int) -> None:
    """End when the server ends, also when it is killed."""
    if sys.platform == "linux":
        _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def enter(bounds: Bounds) -> list[str]:
    """From here on nothing but computing; says what holds."""
    _limit(bounds)
    held = ["limits"]
    if sys.platform == "linux" and _prctl(_SET_NO_NEW_PRIVILEGES, 1) == 0:
        held += ["landlock"] if _landlock() else []
        held += ["seccomp"] if _seccomp() else []
    return held


def _limit(bounds: Bounds) -> None:
    os.nice(_NICE)
    for what, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, bounds.memory),
        (resource.RLIMIT_FSIZE, bounds.output),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CPU, bounds.cpu),
    ):
        with contextlib.suppress(ValueError, OSError):  # macOS knows some by name only
            resource.setrlimit(what, (value, value + 1 if what == resource.RLIMIT_CPU else value))


def _landlock() -> bool:
    """Let it read what Python may still import, and nothing else."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    version = call(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), _LANDLOCK_VERSION)
    if version < 1:
        return False
    files = (1 << max(bits for since, bits in _FILE_RIGHTS.items() if since <= version)) - 1
    rules = struct.pack("=QQQ", files, 3 * (version >= _NETWORK_SINCE), 3 * (version >= _SCOPES_SINCE))
    size = 24 if version >= _SCOPES_SINCE else 16 if version >= _NETWORK_SINCE else 8
    ruleset = call(_LANDLOCK_CREATE, rules, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    for path in {sys.prefix, sys.base_prefix}:
        with contextlib.suppress(OSError):  # then nothing of it is read
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
            call(_LANDLOCK_ADD, ruleset, _BENEATH, struct.pack("=Qi", _READ_FILE | _READ_FOLDER, folder), 0)
            os.close(folder)
    done = bool(call(_LANDLOCK_RESTRICT, ruleset, 0) == 0)
    os.close(ruleset)
    return done


def _seccomp() -> bool:
    """Refuse the calls of the table; a process is refused, a thread is not (decoders have them)."""
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        return False
    code = b"".join(struct.pack("=HBBI", *one) for one in _program(*known))
    held = ctypes.create_string_buffer(code)
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(held))
    return _prctl(_SET_SECCOMP, _FILTER, program) == 0


def _program(architecture: int, column: int) -> list[tuple[int, int, int, int]]:
    """The filter in the kernel's words: (what, how many to skip if so, if not, with what)."""
    load, equal, at_least, some_bit, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, absent, end = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
    denied = [number for numbers in _DENIED.values() if (number := numbers[column]) is not None]
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (answer, 0, 0, end), (load, 0, 0, 0)]
    program += [(at_least, 0, 1, 0x40000000), (answer, 0, 0, refuse)]  # x86-64's other table
    for number in denied:
        program += [(equal, 0, 1, number), (answer, 0, 0, refuse)]
    program += [(equal, 0, 1, _CLONE3), (answer, 0, 0, absent)]  # its flags lie in memory: have clone used instead
    program += [(equal, 0, 3, _CLONE[column]), (load, 0, 0, 16), (some_bit, 1, 0, _THREAD), (answer, 0, 0, refuse)]
    return [*program, (answer, 0, 0, allow)]


def _prctl(what: int, *values: int | bytes) -> int:
    call = ctypes.CDLL(None, use_errno=True).prctl
    given = [value if isinstance(value, bytes) else ctypes.c_ulong(value) for value in values]
    return int(call(what, *given, *[ctypes.c_ulong(0)] * (4 - len(given))))
