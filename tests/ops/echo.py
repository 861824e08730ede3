"""echo: handlers that behave well, badly, or not at all until they are told to."""

import asyncio
from typing import Annotated, Any
from weakref import WeakKeyDictionary

from msgspec import Meta

from protocol.error import Forbidden, SessionRevoked
from protocol.frame import Body, Nothing, Request
from server import PUBLIC, Context, Server, op


class Door:
    """Where handlers of one server wait."""

    def __init__(self) -> None:
        self.open, self.waiting = asyncio.Event(), 0

    async def wait(self) -> None:
        """Until somebody opens it."""
        self.waiting += 1
        try:
            await self.open.wait()
        finally:
            self.waiting -= 1

    async def has(self, count: int) -> None:
        """Wait until so many handlers wait here."""
        async with asyncio.timeout(10):
            while self.waiting != count:
                await asyncio.sleep(0.001)


_doors: WeakKeyDictionary[Server, Door] = WeakKeyDictionary()


def door(server: Server) -> Door:
    """The door of a server."""
    return _doors.setdefault(server, Door())


class Said(Body, frozen=True):
    """What was said."""

    text: str


class EchoSay(Request[Said], tag="echo.say", frozen=True):
    """Say something, at once."""

    text: Annotated[str, Meta(max_length=10)] = ""


class EchoTask(Request[Said], tag="echo.task", frozen=True):
    """Say something, by a task of its own."""

    text: str = ""


class EchoHold(Request[Nothing], tag="echo.hold", frozen=True):
    """Wait at the door."""


class EchoHoldAlone(Request[Nothing], tag="echo.hold_alone", frozen=True):
    """Wait at the door, and let nobody pass on this socket."""


class EchoFail(Request[Nothing], tag="echo.fail", frozen=True):
    """Fail at once."""


class EchoFailLater(Request[Nothing], tag="echo.fail_later", frozen=True):
    """Fail in a task."""


class EchoRefuse(Request[Nothing], tag="echo.refuse", frozen=True):
    """Say no."""


class EchoEnd(Request[Nothing], tag="echo.end", frozen=True):
    """Say no for good."""


class EchoNone(Request[Nothing], tag="echo.none", frozen=True):
    """Return nothing, at once."""


class EchoNoneLater(Request[Nothing], tag="echo.none_later", frozen=True):
    """Return nothing, in a task."""


class EchoUnsendable(Request[Nothing], tag="echo.unsendable", frozen=True):
    """Return what no frame can hold."""


class EchoUnsendableLater(Request[Nothing], tag="echo.unsendable_later", frozen=True):
    """Return what no frame can hold, in a task."""


class EchoCancelled(Request[Nothing], tag="echo.cancelled", frozen=True):
    """Wait for something that somebody cancels."""


@op(access=PUBLIC)
def say(ctx: Context, frame: EchoSay) -> Said:
    """At once."""
    return Said(text=frame.text)


@op(access=PUBLIC)
async def task(ctx: Context, frame: EchoTask) -> Said:
    """In a task that gives way once."""
    await asyncio.sleep(0)
    return Said(text=frame.text)


@op(access=PUBLIC)
async def hold(ctx: Context, frame: EchoHold) -> Nothing:
    """Until the test opens the door."""
    await door(ctx.app).wait()
    return Nothing()


@op(access=PUBLIC, alone=True)
async def hold_alone(ctx: Context, frame: EchoHoldAlone) -> Nothing:
    """Until the test opens the door."""
    await door(ctx.app).wait()
    return Nothing()


@op(access=PUBLIC)
def fail(ctx: Context, frame: EchoFail) -> Nothing:
    """A bug."""
    raise ZeroDivisionError("echo.fail")


@op(access=PUBLIC)
async def fail_later(ctx: Context, frame: EchoFailLater) -> Nothing:
    """A bug."""
    raise ZeroDivisionError("echo.fail_later")


@op(access=PUBLIC)
async def refuse(ctx: Context, frame: EchoRefuse) -> Nothing:
    """A refusal that the socket survives."""
    raise Forbidden("not today", field="day", retry_after=2.5)


@op(access=PUBLIC)
async def end(ctx: Context, frame: EchoEnd) -> Nothing:
    """A refusal that closes the socket."""
    raise SessionRevoked


@op(access=PUBLIC)
def none(ctx: Context, frame: EchoNone) -> None:
    """As an embedder may write it."""


@op(access=PUBLIC)
async def none_later(ctx: Context, frame: EchoNoneLater) -> None:
    """As an embedder may write it."""


@op(access=PUBLIC)
def unsendable(ctx: Context, frame: EchoUnsendable) -> Nothing:
    """A bug."""
    wrong: Any = object()
    return wrong  # type: ignore[no-any-return]


@op(access=PUBLIC)
async def unsendable_later(ctx: Context, frame: EchoUnsendableLater) -> Nothing:
    """A bug."""
    wrong: Any = object()
    return wrong  # type: ignore[no-any-return]


@op(access=PUBLIC)
async def cancelled(ctx: Context, frame: EchoCancelled) -> Nothing:
    """A bug that does not look like one: what is cancelled is not this handler."""
    other = asyncio.get_running_loop().create_future()
    other.cancel()
    await other
    return Nothing()


ALL = [
    say,
    task,
    hold,
    hold_alone,
    fail,
    fail_later,
    refuse,
    end,
    none,
    none_later,
    unsendable,
    unsendable_later,
    cancelled,
]
NAMES = [one.__op__.name for one in ALL]
