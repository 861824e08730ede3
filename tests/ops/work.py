"""work: handlers that take a while, or answer with a lot."""

import asyncio
from typing import Annotated

from msgspec import Meta

from protocol.frame import Body, Request
from server import PUBLIC, Context, op


class Slept(Body, frozen=True):
    """How long it took."""

    seconds: float


class WorkSleep(Request[Slept], tag="work.sleep", frozen=True):
    """Take a while."""

    seconds: Annotated[float, Meta(ge=0, le=60)]


class Much(Body, frozen=True):
    """Many bytes."""

    filling: str


class WorkBig(Request[Much], tag="work.big", frozen=True):
    """Ask for a large reply."""

    size: Annotated[int, Meta(ge=0, le=1 << 20)]


class WorkFail(Request[Slept], tag="work.fail", frozen=True):
    """Make the handler fail, with something in the frame that nobody else must see."""

    secret: str


@op(access=PUBLIC)
async def sleep(ctx: Context, frame: WorkSleep) -> Slept:
    """Without holding anything up."""
    await asyncio.sleep(frame.seconds)
    return Slept(seconds=frame.seconds)


@op(access=PUBLIC)
def big(ctx: Context, frame: WorkBig) -> Much:
    """As large as asked for."""
    return Much(filling="x" * frame.size)


@op(access=PUBLIC)
async def fail(ctx: Context, frame: WorkFail) -> Slept:
    """A mistake of the embedder's."""
    raise RuntimeError("this handler is broken")


HANDLERS = [sleep, big, fail]
NAMES = ["work.sleep", "work.big", "work.fail"]
