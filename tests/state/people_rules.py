"""Drafts, typing, who is there, and who wants to have nothing to do with whom."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from protocol.draft import DraftClear, DraftSave
from protocol.presence import Chosen, PresenceSet, PresenceUnwatch, PresenceWatch
from protocol.typing import TypingStart, TypingStop
from protocol.user import UserBlock, UserUnblock
from tests.state.rules import BACK, NODE, OVERLAPS, PLACE, READER, USER, WHO, Place, Rules
from tests.state.world import PEOPLE

_STATUS: st.SearchStrategy[Chosen | None] = st.sampled_from([None, "online", "away", "dnd", "invisible"])


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
