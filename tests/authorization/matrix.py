"""Plays one op: who may succeeds, everybody else does not, and nobody learns or changes what is not theirs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any
from uuid import UUID
from zlib import crc32

import msgspec

from protocol.codec import encode
from protocol.frame import Request
from tests.authorization import rooms
from tests.authorization.actors import ANYBODY, IN_PERSON, KEYS, NOBODY, SHUT, Actor, by
from tests.authorization.channels import own_words
from tests.authorization.kinds import Kind, kind
from tests.authorization.ledger import Change, Row, change
from tests.authorization.part import Part
from tests.authorization.play import Played, play
from tests.authorization.sample import samples
from tests.authorization.talk import CLOSED
from tests.authorization.world import World

# What somebody may be told about a frame that is not meant for them, but breaks no rule.
_OWN_AFFAIR = {"ok", "conflict", "expired", "forbidden", "invalid", "missing", "password_needed", "wrong_credentials"}
# What is done there may change what the socket is that it was done with.
_CHANGE_SOCKETS = {"account", "api_key", "device", "presence", "session", "two_factor"}
Scene = Callable[[Part], Awaitable[None]]


class FoundError(AssertionError):
    """The op does what it must not."""


async def run(world: World, name: str, scenes: Sequence[Scene] | None = None) -> None:
    """Play everything there is to play about an op; `FoundError` at the first thing that is wrong.

    `<op>: <what>` is that sample alone.
    """
    name, _, which = name.partition(": ")
    for about, one in samples(name).items():
        if which in ("", about):
            await _run(Part(world, world.server.router.ops[name], one, world.people[one.by], about), scenes or ALL)


async def _run(part: Part, scenes: Sequence[Scene]) -> None:
    world = part.world
    try:
        for scene in scenes:
            await _ready(part, keys=scene in (allowed, refused))
            await scene(part)
        await _silence(part)
    except FoundError:
        raise  # it was said of replies that have come, over sockets that were let go if they are not what they were
    except BaseException:
        world.ended = True
        world.forget()
        raise
    finally:
        world.touched = True
        await world.reset()
        await world.heard()


async def _ready(part: Part, also: str = "", *, keys: bool = False) -> None:
    """Everything as it was, with what the op takes, and keys for it if anybody comes with one."""
    world = part.world
    keys = keys and bool(part.gates) and not part.about
    if part.prepared == also and not world.touched and part.cut >= keys:
        return
    world.touched = world.touched or part.prepared is not None
    await world.reset()
    await world.prepare(part.sample.prepare, part.me)
    await world.prepare(also, part.me)
    if keys:
        await world.cut_keys(part.op.name, part.me)
    if part.sample.first is not None:
        await world.ask(part.sample.first[0], part.sample.first[1](world))
    part.before, part.prepared, part.cut = await world.rows(), also, keys
    if part.sample.first is not None:
        await world.heard()
    world.touched = False


async def _playing(
    part: Part, actor: Actor, frame: Request[Any], what: str = "", shows: Collection[str] = ()
) -> tuple[str, Played, Change]:
    """One case: what became of it and what it changed; nobody may have been sent what is not theirs."""
    world = part.world
    name = f"{part.op.name}{part.about and f': {part.about}'}{what and f' ({what})'} by {actor.name}"
    world.cases += 1
    token = actor.token(world, part.me) if actor.token else None
    if part.domain in rooms.DOMAINS:
        await rooms.furnish(world, part.sample.sits)
    if actor.shut:
        socket = await world.socket()
        played = await play(socket, frame, token)
    else:
        socket = await world.open(token) if part.sample.hears and token else await world.speaking(token)
        played = await play(socket, frame)
    changed = change(part.before, await world.rows())
    world.touched = world.touched or bool(changed.tables)
    world.ended = world.ended or bool(changed.tables & {"device", "api_key"})
    if actor.shut or part.sample.hears or ((changed.tables or played.code == "ok") and part.domain in _CHANGE_SOCKETS):
        socket.abort()
    else:
        world.keep(token, socket)
    viewer = actor.person or (part.me.name if actor in (IN_PERSON, *KEYS) else "nobody")
    hidden = world.hidden(viewer, shows_blocked=part.sample.shows_blocked)
    own = set().union(*(part.sees(name, actor.person or part.me.name) for name in (viewer, *shows)))
    own |= part.sample.shows - world.people.keys()
    if part.sample.shows_own_words:
        own |= {own_words(channel, viewer) for channel in world.channels}
    leaks = world.marks.leaks(played.data, own, set(hidden) - {*shows, *part.sample.shows})
    _expect(not leaks, f"{name}: is sent {', '.join(leaks)}")
    _expect(played.code not in ("internal", "overloaded", "unavailable"), f"{name}: {played.code}")
    return name, played, changed


async def _silence(part: Part) -> None:
    """Nobody is told what was refused to somebody else."""
    heard = await part.world.heard()
    _expect(not heard, f"{part.op.name}: refused, and yet an event came: {heard}")


async def _overheard(part: Part, name: str, by: str, told: Mapping[str, frozenset[str]] | None = None) -> None:
    """What everybody was sent besides: nothing that is not theirs; when it is known who is told what, just that."""
    world = part.world
    heard: dict[str, set[str]] = {}
    for listener, messages in (await world.heard()).items():
        seen = part.sees(listener, by) | (part.sample.shows_told if messages else frozenset())
        leaks = world.marks.leaks(b"\n".join(messages), seen, world.hidden(listener))
        _expect(not leaks, f"{name}: {listener} is sent {', '.join(leaks)}")
        for message in messages:
            if not message.startswith(CLOSED):
                heard.setdefault(msgspec.json.decode(message)["ev"], set()).add(listener)
    _expect(told is None or heard == told, f"{name}: told are {heard}, not {told}")


# Who may


async def allowed(part: Part) -> None:
    """Without this, every refusal below would prove nothing."""
    keys = [key for key in KEYS if key.scoped and part.by_key and not part.about]
    await _succeeding(part, (IN_PERSON, *keys) if part.gates else (NOBODY,))


async def allowed_in_person(part: Part) -> None:
    """The same for a person alone."""
    await _succeeding(part, (IN_PERSON,) if part.gates else (NOBODY,))


async def _succeeding(part: Part, actors: Sequence[Actor]) -> None:
    touches = part.world.owners({part.me.name, *part.sample.touches})
    for actor in actors:
        await _ready(part, keys=len(actors) > 1)
        name, played, changed = await _playing(part, actor, part.frame, "allowed", [part.me.name])
        _expect(played.code == "ok", f"{name}: {played.code}, but must succeed: {played.data.decode()}")
        assert played.reply is not None
        _expect(part.sample.proves(played.reply.said["ok"]), f"{name}: answers {played.reply.data.decode()}")
        strays = _strays(part, changed, touches) - {row for row in changed.new if row.owners == (None,)}
        _expect(not strays, f"{name}: changes what is not theirs: {strays}")
        came = [one.said for one in played.others]
        _expect(part.sample.sends(came), f"{name}: is sent {came} first")
        flaws = await part.world.flaws() if changed.tables else []
        _expect(not flaws, f"{name}: leaves behind what does not fit together: {flaws}")
        part.answer = played.reply.body
        await _overheard(part, name, part.me.name, part.sample.told)


def _strays(part: Part, changed: Change, touches: set[str | None]) -> set[Row]:
    """Rows that have changed, or are new, although they are somebody's whose rows should not."""
    strangers = part.world.owners_known - touches
    found = {row for row in changed.gone if not row.of(touches)}
    return found | {row for row in changed.new if not strangers.isdisjoint(row.owners)}


# Who may not


async def refused(part: Part) -> None:
    """Whom a gate stops is told so at once, before anything else is done."""
    if part.about or not part.gates:
        return
    await _gated(part, (NOBODY, *KEYS))
    for actor in _in_turn(part.op.name):
        name, played, changed = await _playing(part, actor, part.frame)
        _expect(played.opened == actor.shut, f"{name}: opens a session: {played.opened}")
        _expect(played.code in ("unauthenticated", "closed 4401"), f"{name}: {played.code}")
        _unchanged(name, changed)
    await _silence(part)


def _in_turn(op: str) -> Sequence[Actor]:
    """Two of those whose tokens open no session; which ones, does not depend on the op that they want."""
    first = crc32(op.encode()) % len(SHUT)
    return (SHUT[first], SHUT[first - 1])


async def nobody_refused(part: Part) -> None:
    """The same for nobody alone."""
    if not part.about:
        await _gated(part, (NOBODY,))


async def _gated(part: Part, actors: Collection[Actor]) -> None:
    for actor in actors:
        if actor.key and part.by_key and actor.scoped:
            continue
        name, played, changed = await _playing(part, actor, part.frame)
        _refusal(name, played, changed, "forbidden" if actor.key else "unauthenticated")
        _expect(played.at_once, f"{name}: refused, but only after something was done")


async def elsewhere(part: Part) -> None:
    """Other people: the thing is hidden from them, or they do the same to what is their own."""
    for actor in part.actors if part.gates else ():
        if actor.person == part.me.name:
            continue
        if part.outsider(actor):
            await _as_if_missing(part, actor, part.given, part.frame, "")
            continue
        await _silence(part)
        name, played, changed = await _playing(part, actor, part.frame)
        code = part.sample.refused.get(actor.name)
        if code:
            _refusal(name, played, changed, code)
            continue
        _expect(played.code in _OWN_AFFAIR, f"{name}: {played.code}")
        shared = part.sample.touches if part.given else part.sample.touches & {None}
        strays = _strays(part, changed, part.world.owners({actor.person, *shared}))
        strays -= {row for row in changed.new if row.table == "mail"}
        _expect(not strays, f"{name}: changes what is not theirs: {strays}")
        await _overheard(part, name, actor.person)
        await _ready(part)
    await _silence(part)


async def hidden(part: Part) -> None:
    """Ids of all kinds of things that who may call the op must not reach."""
    if (part.about and not (part.in_space and part.me is part.world.ann)) or not part.gates:
        return
    fields = part.ids | {field: kind(of) for field, of in part.sample.unbound.items()}
    for field, of in fields.items():
        for what, choose in of.hidden.items():
            if what not in part.sample.reaches:
                frame = _with(part.frame, field, choose(part.world, part.me))
                await _as_if_missing(part, IN_PERSON, {field: of}, frame, f"{field}: {what}")
    await _silence(part)


def _with(frame: Request[Any], field: str, id: UUID | int | str) -> Request[Any]:
    """The frame with another id; where there is a list, with one more."""
    now = getattr(frame, field)
    return msgspec.structs.replace(frame, **{field: [*now, id] if isinstance(now, list) else id})


def _without(frame: Request[Any], field: str, of: Kind) -> Request[Any]:
    """The frame with an id that there never was for the last (or only) one."""
    now, id = getattr(frame, field), of.nothing()
    return msgspec.structs.replace(frame, **{field: [*now[:-1], id] if isinstance(now, list) else id})


async def _as_if_missing(part: Part, actor: Actor, ids: Mapping[str, Kind], frame: Request[Any], what: str) -> None:
    """The same bytes as for ids that there never were."""
    name, played, changed = await _playing(part, actor, frame, what)
    _refusal(name, played, changed, part.sample.missing)
    assert played.reply is not None
    for field, of in ids.items():
        nowhere = _without(frame, field, of)
        ghost = await _ghost(part, actor, field, nowhere)
        told = played.reply.body.replace(_last(frame, field), _last(nowhere, field))
        _expect(told == ghost, f"{name}: {played.reply.body!r}, not {ghost!r}")


async def _ghost(part: Part, actor: Actor, field: str, nowhere: Request[Any]) -> bytes:
    """What somebody is told about an id that there never was; where no id is told, once is enough."""
    known = part.ghosts.get((actor.name, field))
    if known is None or part.sample.missing == "ok":
        name, played, changed = await _playing(part, actor, nowhere, f"{field}: nothing")
        _refusal(name, played, changed, part.sample.missing)
        assert played.reply is not None
        known = part.ghosts[actor.name, field] = played.reply.body
    return known


def _last(frame: Request[Any], field: str) -> bytes:
    """An id as it may be told back, where that is all that is told."""
    value = getattr(frame, field)
    return encode(value[-1] if isinstance(value, list) else value)


async def wrong(part: Part) -> None:
    """Frames that are refused even to who may call the op; for public ops, to anybody."""
    anybody = (IN_PERSON,) if part.gates else ANYBODY
    for what, one in part.sample.wrong.items():
        for actor in (by(one.by),) if one.by else anybody:
            await _ready(part, one.prepare)
            if one.burns:
                await _silence(part)
            shows = [part.me.name] if one.code == "ok" else []
            name, played, changed = await _playing(part, actor, one.frame(part.world), what, shows)
            _refusal(name, played, changed, one.code, one.burns)
            if one.code == "ok" and part.answer:
                assert played.reply is not None
                _expect(played.reply.body == part.answer, f"{name}: {played.reply.body!r}, not {part.answer!r}")
            if one.burns:
                await _overheard(part, name, actor.person)
    await _ready(part)
    await _silence(part)


def _refusal(name: str, played: Played, changed: Change, code: str, burns: Collection[str] = ()) -> None:
    _expect(played.code == code, f"{name}: {played.code}, not {code}")
    _expect(not played.others, f"{name}: {code}, and yet something came: {played.others}")
    _unchanged(name, Change(*(frozenset(row for row in rows if row.table not in burns) for rows in changed)))


def _unchanged(name: str, changed: Change) -> None:
    _expect(not changed.tables, f"{name}: refused, and yet changed {changed}")


def _expect(fine: bool, complaint: str) -> None:
    if not fine:
        raise FoundError(complaint)


# In this order it is proved first that the op works at all; in the others it is noticed soon that something lacks.
ALL: Sequence[Scene] = (allowed, refused, elsewhere, hidden, wrong)
GATES: Sequence[Scene] = (refused,)
IDS: Sequence[Scene] = (hidden, elsewhere, allowed_in_person)
HIDDEN: Sequence[Scene] = (hidden, elsewhere)
ROWS: Sequence[Scene] = (allowed_in_person, hidden, wrong, elsewhere)
OTHERS: Sequence[Scene] = (elsewhere, wrong)
CHECKS: Sequence[Scene] = (wrong, hidden, allowed, refused, elsewhere)
