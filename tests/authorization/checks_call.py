"""Functions that decide about voice channels and stages, without one of their checks."""

from server import voice
from server.handlers import stage
from tests.authorization.checks import Text

TEXTS = (
    Text(voice, "update", "check(await allowed(ctx, channel, _VIDEO), _VIDEO)", "pass", ("voice.update",)),
    Text(voice, "update", "not seat.speaker", "False", ("voice.update",)),
    Text(voice, "silence", "await rule.below(user)", "pass", ("voice.mute",)),
    Text(voice, "move", "await rule.below(seat.user)", "pass", ("voice.move",)),
    Text(stage, "mute", "check(await allowed(ctx, channel, MUTE), MUTE)", "pass", ("stage.mute",)),
)
