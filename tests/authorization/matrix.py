"""Plays one op: who may succeeds, everybody else does not, and nobody learns or changes what is not theirs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from msgspec import Struct

from protocol.frame import Request
from server.router import Op, id_fields
from storage.ids import new_id
from tests.authorization.actors import ANYBODY, IN_PERSON, KEYS, NOBODY, PEOPLE, SHUT, Actor
from tests.authorization.kinds import kind
from tests.authorization.ledger import Change, Row, change
from tests.authorization.people import Person
from tests.authorization.sample import Sample, sample
from tests.authorization.world import Played, World, play

# What somebody may be told about a frame that is not meant for them, but breaks no rule.
_OWN_AFFAIR = {"ok", "conflict", "expired", "forbidden", "invalid", "missing", "password_needed", "wrong_credentials"}


class FoundError(AssertionError):
    """The op does what it must not."""


class Part(Struct):
    """One op's part of the matrix."""

    world: World
    op: Op
    sample: Sample
    me: Person
    before: frozenset[Row] = frozenset()
    answer: bytes = b""
    prepared: str | None = None

    @property
    def gates(self) -> set[str]:
        """What the op's true rule asks for."""
        return {gate.__name__ for gate in self.world.rules[self.op.name].gates}

    @property
    def by_key(self) -> bool:
        return "in_scope" in self.gates

    @property
    def ids(self) -> dict[str, str]:
        return dict(id_fields(self.op.frame))

    @property
    def frame(self) -> Request[Any]:
        return self.sample.frame(self.world)

    def outsider(self, actor: Actor) -> bool:
        """Whether the sample's ids must not exist for an actor."""
        if actor.name in self.sample.insiders or not self.ids:
            return False
        if self.sample.outsiders is not None:
            return actor.name in self.sample.outsiders
        return any(actor.name in kind(of).outsiders for of in self.ids.values())


async def run(world: World, name: str, *, control_first: bool = True) -> None:
    """Play everything there is to play about an op; `FoundError` at the first thing that is wrong."""
    found = sample(name)
    part = Part(world, world.server.router.ops[name], found, world.people[found.by])
    try:
        if control_first:
            await _allowed(part)
        await _ready(part)
        if part.gates:
            await _refused(part)
            await _silence(part)
            await _elsewhere(part)
            await _hidden(part)
        await _wrong(part)
        await _silence(part)
        if not control_first:
            await _allowed(part)
    except BaseException:
        world.ended = True
        world.forget()
        raise
    finally:
        world.touched = True
        world.forget("osk_")
        await world.reset()
        await world.heard()


async def refused(world: World, name: str) -> None:
    """Only what the gates of an op refuse."""
    found = sample(name)
    part = Part(world, world.server.router.ops[name], found, world.people[found.by])
    await _ready(part)
    await _refused(part)
    world.touched = True
    world.forget("osk_")


async def _ready(part: Part, also: str = "") -> None:
    """Everything as it was, with what the op takes."""
    world = part.world
    if part.prepared == also and not world.touched:
        return
    world.touched = world.touched or part.prepared is not None
    await world.reset()
    await world.prepare(part.sample.prepare, part.me)
    await world.prepare(also, part.me)
    if part.gates:
        await world.cut_keys(part.op.name, part.me)
    part.before, part.prepared = await world.rows(), also
    world.touched = False


async def _playing(
    part: Part, actor: Actor, frame: Request[Any], what: str = "", shows: Collection[str] = ()
) -> tuple[str, Played, Change]:
    """One case: what became of it and what it changed; nobody may have been sent what is not theirs."""
    world, name = part.world, f"{part.op.name}{what and f' ({what})'} by {actor.name}"
    world.cases += 1
    token = actor.token(world, part.me) if actor.token else None
    if actor.shut:
        socket = await world.socket()
        played = await play(socket, frame, token)
    else:
        socket = await world.speaking(token)
        played = await play(socket, frame)
    changed = change(part.before, await world.rows())
    world.touched = world.touched or bool(changed.tables)
    world.ended = world.ended or bool(changed.tables & {"device", "api_key"})
    if actor.shut or changed.tables or played.code == "ok":
        socket.abort()
    else:
        world.keep(token, socket)
    viewer = actor.person or (part.me.name if actor in (IN_PERSON, *KEYS) else "nobody")
    hidden = world.hidden(viewer, shows_blocked=part.sample.shows_blocked)
    leaks = world.marks.leaks(played.data, {viewer, *shows}, set(hidden) - set(shows))
    _expect(not leaks, f"{name}: is sent {', '.join(leaks)}")
    _expect(played.code not in ("internal", "overloaded", "unavailable"), f"{name}: {played.code}")
    return name, played, changed


async def _silence(part: Part) -> None:
    """Nobody is told what was refused to somebody else."""
    heard = await part.world.heard()
    _expect(not heard, f"{part.op.name}: refused, and yet an event came: {heard}")


async def _overheard(part: Part, name: str) -> None:
    """What everybody was sent besides, which may be anything but what is not theirs."""
    for listener, messages in (await part.world.heard()).items():
        leaks = part.world.marks.leaks(b"\n".join(messages), {listener}, part.world.hidden(listener))
        _expect(not leaks, f"{name}: {listener} is sent {', '.join(leaks)}")


# Who may


async def _allowed(part: Part) -> None:
    """Without this, every refusal below would prove nothing."""
    actors = (NOBODY,) if not part.gates else (IN_PERSON, *(key for key in KEYS if key.scoped and part.by_key))
    touches = {str(part.me.id), *(one and str(part.world.people[one].id) for one in part.sample.touches)}
    everybody = {str(one.id) for one in part.world.people.values()}
    for actor in actors:
        await _ready(part)
        name, played, changed = await _playing(part, actor, part.frame, "allowed", [part.me.name])
        _expect(played.code == "ok", f"{name}: {played.code}, but must succeed: {played.data.decode()}")
        assert played.reply is not None
        _expect(part.sample.proves(played.reply.said["ok"]), f"{name}: answers {played.reply.data.decode()}")
        strays = {row for row in changed.gone if row.owner not in touches}
        strays |= {row for row in changed.new if row.owner in everybody - touches}
        _expect(not strays, f"{name}: changes what is not theirs: {strays}")
        part.answer = played.reply.body
        await _overheard(part, name)


# Who may not


async def _refused(part: Part) -> None:
    """Whom a gate stops is told so at once, before anything else is done."""
    for actor in (NOBODY, *KEYS):
        if actor.key and part.by_key and actor.scoped:
            continue
        name, played, changed = await _playing(part, actor, part.frame)
        _refusal(name, played, changed, "forbidden" if actor.key else "unauthenticated")
        _expect(played.at_once, f"{name}: refused, but only after something was done")
    for actor in SHUT:
        name, played, changed = await _playing(part, actor, part.frame)
        _expect(played.opened == actor.shut, f"{name}: opens a session: {played.opened}")
        _expect(played.code in ("unauthenticated", "closed 4401"), f"{name}: {played.code}")
        _unchanged(name, changed)


async def _elsewhere(part: Part) -> None:
    """Other people: the thing is hidden from them, or they do the same to what is their own."""
    for actor in PEOPLE:
        if actor.person == part.me.name:
            continue
        if part.outsider(actor):
            for field in part.ids:
                await _as_if_missing(part, actor, field, part.frame, "")
            continue
        mine = {str(part.world.people[actor.person].id), *(None for one in part.sample.touches if one is None)}
        await _silence(part)
        name, played, changed = await _playing(part, actor, part.frame)
        _expect(played.code in _OWN_AFFAIR, f"{name}: {played.code}")
        strays = {row for row in changed.gone | changed.new if row.owner not in mine}
        strays -= {row for row in changed.new if row.table == "mail"}
        _expect(not strays, f"{name}: changes what is not theirs: {strays}")
        await _overheard(part, name)
        await _ready(part)


async def _hidden(part: Part) -> None:
    """Ids of all kinds of things that who may call the op must not reach."""
    for field, of in part.ids.items():
        for what, choose in kind(of).hidden.items():
            if what not in part.sample.reaches:
                frame = msgspec.structs.replace(part.frame, **{field: choose(part.world, part.me)})
                await _as_if_missing(part, IN_PERSON, field, frame, f"{field}: {what}")


async def _as_if_missing(part: Part, actor: Actor, field: str, frame: Request[Any], what: str) -> None:
    """The same bytes as for an id that there never was."""
    nowhere = msgspec.structs.replace(frame, **{field: new_id()})
    name, ghost, changed = await _playing(part, actor, nowhere, f"{field}: nothing")
    _refusal(name, ghost, changed, "missing")
    name, played, changed = await _playing(part, actor, frame, what)
    _refusal(name, played, changed, "missing")
    assert played.reply is not None and ghost.reply is not None
    _expect(played.reply.body == ghost.reply.body, f"{name}: {played.reply.body!r}, not {ghost.reply.body!r}")


async def _wrong(part: Part) -> None:
    """Frames that are refused even to who may call the op; for public ops, to anybody."""
    actors = (IN_PERSON,) if part.gates else ANYBODY
    for what, wrong in part.sample.wrong.items():
        for actor in actors:
            await _ready(part, wrong.prepare)
            shows = [part.me.name] if wrong.code == "ok" else []
            name, played, changed = await _playing(part, actor, wrong.frame(part.world), what, shows)
            _refusal(name, played, changed, wrong.code, wrong.burns)
            if wrong.code == "ok" and part.answer:
                assert played.reply is not None
                _expect(played.reply.body == part.answer, f"{name}: {played.reply.body!r}, not {part.answer!r}")
            await (_overheard(part, name) if wrong.burns else _silence(part))
    await _ready(part)


def _refusal(name: str, played: Played, changed: Change, code: str, burns: Collection[str] = ()) -> None:
    _expect(played.code == code, f"{name}: {played.code}, not {code}")
    _expect(not played.others, f"{name}: {code}, and yet something came: {played.others}")
    _unchanged(name, Change(*(frozenset(row for row in rows if row.table not in burns) for rows in changed)))


def _unchanged(name: str, changed: Change) -> None:
    _expect(not changed.tables, f"{name}: refused, and yet changed {changed}")


def _expect(fine: bool, complaint: str) -> None:
    if not fine:
        raise FoundError(complaint)
