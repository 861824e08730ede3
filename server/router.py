"""From a frame to its handler and back: the table of ops, and what happens to one request.

Rule 1: an op that could not be addressed, authorized or answered does not start: see `Op.check`.
Rule 2: every request gets exactly one reply, whatever its handler does.
Rule 3: a plain `def` handler answers at once, without a task; what awaits is `async def`.
Rule 4: an op that changes who the socket speaks for runs alone: it waits for those before it, and those behind it wait.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from protocol.codec import Codec
from protocol.error import (
    Conflict,
    Flooded,
    GoingAway,
    Internal,
    Overloaded,
    RateLimited,
    Refusal,
    Unreadable,
)
from protocol.frame import Nothing, Request
from server.later import Later
from server.limit import Rate, as_told
from server.metric import OpMetric
from server.rule import PUBLIC_OPS, Rule
from storage.standing import Stale

if TYPE_CHECKING:
    from server.context import Context

log = logging.getLogger("onesocket.op")

_LOOKS = 5


class StartError(Exception):
    """The server is put together wrongly; the message says where and how to mend it."""


class Op:
    """One op: its frame, handler, rule and limit, read from the handler's annotations."""

    def __init__(self, handler: Callable[..., Any], access: Rule, limit: str, alone: bool) -> None:
        hints = get_type_hints(handler, include_extras=True)
        parameters = list(inspect.signature(handler).parameters)
        self.handler, self.access, self.alone = handler, access, alone
        self.file = Path(inspect.getsourcefile(handler) or "?")
        self.line = handler.__code__.co_firstlineno
        self.frame: type[Request[Any]] = hints.get(parameters[1], object) if len(parameters) > 1 else object  # type: ignore[assignment]
        self.reply: Any = hints.get("return", Nothing)
        self.arguments = parameters[2:]
        self.name = str(getattr(self.frame, "__struct_config__", None) and self.frame.__struct_config__.tag)
        self.limit = Rate.parse(limit) if limit else None
        self.awaits = inspect.iscoroutinefunction(handler)
        self.metric = OpMetric(self.name)

    def of_another_server(self) -> Op:
        """The same op, counted anew."""
        one = copy.copy(self)
        one.metric = OpMetric(self.name)
        return one

    def check(self, public: frozenset[str]) -> None:
        """Refuse what could not be addressed or authorized."""
        where = f"{self.file}:{self.line} {self.handler.__name__}"
        if not (isinstance(self.frame, type) and issubclass(self.frame, Request)):
            raise StartError(f"{where}: the second parameter's annotation must be the op's Request")
        expected = f"{self.file.stem}.{self.handler.__name__.rstrip('_')}"
        if self.name != expected:
            raise StartError(f"{where}: handles {self.name!r}, but its place makes it {expected!r}")
        if _promised_reply(self.frame) != (self.reply if self.reply is not type(None) else Nothing):
            raise StartError(f"{where}: returns {self.reply}, but its frame promises {_promised_reply(self.frame)}")
        if self.access.public and self.name not in public:
            raise StartError(f"{where}: {self.name} has no access rule and is not on the list of public ops")
        if _has_unchecked_time(self.frame):
            raise StartError(f"{where}: {self.name} has a time: call protocol.frame.check_times in its __post_init__")
        self._check_binds(where)

    def _check_binds(self, where: str) -> None:
        wanted = dict(id_fields(self.frame))
        before: list[str] = []
        for bind in self.access.binds:
            if bind.within and bind.within not in before:
                raise StartError(f"{where}: `{bind.field}` is within `{bind.within}`, which is not bound before it")
            before.append(bind.argument)
        bound = {bind.field: bind.kind for bind in self.access.binds}
        for field, kind in wanted.items():
            if bound.get(field) != kind:
                raise StartError(f"{where}: no rule binds the id `{field}` of {self.name} to a {kind}")
        for field in bound.keys() - wanted.keys():
            raise StartError(f"{where}: a rule binds `{field}`, which is no id field of {self.name}")
        if self.arguments != [bind.argument for bind in self.access.binds]:
            raise StartError(f"{where}: takes {self.arguments}, but its rule resolves {list(bound)}")


def op(*, access: Rule, limit: str = "", alone: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Declare a handler: who may call it, and how often one account (or address) may: `20/10s`."""

    def declare(handler: Callable[..., Any]) -> Callable[..., Any]:
        handler.__op__ = Op(handler, access, limit, alone)  # type: ignore[attr-defined]
        return handler

    return declare


def _promised_reply(frame: type[Request[Any]]) -> Any:
    for base in getattr(frame, "__orig_bases__", ()):
        if get_origin(base) is Request:
            return get_args(base)[0]
    return None


@functools.cache
def id_fields(frame: type[msgspec.Struct]) -> tuple[tuple[str, str], ...]:
    """The fields of a request that name something existing, with the kind of thing."""
    return tuple(_id_fields(frame))


def _id_fields(frame: type[msgspec.Struct]) -> Iterable[tuple[str, str]]:
    for field in msgspec.structs.fields(frame):
        kinds = set(_kinds(field.type))
        if None in kinds:
            continue
        if len(kinds) > 1:
            raise StartError(f"{frame.__name__}.{field.name} may name several kinds of things")
        yield from ((field.name, str(kind)) for kind in kinds)


def _kinds(hint: Any) -> Iterable[str | None]:
    """What a type hint says its ids are of; an id that does not say is an error found here."""
    extra = [meta.extra for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    marked = [e["of"] for e in extra if e and "of" in e]
    if marked:
        yield marked[0]
    elif hint is UUID:
        raise StartError("a UUID in a request must say of what it is the id: use protocol.frame.of()")
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        for field in msgspec.structs.fields(hint):
            yield from _kinds(field.type)
    else:
        for argument in get_args(hint):
            yield from _kinds(argument)


@functools.cache
def _has_unchecked_time(hint: Any) -> bool:
    """Whether a request would take times that PostgreSQL can't be told."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        checked = hasattr(hint, "__post_init__")
        return not checked and any(_has_unchecked_time(field.type) for field in msgspec.structs.fields(hint))
    return hint is datetime or any(map(_has_unchecked_time, get_args(hint)))


class Router:
    """All ops of one server."""

    def __init__(self, handlers: Sequence[Callable[..., Any]], public: Iterable[str] = ()) -> None:
        allowed = PUBLIC_OPS | frozenset(public)
        self.ops: dict[str, Op] = {}
        for handler in handlers:
            declared: Op | None = getattr(handler, "__op__", None)
            if declared is None:
                raise StartError(f"{handler!r} is no handler: decorate it with @op(access=…)")
            one = declared.of_another_server()
            one.check(allowed)
            if one.name in self.ops:
                raise StartError(f"{one.name} has two handlers: {self.ops[one.name].file} and {one.file}")
            self.ops[one.name] = one
        self._by_frame = {one.frame: one for one in self.ops.values()}
        self.codec = Codec(self._by_frame)
        self._decode = self.codec.decode_strictly
        self._tasks: set[asyncio.Task[None]] = set()
        self.unreadable = OpMetric("unreadable")
        self._stopping = False
        self.in_flight = 0  # requests that are being worked on

    def receive(self, ctx: Context, data: bytes) -> None:
        """One text message from a socket."""
        if (
            ctx.alone
            or ctx.backlog is not None
            or (ctx.in_flight and len(ctx.in_flight) >= ctx.app.config.requests_in_flight)
        ):
            self._wait(ctx, data)
            return
        try:
            frame = self._decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeError, ValueError, OverflowError) as error:
            self._refuse_data(ctx, data, self.codec.explain(data, error))
            return
        one = self._by_frame[type(frame)]
        if one.alone and ctx.in_flight:
            self._wait(ctx, data)
            return
        started = perf_counter()
        try:
            if ctx.in_flight and frame.id in ctx.in_flight:
                raise Conflict("a request with this id is still being worked on", field="id")
            for gate in one.access.gates:
                gate(ctx, one)
            if one.limit is not None:
                ctx.app.limiter.take(one.limit, one.name, ctx)
            known = None if one.awaits else self._known(ctx, one, frame)
            if known is None:
                self._start(ctx, one, frame, started, None)
                return
            reply = one.handler(ctx, frame, *known)
            if isinstance(reply, Later):
                self._await(ctx, one, frame.id, reply, started)
            elif inspect.iscoroutine(reply):
                self._start(ctx, one, frame, started, reply)
            else:
                ctx.socket.send(self.codec.reply(frame.id, Nothing() if reply is None else reply))
                one.metric.done(perf_counter() - started)
        except Exception as error:
            self._refuse(ctx, one, frame.id, error, started)

    @staticmethod
    def _known(ctx: Context, one: Op, frame: Any) -> list[Any] | None:
        """What the rule resolves, if that needs no question to anybody."""
        found = []
        for bind in one.access.binds:
            thing = bind.known(ctx, frame)
            if thing is None:
                return None
            found.append(thing)
        return found

    def _await(self, ctx: Context, one: Op, request_id: int, reply: Later, started: float) -> None:
        """The reply comes later, from somebody who needs no task here."""
        if reply.over:
            reply.then(lambda body, error: self._answer(ctx, one, request_id, body, error, started))
            return
        self._enter(ctx, one, request_id)

        def end(body: Any, error: BaseException | None) -> None:
            self._answer(ctx, one, request_id, body, error, started)
            self._finished(ctx, one, request_id)

        reply.then(end)

    def _answer(
        self, ctx: Context, one: Op, request_id: int, body: Any, error: BaseException | None, started: float
    ) -> None:
        if error is not None:
            self._refuse(ctx, one, request_id, error, started)
        else:
            ctx.socket.send(self.codec.reply(request_id, body))
            one.metric.done(perf_counter() - started)

    def _enter(self, ctx: Context, one: Op, request_id: int) -> None:
        if ctx.in_flight is None:
            ctx.in_flight = set()
        ctx.in_flight.add(request_id)
        self.in_flight += 1
        ctx.alone = one.alone

    def _start(self, ctx: Context, one: Op, frame: Any, started: float, work: Coroutine[Any, Any, Any] | None) -> None:
        self._enter(ctx, one, frame.id)
        task = asyncio.get_running_loop().create_task(self._run(ctx, one, frame, started, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(
        self, ctx: Context, one: Op, frame: Any, started: float, work: Coroutine[Any, Any, Any] | None
    ) -> None:
        try:
            async with asyncio.timeout(ctx.app.config.request_timeout):
                reply = await self._work(ctx, one, frame, work)
            ctx.socket.send(self.codec.reply(frame.id, Nothing() if reply is None else reply))
            one.metric.done(perf_counter() - started)
        except (Exception, asyncio.CancelledError) as error:
            self._refuse(ctx, one, frame.id, error, started)
        finally:
            self._finished(ctx, one, frame.id)

    async def _work(self, ctx: Context, one: Op, frame: Any, work: Coroutine[Any, Any, Any] | None) -> Any:
        """What was remembered of who asks may be old: then it is read anew."""
        for _ in range(_LOOKS):
            try:
                return await (work or self._handle(ctx, one, frame))
            except Stale as stale:
                ctx.app.grants.forget(stale.channel)
                work = None
        raise Overloaded("too many come and go in this channel", retry_after=0.5)

    @staticmethod
    async def _handle(ctx: Context, one: Op, frame: Any) -> Any:
        """Resolve what the frame names, and let the handler do its work."""
        resolved: dict[str, Any] = {}
        for bind in one.access.binds:
            resolved[bind.argument] = await bind.resolve(ctx, frame, resolved)
        reply = one.handler(ctx, frame, *resolved.values())
        if isinstance(reply, Later):
            return await reply.wait()
        return await reply if inspect.iscoroutine(reply) else reply

    def _finished(self, ctx: Context, one: Op, request_id: int) -> None:
        self.in_flight -= 1
        if ctx.in_flight is not None:
            ctx.in_flight.discard(request_id)
        if one.alone:
            ctx.alone = False
        backlog, ctx.backlog = ctx.backlog, None
        if backlog is not None and ctx.connected:
            for data in backlog:
                self.receive(ctx, data)
            ctx.socket.resume_reading()

    def _wait(self, ctx: Context, data: bytes) -> None:
        """Frames that were already read when reading was paused."""
        if ctx.backlog is None:
            ctx.backlog = []
            ctx.socket.pause_reading()
        ctx.backlog.append(data)

    def _refuse(self, ctx: Context, one: Op, request_id: int, error: BaseException, started: float) -> None:
        refusal = self._as_refusal(ctx, one, request_id, error)
        one.metric.refused(refusal.code, perf_counter() - started)
        ctx.socket.send(self.codec.error(request_id, refusal.failure()))
        if refusal.close:
            ctx.end(refusal)

    def _as_refusal(self, ctx: Context, one: Op, request_id: int, error: BaseException) -> Refusal:
        if isinstance(error, Refusal):
            return error
        if self._stopping and isinstance(error, asyncio.CancelledError):
            return GoingAway()
        if isinstance(error, TimeoutError):
            log.warning("%s took longer than %s s", one.name, ctx.app.config.request_timeout)
            return Overloaded(retry_after=5)
        where = {"op": one.name, "socket": ctx.socket.number, "request": request_id}
        log.error("%s failed", one.name, exc_info=error, extra=where)
        return Internal()

    def _refuse_data(self, ctx: Context, data: bytes, refusal: Refusal) -> None:
        self.unreadable.refused(refusal.code, 0.0)
        ctx.socket.count_refused()
        if isinstance(refusal, Unreadable):
            ctx.end(refusal)
        else:
            ctx.socket.send(self.codec.error(self.codec.request_id(data), refusal.failure()))

    def refuse_flood(self, ctx: Context, data: bytes, retry_after: float) -> None:
        """Answer a frame that came too fast, without looking at more than its id."""
        refusal = RateLimited(retry_after=as_told(retry_after))
        self.unreadable.refused(refusal.code, 0.0)
        if ctx.socket.count_refused() > ctx.app.config.frames_in_burst:
            ctx.end(Flooded())
        else:
            ctx.socket.send(self.codec.error(self.codec.request_id(data), refusal.failure()))

    def count_unreadable(self, ctx: Context, refusal: Refusal) -> None:
        """A binary frame that nobody asked for; who sends one after the other is closed."""
        self.unreadable.refused(refusal.code, 0.0)
        if ctx.socket.count_refused() > ctx.app.config.frames_in_burst:
            ctx.end(Flooded())

    async def drained(self) -> None:
        """Wait until no request is in flight."""
        while self.in_flight:
            if self._tasks:
                await asyncio.wait(self._tasks)
            else:
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Give up what is still in flight: it is told so, and nothing goes on behind a stopped server."""
        self._stopping = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            log.warning("%d requests were not finished in time", len(tasks))
            await asyncio.wait(tasks, timeout=5)
