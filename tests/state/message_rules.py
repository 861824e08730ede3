"""Saying things, changing what was said, and reading it."""

from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import rule

from protocol.message import (
    MessageDelete,
    MessageDeleteMany,
    MessageEdit,
    MessageForward,
    MessageMarkDelivered,
    MessageMarkRead,
    MessagePin,
    MessageSend,
    MessageUnpin,
)
from protocol.reaction import ReactionAdd, ReactionRemove
from tests.state.rules import BACK, OVERLAPS, PLACE, READER, USER, WHO, Place, Rules
from tests.state.world import DEVICES

_TEXT = st.sampled_from(["hello", "#tag", "x" * 300])
_MENTIONS = st.sets(USER)
_EMOJI = st.sampled_from("👍🎉")
_MANY = st.integers(1, 4)


class MessageRules(Rules):
    """In channels that the device is in, mostly."""

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, text=_TEXT, silent=st.booleans())
    def say(self, who: int, overlaps: bool, place: int, text: str, silent: bool) -> None:
        self._say(who, overlaps, place, text, silent=silent)

    def _say(self, who: int, overlaps: bool, place: int, text: str, *, silent: bool = False) -> None:
        nonce = uuid4()

        def make(at: Place) -> MessageSend:
            return MessageSend(channel=at.channel(), text=text, nonce=nonce, silent=silent)

        self.do(who, overlaps, make, place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, mentions=_MENTIONS)
    def mention(self, who: int, overlaps: bool, place: int, mentions: set[int]) -> None:
        nonce = uuid4()

        def make(at: Place) -> MessageSend:
            channel = at.channel()
            return MessageSend(channel=channel, text="you", nonce=nonce, mentions=at.inside(channel, mentions))

        self.do(who, overlaps, make, place)

    @rule(place=PLACE, many=st.integers(1, 2))
    def everybody_talks(self, place: int, many: int) -> None:
        for _ in range(many):
            for who in range(len(DEVICES)):
                self._say(who, who < len(DEVICES) - 1, place, "talk")

    @rule(who=READER, overlaps=OVERLAPS, place=PLACE, back=BACK)
    def reply(self, who: int, overlaps: bool, place: int, back: int) -> None:
        nonce = uuid4()

        def make(at: Place) -> MessageSend:
            channel, seqs = at.seqs()
            return MessageSend(channel=channel, text="indeed", nonce=nonce, reply_to=seqs[0])

        self.do(who, overlaps, make, place, back)

    @rule(who=READER, overlaps=OVERLAPS, place=PLACE, back=BACK, to=PLACE)
    def forward(self, who: int, overlaps: bool, place: int, back: int, to: int) -> None:
        nonce = uuid4()

        def make(at: Place) -> MessageForward:
            source, seqs = at.seqs()
            return MessageForward(channel=at.channel(to), source=source, seq=seqs[0], nonce=nonce)

        self.do(who, overlaps, make, place, back)

    @rule(who=READER, overlaps=OVERLAPS, place=PLACE, back=BACK, text=_TEXT, mentions=_MENTIONS)
    def edit(self, who: int, overlaps: bool, place: int, back: int, text: str, mentions: set[int]) -> None:
        def make(at: Place) -> MessageEdit:
            message = at.message(mine=True)
            return MessageEdit(**message, text=text, mentions=at.inside(message["channel"], mentions))

        self.do(who, overlaps, make, place, back)

    @rule(who=READER, overlaps=OVERLAPS, place=PLACE, back=BACK, mine=st.booleans())
    def delete(self, who: int, overlaps: bool, place: int, back: int, mine: bool) -> None:
        self.do(who, overlaps, lambda at: MessageDelete(**at.message(mine=mine)), place, back)

    @rule(who=READER, overlaps=OVERLAPS, place=PLACE, back=BACK)
    def hide(self, who: int, overlaps: bool, place: int, back: int) -> None:
        self.do(who, overlaps, lambda at: MessageDelete(**at.message(), for_all=False), place, back)

    @rule(who=READER, overlaps=OVERLAPS, place=PLACE, back=BACK, many=_MANY, for_all=st.booleans())
    def delete_many(self, who: int, overlaps: bool, place: int, back: int, many: int, for_all: bool) -> None:
        def make(at: Place) -> MessageDeleteMany:
            channel, seqs = at.seqs(many, mine=for_all)
            return MessageDeleteMany(channel=channel, seqs=seqs, for_all=for_all)

        self.do(who, overlaps, make, place, back)

    @rule(who=READER, overlaps=OVERLAPS, place=PLACE, back=BACK)
    def pin(self, who: int, overlaps: bool, place: int, back: int) -> None:
        self.do(who, overlaps, lambda at: MessagePin(**at.message()), place, back)

    @rule(who=READER, overlaps=OVERLAPS, place=PLACE, back=BACK)
    def unpin(self, who: int, overlaps: bool, place: int, back: int) -> None:
        self.do(who, overlaps, lambda at: MessageUnpin(**at.message()), place, back)

    @rule(who=READER, overlaps=OVERLAPS, place=PLACE, back=BACK, emoji=_EMOJI)
    def react(self, who: int, overlaps: bool, place: int, back: int, emoji: str) -> None:
        self.do(who, overlaps, lambda at: ReactionAdd(**at.message(), emoji=emoji), place, back)

    @rule(who=READER, overlaps=OVERLAPS, place=PLACE, back=BACK, emoji=_EMOJI)
    def take_reaction_away(self, who: int, overlaps: bool, place: int, back: int, emoji: str) -> None:
        self.do(who, overlaps, lambda at: ReactionRemove(**at.message(), emoji=emoji), place, back)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, back=BACK)
    def mark_read(self, who: int, overlaps: bool, place: int, back: int) -> None:
        self.do(who, overlaps, lambda at: MessageMarkRead(**at.message()), place, back)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, back=BACK)
    def mark_delivered(self, who: int, overlaps: bool, place: int, back: int) -> None:
        self.do(who, overlaps, lambda at: MessageMarkDelivered(**at.message()), place, back)
