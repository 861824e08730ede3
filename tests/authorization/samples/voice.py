"""voice: in the club's hall, which is a voice channel here."""

from collections.abc import Callable
from typing import Any

from protocol import voice as frames
from protocol.permission import bits
from tests.authorization import rooms
from tests.authorization.rooms import HUSHED, VOICE
from tests.authorization.sample import Making, Sample, Wrong
from tests.authorization.samples.proofs import changed, into
from tests.authorization.samples.role import person
from tests.authorization.samples.space import LACKING
from tests.authorization.spaces import CLUB
from tests.authorization.world import World

_TIMED_OUT = {"timed out": "forbidden"}
_CHANGED = {"voice.changed": CLUB}
_THERE = {"hall": ("ann", "tom")}


def _hall(frame: Callable[..., Any], who: str = "", **fields: Any) -> Making:
    def make(world: World) -> Any:
        user = {"user": world.people[who].id} if who else {}
        return frame(channel=world.channels["hall"].id, **user, **fields)

    return make


def _signal(world: World) -> frames.VoiceSignal:
    return frames.VoiceSignal(channel=world.channels["hall"].id, to=rooms.seat("tom"), data="an offer")


def _list(world: World) -> frames.VoiceList:
    return frames.VoiceList(space=world.spaces["club"].id)


def _people(*names: str) -> Any:
    return lambda reply: len(reply["people"]) == len(names)


_join, _update = _hall(frames.VoiceJoin), _hall(frames.VoiceUpdate, camera=True)
_move, _mute = _hall(frames.VoiceMove, "tom"), _hall(frames.VoiceMute, "tom", muted=True)
_NO_VIDEO = f"UPDATE overwrite SET allow = {bits(['connect'])} WHERE channel = <hall> AND target = <club>"
_NOT_THERE = dict.fromkeys(("lower role", "same height", "chief", "space owner"), "conflict")
# Members whom nobody touches who does not stand above them.
_SITTING = {"hall": ("ann", "tom", "bea", "cal", "lea", "max")}


def _below(frame: Making) -> dict[str, Wrong]:
    return {
        "who stands as high": Wrong("forbidden", changed(frame, user=person("bea"))),
        "who stands higher": Wrong("forbidden", changed(frame, user=person("cal"))),
        "who stands higher than low ones": Wrong("forbidden", changed(frame, user=person("ann")), by="lea"),
        "the owner, as a chief": Wrong("forbidden", changed(frame, user=person("max")), by="cal"),
    }


SAMPLES = {
    "join": Sample(
        _join,
        prepare=VOICE,
        in_space=True,
        sits={"hall": ("tom",)},
        told=_CHANGED,
        refused=_TIMED_OUT,
        proves=_people("tom", "ann"),
        wrong={
            "where nobody speaks": Wrong("forbidden", into(_join, "notices")),
            "in a group": Wrong("invalid", into(_join, "group")),
        },
    ),
    "join: not silenced": Sample(
        _join,
        prepare=HUSHED,
        in_space=True,
        told=_CHANGED,
        refused=_TIMED_OUT,
        proves=lambda reply: "deaf" not in reply["people"][0] and "silenced" not in reply["people"][0],
    ),
    "leave": Sample(_hall(frames.VoiceLeave), prepare=VOICE, in_space=True, sits=_THERE, told=_CHANGED),
    "update": Sample(
        _update,
        prepare=VOICE,
        in_space=True,
        sits=_THERE,
        told=_CHANGED,
        refused=_TIMED_OUT | _NOT_THERE,
        wrong={
            "by who is not there": Wrong("conflict", _update, by="max"),
            "without video": Wrong("forbidden", _update, _NO_VIDEO, by="tom"),
            "speaking, as who only listens": Wrong("conflict", changed(_update, speaking=True), by="tom"),
        },
    ),
    "signal": Sample(
        _signal,
        prepare=VOICE,
        in_space=True,
        sits=_THERE,
        refused=_TIMED_OUT | dict.fromkeys(("lower role", "same height", "chief", "space owner"), "missing"),
        wrong={"by who is not there": Wrong("missing", _signal, by="max")},
    ),
    "list": Sample(
        _list,
        prepare=VOICE,
        sits={"hall": ("tom",)},
        proves=lambda reply: [len(r["people"]) for r in reply["rooms"]] == [1],
    ),
    "move": Sample(
        _move,
        prepare=VOICE,
        in_space=True,
        sits=_SITTING,
        touches=frozenset({"club"}),
        told=_CHANGED,
        refused=LACKING,
        wrong={
            **_below(_move),
            "who is not there": Wrong("missing", changed(_move, user=person("kim"))),
            "into what I do not see": Wrong("missing", changed(_move, to=lambda world: world.channels["attic"].id)),
        },
    ),
    "mute": Sample(
        _mute,
        prepare=VOICE,
        in_space=True,
        sits=_SITTING,
        touches=frozenset({"club", "tom"}),
        told=_CHANGED,
        refused=LACKING,
        wrong=_below(_mute),
    ),
    "mute: taking it back": Sample(
        changed(_mute, muted=False, deafened=False),
        prepare=HUSHED,
        in_space=True,
        sits=_SITTING,
        touches=frozenset({"club", "tom"}),
        told=_CHANGED,
        refused=LACKING,
    ),
}
