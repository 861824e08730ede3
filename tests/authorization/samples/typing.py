"""typing: told to everybody else in the group."""

from protocol.typing import TypingStart, TypingStop
from tests.authorization.channels import GROUP
from tests.authorization.sample import Sample
from tests.authorization.samples import hall
from tests.authorization.samples.message import blocked
from tests.authorization.world import World


def _start(world: World) -> TypingStart:
    return TypingStart(channel=world.channels["group"].id)


def _stop(world: World) -> TypingStop:
    return TypingStop(channel=world.channels["group"].id)


SAMPLES = hall.TYPING | {
    "start": Sample(_start, told={"typing.started": GROUP - {"ann"}}, wrong=blocked(_start)),
    "stop": Sample(_stop, told={"typing.stopped": GROUP - {"ann"}}, wrong=blocked(_stop)),
}
