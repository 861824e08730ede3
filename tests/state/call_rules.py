"""Calling, answering, declining, and leaving; who loses their socket may come back to the call."""

from uuid import uuid4

from hypothesis.stateful import rule

from protocol.call import CallAnswer, CallDecline, CallEnd, CallStart
from tests.state.rules import OVERLAPS, PLACE, WHO, Rules


class CallRules(Rules):
    """In direct channels and groups that the device is in, mostly."""

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE)
    def start_call(self, who: int, overlaps: bool, place: int) -> None:
        nonce = uuid4()
        self.do(who, overlaps, lambda at: CallStart(channel=at.channel(), nonce=nonce), place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE)
    def answer_call(self, who: int, overlaps: bool, place: int) -> None:
        self.do(who, overlaps, lambda at: CallAnswer(**at.call), place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE)
    def decline_call(self, who: int, overlaps: bool, place: int) -> None:
        self.do(who, overlaps, lambda at: CallDecline(**at.call), place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE)
    def end_call(self, who: int, overlaps: bool, place: int) -> None:
        self.do(who, overlaps, lambda at: CallEnd(**at.call), place)
