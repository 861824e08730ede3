"""One file, decoded in a process that lives for it: `python -m server.media.worker`, with a job on standard input.

Everything that has to be read or written is opened first; then the jail closes (`server.media.jail`), and only then is
the first byte of the file looked at. Answers are lines on standard output.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import msgspec

from server.media import jail
from server.media.job import NAMES, Answer, Done, Job, Name, Progress, Refused, Rejected
from server.media.sniff import family

_OUT_OF_MEMORY = ("encoding error 1", "could not create decoder object")  # WebP's words for it
_encode = msgspec.json.Encoder().encode


def main() -> None:
    """Do the one job."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    jail.die_with(job.parent)
    try:
        decoder = _decoder(job.type)
    except ImportError as error:
        return _tell(Refused("unsupported", str(error)[:300]))
    decoder.prepare()
    with contextlib.ExitStack() as opened:
        source = opened.enter_context(Path(job.source).open("rb"))
        out = {name: opened.enter_context((Path(job.folder) / name).open("xb")) for name in NAMES}
        jail.enter(job.bounds)
        _tell(_judged(decoder, source, job, out))
        os._exit(0)  # without a last word from what was loaded


def _decoder(kind: str) -> ModuleType:
    if family(kind) == "image":
        from server.media import picture

        return picture
    from server.media import film

    return film


def _judged(decoder: ModuleType, source: BinaryIO, job: Job, out: Mapping[Name, BinaryIO]) -> Answer:
    """What comes of it, whatever a decoder says."""
    try:
        found: Done = decoder.process(source, job, out, lambda done: _tell(Progress(min(1.0, done))))
        for file in out.values():
            file.flush()
    except Rejected as refused:
        return Refused(refused.code, refused.detail[:300])
    except MemoryError:
        return Refused("over_memory")
    except OSError as error:
        return Refused("too_large_result" if error.errno == errno.EFBIG else "unreadable", _named(error))
    except Exception as error:  # decoders raise whatever comes to their mind
        return Refused("over_memory" if str(error) in _OUT_OF_MEMORY else "unreadable", _named(error))
    return found


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


def _tell(answer: Answer) -> None:
    sys.stdout.buffer.write(_encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
