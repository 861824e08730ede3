"""stage: in the club's hall, which is a stage here."""

from protocol import stage as frames
from tests.authorization.rooms import STAGE
from tests.authorization.sample import Sample, Wrong
from tests.authorization.samples.proofs import changed
from tests.authorization.samples.role import person
from tests.authorization.samples.space import LACKING
from tests.authorization.samples.voice import _hall
from tests.authorization.spaces import CLUB

_CHANGED = {"voice.changed": CLUB}
_request = _hall(frames.StageRequest)
_invite, _mute = _hall(frames.StageInvite, "tom"), _hall(frames.StageMute, "bea")
_THERE = {"hall": ("ann", "tom")}
_NOT_THERE = dict.fromkeys(("lower role", "same height", "chief", "space owner"), "conflict")

SAMPLES = {
    "request": Sample(
        _request,
        prepare=STAGE,
        in_space=True,
        sits=_THERE,
        told=_CHANGED,
        refused={"timed out": "forbidden"} | _NOT_THERE,
        wrong={"by who is not there": Wrong("conflict", _request, by="max")},
    ),
    "invite": Sample(
        _invite,
        prepare=STAGE,
        in_space=True,
        sits=_THERE,
        told=_CHANGED,
        refused=LACKING,
        wrong={"who is not there": Wrong("missing", changed(_invite, user=person("bea")))},
    ),
    "mute": Sample(
        _mute,
        prepare=STAGE,
        in_space=True,
        sits={"hall": ("ann", "bea")},
        told=_CHANGED,
        refused=LACKING,
        wrong={
            "who is not there": Wrong("missing", changed(_mute, user=person("tom"))),
            "somebody else, without the right": Wrong("forbidden", _mute, by="tom"),
        },
    ),
    "mute: oneself": Sample(
        changed(_mute, user=person("ann")),
        prepare=STAGE,
        in_space=True,
        sits=_THERE,
        told=_CHANGED,
        refused=LACKING,
    ),
}
