"""Events on their way from the socket to the program.

Rule: events are taken in the order they came, each once; when one does not fit any more, that is told.
"""

import asyncio
import functools
import importlib
import logging
import pkgutil
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, cast
from uuid import UUID

import msgspec

import protocol
from protocol.frame import Event, Fact

E = TypeVar("E", bound=Event)

log = logging.getLogger("onesocket.client")


class EventDecoder:
    """Events of the kinds that this program knows: the built-in ones and its own."""

    def __init__(self, more: Iterable[type[Event]] = ()) -> None:
        kinds = (kind for kind in (*_built_in(), *more) if kind.__struct_config__.tag)
        self._decoders = {kind.__struct_config__.tag: msgspec.json.Decoder(kind) for kind in kinds}

    def decode(self, name: str, data: bytes) -> Event | None:
        """The event, None when only a newer program would understand it; of a fact its place remains."""
        decoder = self._decoders.get(name)
        try:
            return decoder.decode(data) if decoder is not None else _place(data)
        except msgspec.ValidationError as error:
            log.warning("%s came in a form that is not known here: %s", name, error)
            return _place(data)


class _Place(msgspec.Struct):
    """As much of an event as says whether it is a fact, and which."""

    stream: UUID | None = None
    seq: int = 0


_decode_place = msgspec.json.Decoder(_Place).decode


def _place(data: bytes) -> Fact | None:
    try:
        place = _decode_place(data)
    except msgspec.ValidationError:
        return None
    return Fact(stream=place.stream, seq=place.seq) if place.stream else None


@functools.cache
def _built_in() -> tuple[type[Event], ...]:
    for module in pkgutil.iter_modules(protocol.__path__, "protocol."):
        importlib.import_module(module.name)
    return tuple(kind for kind in _below(Event) if kind.__module__.startswith("protocol."))


def _below(kind: type[Event]) -> Iterator[type[Event]]:
    for below in kind.__subclasses__():
        yield below
        yield from _below(below)


class Inbox:
    """Events that came and were not taken yet."""

    def __init__(self, room: int) -> None:
        self._room, self._listening = room, False
        self._events: deque[Event] = deque()
        self._waiting: list[tuple[type[Event], asyncio.Future[Any]]] = []
        self._end: Exception | None = None
        self.full = False

    @property
    def roomy(self) -> bool:
        """Whether half of the room is free."""
        return len(self._events) <= self._room // 2

    def put(self, event: Event) -> bool:
        """Keep an event until it is taken; False when there is no room for it, which `full` remembers.

        Before anybody asks for events the newest are kept: there is nobody to miss the others.
        """
        for kind, future in self._waiting:
            if isinstance(event, kind) and not future.done():
                future.set_result(event)
                return True
        if len(self._events) >= self._room:
            if self._listening:
                self.full = True
                return False
            self._events.popleft()
        self._events.append(event)
        return True

    async def take(self, kind: type[E]) -> E:
        """The first event of a kind, of those that wait or else of those to come."""
        self._listening = self._listening or _any(kind)
        for at, event in enumerate(self._events):
            if isinstance(event, kind):
                del self._events[at]
                return event
        if self._end is not None:
            raise self._end.with_traceback(None)
        return await self._wait(kind)

    async def _wait(self, kind: type[E]) -> E:
        future: asyncio.Future[E] = asyncio.get_running_loop().create_future()
        waiting = (kind, future)
        self._waiting.insert(len(self._waiting) if _any(kind) else 0, waiting)  # who wants one kind goes first
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._events.appendleft(future.result())
            raise
        finally:
            self._waiting.remove(waiting)

    def end(self, error: Exception) -> None:
        """Nothing comes any more: who waits, or takes when none is left, gets this error."""
        self._end = error
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)


def _any(kind: type[Event]) -> bool:
    return cast("object", kind) is Event
