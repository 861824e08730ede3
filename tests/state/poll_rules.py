"""Asking, choosing, and closing."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import rule

from protocol.ballot import NewPoll
from protocol.message import MessageSend
from protocol.poll import PollClose, PollVote
from tests.state.rules import BACK, OVERLAPS, PLACE, READER, WHO, Place, Rules

_OPTIONS = st.sets(st.integers(0, 2), max_size=2)


class PollRules(Rules):
    """In channels that the device is in, mostly."""

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, multiple=st.booleans(), anonymous=st.booleans(), ends=st.booleans())
    def ask(self, who: int, overlaps: bool, place: int, multiple: bool, anonymous: bool, ends: bool) -> None:
        nonce, closes_at = uuid4(), datetime.now(UTC) + timedelta(days=1) if ends else None

        def make(at: Place) -> MessageSend:
            poll = NewPoll(options=["a", "b", "c"], multiple=multiple, anonymous=anonymous, closes_at=closes_at)
            return MessageSend(channel=at.channel(), text="which?", nonce=nonce, poll=poll)

        self.do(who, overlaps, make, place)

    @rule(who=READER, overlaps=OVERLAPS, place=PLACE, back=BACK, options=_OPTIONS)
    def vote(self, who: int, overlaps: bool, place: int, back: int, options: set[int]) -> None:
        self.do(who, overlaps, lambda at: PollVote(**at.message(polls=True), options=sorted(options)), place, back)

    @rule(place=PLACE, back=BACK, option=st.integers(0, 2))
    def everybody_votes(self, place: int, back: int, option: int) -> None:
        for who in range(4):
            self.do(who, who < 3, lambda at: PollVote(**at.message(polls=True), options=[option]), place, back)

    @rule(who=READER, overlaps=OVERLAPS, place=PLACE, back=BACK)
    def close_poll(self, who: int, overlaps: bool, place: int, back: int) -> None:
        self.do(who, overlaps, lambda at: PollClose(**at.message(mine=True, polls=True)), place, back)
