"""State that was read once and then followed by events is the state that is read anew, whatever has happened."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

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
from protocol.draft import DraftClear, DraftList, DraftSave
from protocol.error import Refusal
from protocol.frame import Request
from protocol.message import (
    MessageDelete,
    MessageDeleteMany,
    MessageEdit,
    MessageForward,
    MessageHistory,
    MessageMarkDelivered,
    MessageMarkRead,
    MessagePin,
    MessagePins,
    MessageSend,
    MessageUnpin,
)
from protocol.reaction import ReactionAdd, ReactionRemove
from protocol.session import SessionOpen
from protocol.user import UserBlock, UserUnblock
from server import Server
from tests.chat import UNBOUND, Phone, nodes, registered
from tests.conftest import Starter

_CODES = {"missing", "forbidden", "conflict", "invalid"}
_EMOJI = "👍🎉"

Message = dict[str, Any]


class Model:
    """What one client knows: read when it opened its session, and changed by every fact that came since."""

    def __init__(self, account: UUID) -> None:
        self.account = str(account)
        self.cursors: dict[str, int] = {}
        self.memberships: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, dict[int, Message]] = {}
        self.read_at: dict[str, int] = {}  # the head of a channel when its messages were read
        self.hidden: set[tuple[str, int]] = set()  # of which the channel's stream may tell only later
        self.drafts: dict[str, dict[str, Any]] = {}

    def take(self, fact: dict[str, Any]) -> str | None:
        """Apply a fact; the channel whose messages have to be read now, if any."""
        stream, seq, kind = fact["stream"], fact["seq"], fact["ev"]
        assert seq == self.cursors[stream] + 1, f"{kind} {seq} came after {self.cursors[stream]}"
        self.cursors[stream] = seq
        if kind == "channel.joined":
            return self.enter(fact["membership"])
        if kind == "channel.left":
            self.leave(fact["channel"])
        elif stream == self.account:
            getattr(self, "_" + kind.replace(".", "_"))(fact)
        elif kind.startswith("channel."):
            self._channel(fact)
        elif seq > self.read_at[stream] and (stream, seq) not in self.hidden:
            getattr(self, "_" + kind.replace(".", "_"))(fact, self.messages[stream])
        return None

    def enter(self, membership: dict[str, Any]) -> str:
        channel: str = membership["channel"]["id"]
        self.memberships[channel], self.cursors[channel] = membership, membership["head"]
        return channel

    def leave(self, channel: str) -> None:
        for known in (self.memberships, self.cursors, self.messages, self.read_at, self.drafts):
            known.pop(channel, None)

    # Facts of the account

    def _message_read(self, fact: dict[str, Any]) -> None:
        self.memberships[fact["channel"]]["read"] = fact["read"]

    def _message_hidden(self, fact: dict[str, Any]) -> None:
        for seq in fact["messages"]:
            self.hidden.add((fact["channel"], seq))
            self.messages[fact["channel"]].pop(seq, None)

    def _channel_muted(self, fact: dict[str, Any]) -> None:
        self.memberships[fact["channel"]]["muted_until"] = fact["until"]

    def _draft_saved(self, fact: dict[str, Any]) -> None:
        self.drafts[fact["draft"]["channel"]] = fact["draft"]

    def _draft_cleared(self, fact: dict[str, Any]) -> None:
        self.drafts.pop(fact["channel"], None)

    # Facts of a channel

    def _channel(self, fact: dict[str, Any]) -> None:
        channel = self.memberships[fact["stream"]]["channel"]
        if fact["ev"] == "channel.updated":
            self.memberships[fact["stream"]]["channel"] = fact["channel"]
        elif fact["ev"] == "channel.member_left":
            channel.update(members=fact["members"], owner=fact["owner"])
        else:
            channel["members"] = fact["members"]

    @staticmethod
    def _message_created(fact: dict[str, Any], messages: dict[int, Message]) -> None:
        messages[fact["seq"]] = fact["message"]

    @staticmethod
    def _message_edited(fact: dict[str, Any], messages: dict[int, Message]) -> None:
        if fact["message"]["seq"] in messages:
            messages[fact["message"]["seq"]] = fact["message"]

    @staticmethod
    def _message_deleted(fact: dict[str, Any], messages: dict[int, Message]) -> None:
        for seq in fact["messages"]:
            if seq in messages:
                kept = {key: messages[seq][key] for key in ("seq", "author", "sent_at")}
                messages[seq] = {**kept, "deleted_at": True}

    @staticmethod
    def _message_pinned(fact: dict[str, Any], messages: dict[int, Message]) -> None:
        if fact["message"] in messages:
            messages[fact["message"]]["pinned_at"] = fact["at"]

    @staticmethod
    def _message_unpinned(fact: dict[str, Any], messages: dict[int, Message]) -> None:
        if fact["message"] in messages:
            messages[fact["message"]].pop("pinned_at", None)

    @staticmethod
    def _reaction_added(fact: dict[str, Any], messages: dict[int, Message]) -> None:
        if fact["message"] not in messages:
            return
        reactions = messages[fact["message"]].setdefault("reactions", [])
        found = next((one for one in reactions if one["emoji"] == fact["emoji"]), None)
        if found is None:
            found = {"emoji": fact["emoji"], "users": []}
            reactions.append(found)
        found["count"] = fact["count"]
        if fact["user"] not in found["users"]:
            found["users"].append(fact["user"])

    @staticmethod
    def _reaction_removed(fact: dict[str, Any], messages: dict[int, Message]) -> None:
        if fact["message"] not in messages:
            return
        reactions = messages[fact["message"]].get("reactions", [])
        for found in [one for one in reactions if one["emoji"] == fact["emoji"]]:
            found["count"] = fact["count"]
            found["users"] = [user for user in found["users"] if user != fact["user"]]
            if not found["count"]:
                reactions.remove(found)

    # As it can be compared

    def state(self) -> dict[str, Any]:
        """All of it, with the counts that follow from it."""
        return {
            "channels": {channel: self._standing(channel) for channel in self.memberships},
            "messages": {channel: plain(self.messages[channel].values()) for channel in self.memberships},
            "pins": {
                channel: [seq for seq, one in sorted(self.messages[channel].items()) if one.get("pinned_at")]
                for channel in self.memberships
            },
            "drafts": self.drafts,
            "heads": self.cursors,
        }

    def _standing(self, channel: str) -> dict[str, Any]:
        known = self.memberships[channel]
        there = [one for _, one in sorted(self.messages[channel].items()) if not one.get("deleted_at")]
        unread = [one for one in there if one["seq"] > known["read"] and one["author"] != self.account]
        last = there[-1] if there else None
        return standing(known) | {
            "unread": len(unread),
            "mentions": len([one for one in unread if self.account in one.get("mentions", [])]),
            "last": preview(last),
        }


def standing(membership: dict[str, Any]) -> dict[str, Any]:
    """A membership but for what passes: where the stream is, and what one's devices have got."""
    return {key: value for key, value in membership.items() if key not in ("head", "delivered", "last")}


def plain(messages: Any) -> list[Message]:
    """Messages in order, without the time at which they were taken back and the order of emoji."""
    found = []
    for one in sorted(messages, key=lambda one: int(one["seq"])):
        message = {key: value for key, value in one.items() if value}
        if message.get("deleted_at"):
            message["deleted_at"] = True
        if "reactions" in message:
            message["reactions"] = sorted(message["reactions"], key=lambda reaction: str(reaction["emoji"]))
        found.append(message)
    return found


def preview(message: Message | None) -> Message | None:
    """A message as lists of channels show it."""
    return plain([message | {"text": message.get("text", "")[:200]}])[0] if message else None


class User:
    """One person: a client that is sometimes away, and its model."""

    def __init__(self, servers: list[Server], account: UUID, token: str) -> None:
        self._servers, self.account, self._token = servers, account, token
        self.model = Model(account)
        self.phone: Phone | None = None
        self._taken = 0

    async def open(self, node: int) -> None:
        self.phone = await Phone.connect(self._servers[node].url)
        await self._opened(await self.phone.call(SessionOpen(token=self._token)))

    async def _opened(self, reply: dict[str, Any]) -> None:
        self.model.cursors[self.model.account] = reply["head"]
        for membership in reply["channels"]:
            await self._read(self.model.enter(membership))

    async def _read(self, channel: str) -> None:
        """The messages of a channel, as they are now."""
        assert self.phone is not None
        try:
            page = await self.phone.call(MessageHistory(channel=UUID(channel), limit=100))
        except Refusal:  # one is out of it again, as will be told
            page = {"messages": [], "head": 2**60}
        assert len(page["messages"]) < 100
        self.model.messages[channel] = {one["seq"]: one for one in page["messages"]}
        self.model.read_at[channel] = page["head"]

    def go_away(self) -> None:
        if self.phone is not None:
            self.phone.abort()
        self.phone, self._taken = None, 0

    async def come_back(self, node: int) -> None:
        """Resume, after what had come before was taken in."""
        if self.phone is not None:
            await self.catch_up()
            self.go_away()
        cursors = {UUID(stream): seq for stream, seq in self.model.cursors.items()}
        self.phone, reply = await Phone.resume(self._servers[node], self._token, cursors)
        await self.catch_up()
        assert not {stream for stream in reply["reset"] if stream in self.model.cursors}

    async def catch_up(self) -> None:
        """Take in what has come."""
        assert self.phone is not None
        while self._taken < len(self.phone.events):
            event = self.phone.events[self._taken]
            self._taken += 1
            if "seq" in event:
                entered = self.model.take(event)
                if entered is not None:
                    await self._read(entered)

    def _more(self) -> bool:
        return self.phone is not None and len(self.phone.events) > self._taken

    async def settled(self, node: int) -> dict[str, Any]:
        """Everything read anew by another client, once this one has heard as much."""
        fresh = User(self._servers, self.account, self._token)
        await fresh.open(node)
        assert fresh.phone is not None
        state = fresh.model.state()
        for channel, told in fresh.model.memberships.items():
            assert state["channels"][channel] == standing(told) | {"last": preview(told["last"])}
            pins = (await fresh.phone.call(MessagePins(channel=UUID(channel))))["messages"]
            state["pins"][channel] = [one["seq"] for one in pins]
        drafts = (await fresh.phone.call(DraftList()))["drafts"]
        state["drafts"] = {one["channel"]: one for one in drafts}
        fresh.go_away()
        assert self.phone is not None
        async with asyncio.timeout(10):
            await self.catch_up()
            while any(self.model.cursors.get(stream, 0) < head for stream, head in state["heads"].items()):
                await self.phone.until(self._more)
                await self.catch_up()
        return state


class World:
    """Three people, one of whom has two devices, and the channels that they have made."""

    def __init__(self, users: list[User]) -> None:
        self.users = users
        self.channels: list[UUID] = []

    def request(self, kind: str, user: User, other: User, one: int, two: int) -> Request[Any]:
        mine = [one for one in self.channels if str(one) in user.model.memberships]
        channels = self.channels if kind == "join" or not mine else mine
        channel = channels[one % len(channels)] if channels else uuid4()
        known = user.model.messages.get(str(channel), {})
        there = [seq for seq, message in sorted(known.items()) if not message.get("deleted_at")] or [1]
        seq = there[two % len(there)]
        return _REQUESTS[kind](channel, seq, other.account, one, two)

    async def do(self, kind: str, user: User, other: User, one: int, two: int) -> None:
        """What a step says, by somebody; whether it is allowed is not the question here."""
        if kind == "away":
            user.go_away()
            return
        if user.phone is None or kind == "back":
            await user.come_back(one % 2)
            return
        await user.catch_up()
        try:
            reply = await user.phone.call(self.request(kind, user, other, one, two))
        except Refusal as refusal:
            assert refusal.code in _CODES, (kind, refusal)
            return
        if kind in ("create", "direct") and (id := UUID(reply["channel"]["id"])) not in self.channels:
            self.channels.append(id)


_REQUESTS: dict[str, Callable[[UUID, int, UUID, int, int], Request[Any]]] = {
    "create": lambda c, s, u, a, b: ChannelCreate(name="group", nonce=uuid4(), members=[u][: a % 2], open=b % 2 == 0),
    "direct": lambda c, s, u, a, b: ChannelOpenDirect(user=u),
    "join": lambda c, s, u, a, b: ChannelJoin(channel=c),
    "leave": lambda c, s, u, a, b: ChannelLeave(channel=c),
    "add": lambda c, s, u, a, b: ChannelAddMember(channel=c, user=u),
    "remove": lambda c, s, u, a, b: ChannelRemoveMember(channel=c, user=u),
    "update": lambda c, s, u, a, b: ChannelUpdate(channel=c, topic=f"topic {a}", open=b % 2 == 0),
    "end": lambda c, s, u, a, b: ChannelDelete(channel=c),
    "mute": lambda c, s, u, a, b: ChannelMute(channel=c, until=None),
    "say": lambda c, s, u, a, b: MessageSend(channel=c, text=f"#tag {b}", nonce=uuid4()),
    "mention": lambda c, s, u, a, b: MessageSend(channel=c, text="you", nonce=uuid4(), mentions=[u]),
    "reply": lambda c, s, u, a, b: MessageSend(channel=c, text="x" * 300, nonce=uuid4(), reply_to=s, silent=True),
    "forward": lambda c, s, u, a, b: MessageForward(channel=c, source=c, seq=s, nonce=uuid4()),
    "edit": lambda c, s, u, a, b: MessageEdit(channel=c, seq=s, text=f"edit {b}", mentions=[u][: b % 2]),
    "delete": lambda c, s, u, a, b: MessageDelete(channel=c, seq=s),
    "hide": lambda c, s, u, a, b: MessageDelete(channel=c, seq=s, for_all=False),
    "delete_many": lambda c, s, u, a, b: MessageDeleteMany(channel=c, seqs=[s, max(1, s - 1)], for_all=b % 2 == 0),
    "pin": lambda c, s, u, a, b: MessagePin(channel=c, seq=s),
    "unpin": lambda c, s, u, a, b: MessageUnpin(channel=c, seq=s),
    "react": lambda c, s, u, a, b: ReactionAdd(channel=c, seq=s, emoji=_EMOJI[a % 2]),
    "unreact": lambda c, s, u, a, b: ReactionRemove(channel=c, seq=s, emoji=_EMOJI[a % 2]),
    "read": lambda c, s, u, a, b: MessageMarkRead(channel=c, seq=s),
    "delivered": lambda c, s, u, a, b: MessageMarkDelivered(channel=c, seq=s),
    "draft": lambda c, s, u, a, b: DraftSave(channel=c, text=f"draft {b}"),
    "clear": lambda c, s, u, a, b: DraftClear(channel=c),
    "block": lambda c, s, u, a, b: UserBlock(user=u),
    "unblock": lambda c, s, u, a, b: UserUnblock(user=u),
}
_OFTEN = ["say", "say", "mention", "reply", "add", "join", "edit", "react", "hide", "delete", "read", "unblock"]

_KINDS = [*_REQUESTS, *_OFTEN, *_OFTEN, "away", "back", "back"]

Step = tuple[str, int, int, int, int]


def steps(random: Random) -> list[Step]:
    """What happens at once."""
    count = random.randint(3, 15)
    numbers = [[random.randrange(below) for below in (4, 3, 8, 16)] for _ in range(count)]
    return [(random.choice(_KINDS), *four) for four in numbers]  # type: ignore[misc]


@pytest.fixture
async def servers(start: Starter) -> list[Server]:
    return await nodes(start, acquire_timeout=10, **UNBOUND)


@settings(
    max_examples=25,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # a world is too slow to look for the shortest way to a failure
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32))
async def test_stale_state_and_events_are_fresh_state(servers: list[Server], seed: int) -> None:
    random = Random(seed)
    batches = [steps(random) for _ in range(15)]
    tokens = [await registered(servers[0]) for _ in range(3)]
    users = [User(servers, one.account, one.access) for one in (*tokens, tokens[0])]
    world = World(users)
    for number, user in enumerate(users):
        await user.open(number % 2)
    await world.do("create", users[0], users[1], 1, 0)
    try:
        for number, batch in enumerate(batches):
            await asyncio.gather(*(in_order(world, [one for one in batch if one[1] == who]) for who in range(4)))
            if number % 3 == 2 or number == len(batches) - 1:
                for user in users:
                    if user.phone is None:
                        await user.come_back(number % 2)
                    assert await user.settled(number % 2) == user.model.state()
    finally:
        for user in users:
            user.go_away()


async def in_order(world: World, batch: list[Step]) -> None:
    """What one person does, while the others do other things."""
    for kind, who, whom, one, two in batch:
        other = who if kind == "direct" and whom == 2 else (who % 3 + 1 + whom % 2) % 3
        await world.do(kind, world.users[who], world.users[other], one, two)
