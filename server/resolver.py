"""Addresses of names that strangers chose, as the system resolves them.

Rule: in a few threads that are for nothing else. A name can be made to take as long as its owner likes, and what else
this process asks for (its database, its mail server) must not wait behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

_THREADS, _MOST = 8, 8


class Names:
    """Asks for addresses; when all threads wait, the answer is that there is none."""

    def __init__(self, threads: int = _THREADS) -> None:
        self._free = threads

    async def addresses(self, host: str, port: int) -> list[str]:
        """At most eight of a name; OSError when there are none."""
        if not self._free:
            raise OSError("too many names are being looked up")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def done(found: list[str] | OSError) -> None:
            self._free += 1
            if answer.done():  # whoever asked has given up
                return
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def ask() -> None:
            found = _resolved(host, port)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(done, found)

        self._free -= 1
        threading.Thread(target=ask, name="preview-name", daemon=True).start()
        return await answer


def _resolved(host: str, port: int) -> list[str] | OSError:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return error if isinstance(error, OSError) else OSError("no name")
    return list(dict.fromkeys(str(one[4][0]) for one in found))[:_MOST]
