"""A reply that comes later, without a task waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Later:
    """What a handler returns that has handed its work to somebody: the reply is sent when it is `done` or `failed`."""

    __slots__ = ("_end", "_error", "_reply", "over")

    def __init__(self) -> None:
        self.over = False
        self._reply: Any = None
        self._error: BaseException | None = None
        self._end: Callable[[Any, BaseException | None], None] | None = None

    def done(self, reply: Any) -> None:
        """The work is done, and this is the reply."""
        self._finish(reply, None)

    def failed(self, error: BaseException) -> None:
        """The work was not done."""
        self._finish(None, error)

    def _finish(self, reply: Any, error: BaseException | None) -> None:
        if self.over:
            return
        self.over, self._reply, self._error = True, reply, error
        if self._end is not None:
            self._end(reply, error)

    def then(self, end: Callable[[Any, BaseException | None], None]) -> None:
        """Whom to tell."""
        self._end = end
        if self.over:
            end(self._reply, self._error)

    async def wait(self) -> Any:
        """The reply, for who can wait."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.then(lambda reply, error: _settle(future, reply, error))
        return await future


def _settle(future: asyncio.Future[Any], reply: Any, error: BaseException | None) -> None:
    if future.done():  # who waited has given up
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(reply)
