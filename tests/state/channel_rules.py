"""Making, entering and leaving channels."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import rule

from protocol.channel import (
    ChannelAddMember,
    ChannelCreate,
    ChannelDelete,
    ChannelJoin,
    ChannelLeave,
    ChannelMute,
    ChannelOpenDirect,
    ChannelRemoveMember,
    ChannelUpdate,
)
from tests.state.rules import OVERLAPS, PLACE, USER, WHO, Rules

_TOPIC = st.sampled_from(["", "cats", "dogs"])


class ChannelRules(Rules):
    """Mostly of those who may; the others are refused."""

    @rule(who=WHO, overlaps=OVERLAPS, others=st.sets(USER), open=st.booleans())
    def create(self, who: int, overlaps: bool, others: set[int], open: bool) -> None:
        nonce = uuid4()
        self.do(
            who,
            overlaps,
            lambda at: ChannelCreate(name="group", nonce=nonce, open=open, members=[at.user(one) for one in others]),
        )

    @rule(who=WHO, overlaps=OVERLAPS, user=USER)
    def open_direct(self, who: int, overlaps: bool, user: int) -> None:
        self.do(who, overlaps, lambda at: ChannelOpenDirect(user=at.user(user)))

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE)
    def join(self, who: int, overlaps: bool, place: int) -> None:
        self.do(who, overlaps, lambda at: ChannelJoin(channel=at.anywhere), place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE)
    def leave(self, who: int, overlaps: bool, place: int) -> None:
        self.do(who, overlaps, lambda at: ChannelLeave(channel=at.channel()), place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, user=USER)
    def add_member(self, who: int, overlaps: bool, place: int, user: int) -> None:
        self.do(who, overlaps, lambda at: ChannelAddMember(channel=at.channel(), user=at.user(user)), place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, user=USER)
    def remove_member(self, who: int, overlaps: bool, place: int, user: int) -> None:
        self.do(who, overlaps, lambda at: ChannelRemoveMember(channel=at.own, user=at.user(user)), place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, topic=_TOPIC, open=st.none() | st.booleans())
    def update(self, who: int, overlaps: bool, place: int, topic: str, open: bool | None) -> None:
        self.do(who, overlaps, lambda at: ChannelUpdate(channel=at.own, topic=topic, open=open), place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, after=st.sampled_from([None, 60, 3600]))
    def let_disappear(self, who: int, overlaps: bool, place: int, after: int | None) -> None:
        self.do(who, overlaps, lambda at: ChannelUpdate(channel=at.channel(), disappears_after=after), place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, days=st.sampled_from([None, 1]))
    def keep_for(self, who: int, overlaps: bool, place: int, days: int | None) -> None:
        self.do(who, overlaps, lambda at: ChannelUpdate(channel=at.own, keeps_for=days), place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE)
    def delete_channel(self, who: int, overlaps: bool, place: int) -> None:
        self.do(who, overlaps, lambda at: ChannelDelete(channel=at.own), place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, days=st.sampled_from([None, 1, 2]))
    def mute(self, who: int, overlaps: bool, place: int, days: int | None) -> None:
        until = None if days is None else datetime.now(UTC) + timedelta(days=days)
        self.do(who, overlaps, lambda at: ChannelMute(channel=at.channel(), until=until), place)
