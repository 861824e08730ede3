"""Drafts, scheduled messages, typing, who is there, who is whose friend, and who blocks whom."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import rule
from msgspec import UNSET

from protocol.draft import DraftClear, DraftSave
from protocol.friend import (
    Directs,
    FriendAccept,
    FriendDecline,
    FriendRemove,
    FriendRequest,
    FriendSetPrivacy,
    Requests,
)
from protocol.notification import Level, NotificationConfigure, NotificationMarkRead
from protocol.presence import Chosen, PresenceSet, PresenceUnwatch, PresenceWatch
from protocol.scheduled import ScheduledCancel, ScheduledCreate, ScheduledUpdate
from protocol.typing import TypingStart, TypingStop
from protocol.user import UserBlock, UserUnblock
from tests.state.rules import BACK, NODE, OVERLAPS, PLACE, READER, USER, WHO, Place, Rules
from tests.state.world import PEOPLE

_Friendly = type[FriendRequest | FriendAccept | FriendDecline | FriendRemove]
_FRIENDS: list[_Friendly] = [FriendRequest, FriendRequest, FriendAccept, FriendDecline, FriendRemove]
_REQUESTS: st.SearchStrategy[Requests] = st.sampled_from(["everyone", "everyone", "friends_of_friends", "nobody"])
_LEVELS: st.SearchStrategy[Level | None] = st.sampled_from([None, None, "mentions", "all", "nothing"])
_STATUS: st.SearchStrategy[Chosen | None] = st.sampled_from([None, "online", "away", "dnd", "invisible"])


def _later() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


class PeopleRules(Rules):
    """Also devices that are away, and come back."""

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, text=st.sampled_from(["dear", "hm"]))
    def save_draft(self, who: int, overlaps: bool, place: int, text: str) -> None:
        self.do(who, overlaps, lambda at: DraftSave(channel=at.channel(), text=text), place)

    @rule(who=READER, overlaps=OVERLAPS, place=PLACE, back=BACK)
    def save_draft_of_reply(self, who: int, overlaps: bool, place: int, back: int) -> None:
        def make(at: Place) -> DraftSave:
            channel, seqs = at.seqs()
            return DraftSave(channel=channel, text="so", reply_to=seqs[0])

        self.do(who, overlaps, make, place, back)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE)
    def clear_draft(self, who: int, overlaps: bool, place: int) -> None:
        self.do(who, overlaps, lambda at: DraftClear(channel=at.channel()), place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, text=st.sampled_from(["later", "then"]), back=BACK)
    def schedule(self, who: int, overlaps: bool, place: int, text: str, back: int) -> None:
        def make(at: Place) -> ScheduledCreate:
            replied = back or None  # perhaps to what is no message
            return ScheduledCreate(channel=at.channel(), text=text, at=_later(), nonce=uuid4(), reply_to=replied)

        self.do(who, overlaps, make, place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, anew=st.booleans())
    def change_scheduled(self, who: int, overlaps: bool, place: int, anew: bool) -> None:
        def make(at: Place) -> ScheduledUpdate:
            return ScheduledUpdate(scheduled=at.scheduled, silent=True, at=_later() if anew else UNSET)

        self.do(who, overlaps, make, place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE)
    def cancel_scheduled(self, who: int, overlaps: bool, place: int) -> None:
        self.do(who, overlaps, lambda at: ScheduledCancel(scheduled=at.scheduled), place)

    @rule()
    def time_comes(self) -> None:
        self.run(self.world.come())

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, stops=st.booleans())
    def type_(self, who: int, overlaps: bool, place: int, stops: bool) -> None:
        kind = TypingStop if stops else TypingStart
        self.do(who, overlaps, lambda at: kind(channel=at.channel()), place)

    @rule(who=WHO, overlaps=OVERLAPS, status=_STATUS, text=st.sampled_from([None, "", "busy"]), shows=st.booleans())
    def choose_presence(self, who: int, overlaps: bool, status: Chosen | None, text: str | None, shows: bool) -> None:
        self.do(who, overlaps, lambda at: PresenceSet(status=status, text=text, show_last_seen=shows))

    @rule(who=WHO, overlaps=OVERLAPS, users=st.sets(USER, min_size=1))
    def watch(self, who: int, overlaps: bool, users: set[int]) -> None:
        self.do(who, overlaps, lambda at: PresenceWatch(users=[at.user(one) for one in users]))

    @rule(who=WHO, overlaps=OVERLAPS, user=USER)
    def unwatch(self, who: int, overlaps: bool, user: int) -> None:
        self.do(who, overlaps, lambda at: PresenceUnwatch(users=[at.user(user)]))

    @rule(who=WHO, overlaps=OVERLAPS, user=USER)
    def block(self, who: int, overlaps: bool, user: int) -> None:
        self.do(who, overlaps, lambda at: UserBlock(user=at.user(user)))

    @rule(who=WHO, overlaps=OVERLAPS, user=USER, kind=st.sampled_from(_FRIENDS))
    def befriend(self, who: int, overlaps: bool, user: int, kind: _Friendly) -> None:
        self.do(who, overlaps, lambda at: kind(user=at.user(user)))

    @rule(who=READER, overlaps=OVERLAPS, place=PLACE, back=BACK, here=st.booleans())
    def read_notifications(self, who: int, overlaps: bool, place: int, back: int, here: bool) -> None:
        def make(at: Place) -> NotificationMarkRead:
            if here:
                return NotificationMarkRead(channel=at.channel())
            return NotificationMarkRead(until=at.notification)

        self.do(who, overlaps, make, place)

    @rule(who=WHO, overlaps=OVERLAPS, place=PLACE, level=_LEVELS)
    def choose_level(self, who: int, overlaps: bool, place: int, level: Level | None) -> None:
        self.do(who, overlaps, lambda at: NotificationConfigure(channel=at.channel(), level=level), place)

    @rule(who=WHO, overlaps=OVERLAPS, requests=_REQUESTS, directs=st.sampled_from(["everyone", "friends"]))
    def choose_privacy(self, who: int, overlaps: bool, requests: Requests, directs: Directs) -> None:
        self.do(who, overlaps, lambda at: FriendSetPrivacy(requests=requests, directs=directs))

    @rule(who=WHO)
    def unblock_everybody(self, who: int) -> None:
        for user in range(PEOPLE):
            self.do(who, True, lambda at, user=user: UserUnblock(user=at.user(user)))  # type: ignore[misc]

    @rule(who=WHO)
    def go_away(self, who: int) -> None:
        self.run(self.world.leave_node(who))

    @rule(who=WHO, node=NODE)
    def come_back(self, who: int, node: int) -> None:
        self.run(self.world.move(who, node))
