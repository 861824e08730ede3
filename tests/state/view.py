"""What one client knows: read when it opened its session, and changed by every fact that came since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from tests.state.counts import Counts

Message = dict[str, Any]


class View:
    """Of one account; `whole` with messages, drafts and friends, else only how one stands in channels."""

    def __init__(self, account: UUID, *, whole: bool) -> None:
        self.account, self.whole = str(account), whole
        self.cursors: dict[str, int] = {}
        self.memberships: dict[str, dict[str, Any]] = {}
        self.counts: dict[str, Counts] = {}
        self.messages: dict[str, dict[int, Message]] = {}
        self.read_at: dict[str, int] = {}  # the head of a channel when its messages were read
        self.hidden: set[tuple[str, int]] = set()  # of which the channel's stream may tell only later
        self.drafts: dict[str, dict[str, Any]] = {}
        self.scheduled: dict[str, dict[str, Any]] = {}
        self.sent: dict[str, tuple[UUID, int]] = {}
        self.friends: dict[str, dict[str, Any]] = {}
        self.chosen: dict[tuple[str, int], list[int]] = {}
        self.notifications: dict[int, dict[str, Any]] = {}
        self.notified_at = 0  # the head of the account when its notifications were read
        self.notified: dict[str, Any] = {}
        self.levels: dict[str, dict[str, Any]] = {}
        self.rings: dict[str, str] = {}  # the channels of calls that ring

    def take(self, fact: dict[str, Any]) -> str | None:
        """Apply a fact; the channel that was entered, if one was."""
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
        else:
            self._count(fact)
            if self.whole and seq > self.read_at[stream] and (stream, seq) not in self.hidden:
                _CHANGES[kind](fact, self.messages[stream])
        return None

    def enter(self, membership: dict[str, Any]) -> str:
        channel: str = membership["channel"]["id"]
        self.memberships[channel], self.cursors[channel] = membership, membership["head"]
        self.counts[channel] = Counts(membership, membership["head"])
        return channel

    def leave(self, channel: str) -> None:
        for known in (
            self.memberships,
            self.cursors,
            self.counts,
            self.messages,
            self.read_at,
            self.drafts,
            self.levels,
        ):
            known.pop(channel, None)

    def have_read(self, channel: str, messages: Iterable[Message], head: int) -> None:
        """All messages of a channel, true as of a head."""
        self.messages[channel] = {one["seq"]: one for one in messages if (channel, one["seq"]) not in self.hidden}
        self.read_at[channel] = head

    # Facts of the account

    def _message_read(self, fact: dict[str, Any]) -> None:
        self.counts[fact["channel"]].counted(fact)

    def _message_hidden(self, fact: dict[str, Any]) -> None:
        self.counts[fact["channel"]].changed(fact["messages"])
        for seq in fact["messages"]:
            self.hidden.add((fact["channel"], seq))
            self.messages.get(fact["channel"], {}).pop(seq, None)

    def _channel_muted(self, fact: dict[str, Any]) -> None:
        self.memberships[fact["channel"]]["muted_until"] = fact["until"]

    def _draft_saved(self, fact: dict[str, Any]) -> None:
        self.drafts[fact["draft"]["channel"]] = fact["draft"]

    def _draft_cleared(self, fact: dict[str, Any]) -> None:
        self.drafts.pop(fact["channel"], None)

    def _scheduled_saved(self, fact: dict[str, Any]) -> None:
        self.scheduled[fact["scheduled"]["id"]] = fact["scheduled"]

    def _scheduled_cancelled(self, fact: dict[str, Any]) -> None:
        self.scheduled.pop(fact["scheduled"], None)

    def _scheduled_sent(self, fact: dict[str, Any]) -> None:
        assert fact["scheduled"] not in self.sent, "sent twice"
        self.scheduled.pop(fact["scheduled"], None)
        self.sent[fact["scheduled"]] = UUID(fact["channel"]), fact["message"]

    def _scheduled_failed(self, fact: dict[str, Any]) -> None:
        if fact["scheduled"] in self.scheduled:
            self.scheduled[fact["scheduled"]]["failed"] = fact["code"]

    def _friend_requested(self, fact: dict[str, Any]) -> None:
        self.friends[fact["friend"]["user"]] = fact["friend"]

    _friend_added = _friend_requested

    def _friend_removed(self, fact: dict[str, Any]) -> None:
        self.friends.pop(fact["user"], None)

    def _poll_chosen(self, fact: dict[str, Any]) -> None:
        self.chosen[fact["channel"], fact["message"]] = fact["options"]

    def _call_ringing(self, fact: dict[str, Any]) -> None:
        assert fact["call"] not in self.rings and fact["by"] != self.account
        self.rings[fact["call"]] = fact["channel"]

    def _call_stopped(self, fact: dict[str, Any]) -> None:
        self.rings.pop(fact["call"], None)

    def have_been_notified(self, told: dict[str, Any]) -> None:
        """All notifications, true as of a head."""
        self.notifications = {one["id"]: one for one in told["notifications"]}
        self.notified_at, self.notified = told["head"], told["counts"]

    def _notification_created(self, fact: dict[str, Any]) -> None:
        assert fact["notification"]["id"] == fact["seq"]
        if fact["seq"] > self.notified_at:
            self.notifications[fact["seq"]], self.notified = fact["notification"], fact["counts"]

    def _notification_read(self, fact: dict[str, Any]) -> None:
        if fact["seq"] > self.notified_at:
            self.notified = fact["counts"]
            for one in self.notifications.values():
                one["read"] |= one["id"] <= fact["until"] and fact["channel"] in (None, one["channel"])

    def _notification_removed(self, fact: dict[str, Any]) -> None:
        if fact["seq"] > self.notified_at:
            self.notified = fact["counts"]
            for id in fact["notifications"]:
                self.notifications.pop(id, None)

    def _notification_configured(self, fact: dict[str, Any]) -> None:
        setting = fact["setting"]
        self.levels[setting["channel"]] = setting
        if setting["level"] is None:
            del self.levels[setting["channel"]]

    # Facts of a channel

    def _channel(self, fact: dict[str, Any]) -> None:
        channel = self.memberships[fact["stream"]]["channel"]
        if fact["ev"] == "channel.updated":
            self.memberships[fact["stream"]]["channel"] = fact["channel"]
        elif fact["ev"] == "channel.member_left":
            channel.update(members=fact["members"], owner=fact["owner"])
        else:
            channel["members"] = fact["members"]

    def _count(self, fact: dict[str, Any]) -> None:
        counts = self.counts[fact["stream"]]
        if fact["ev"] == "message.created" and fact["message"]["author"] != self.account:
            counts.said(fact["seq"], to_me=self.account in fact["message"].get("mentions", []))
        elif fact["ev"] == "message.edited":
            counts.changed([fact["message"]["seq"]], at=fact["seq"])
        elif fact["ev"] == "message.deleted":
            counts.changed(fact["messages"], at=fact["seq"])

    # As it can be compared

    def state(self) -> dict[str, Any]:
        """All of it; who holds messages counts them."""
        standings = {channel: self._standing(channel) for channel in self.memberships}
        if not self.whole:
            return {"channels": standings, "heads": self.cursors}
        return {
            "channels": {channel: known | self._left(channel) for channel, known in standings.items()},
            "messages": {channel: plain(self.messages[channel].values()) for channel in self.memberships},
            "drafts": self.drafts,
            "scheduled": self.scheduled,
            "friends": self.friends,
            "chosen": {place: self.chosen.get(place, []) for place in self.polls()},
            "notifications": self._notified_of(),
            "levels": self.levels,
            "rings": self.rings,
            "heads": self.cursors,
        }

    def _notified_of(self) -> list[dict[str, Any]]:
        """The newest first; what is counted is what is there."""
        unread = [one for one in self.notifications.values() if not one["read"]]
        assert self.notified["unread"] == len(unread)
        kinds = {one["kind"]: one["unread"] for one in self.notified["kinds"]}
        assert kinds == Counter(one["kind"] for one in unread)
        return [self.notifications[id] for id in sorted(self.notifications, reverse=True)]

    def _standing(self, channel: str) -> dict[str, Any]:
        return standing(self.memberships[channel]) | self.counts[channel].standing

    def there(self, channel: str) -> list[Message]:
        """The messages that were not taken back."""
        return [one for _, one in sorted(self.messages.get(channel, {}).items()) if not one.get("deleted_at")]

    def polls(self) -> list[tuple[str, int]]:
        """Where there is something to choose."""
        return [(channel, one["seq"]) for channel in self.memberships for one in self.there(channel) if "poll" in one]

    def _left(self, channel: str) -> dict[str, Any]:
        there = self.there(channel)
        unread = [one for one in there if one["seq"] > self.counts[channel].read and one["author"] != self.account]
        return {
            "unread": len(unread),
            "mentions": len([one for one in unread if self.account in one.get("mentions", [])]),
            "last": preview(there[-1] if there else None),
        }


def standing(membership: dict[str, Any]) -> dict[str, Any]:
    """A membership, but for where its stream is and what was said last."""
    return {key: value for key, value in membership.items() if key not in ("head", "last")}


def plain(messages: Iterable[Message]) -> list[Message]:
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


# What facts make of messages


def _created(fact: dict[str, Any], messages: dict[int, Message]) -> None:
    messages[fact["seq"]] = fact["message"]


def _edited(fact: dict[str, Any], messages: dict[int, Message]) -> None:
    if fact["message"]["seq"] in messages:
        messages[fact["message"]["seq"]] = fact["message"]


def _deleted(fact: dict[str, Any], messages: dict[int, Message]) -> None:
    for seq in fact["messages"]:
        if seq in messages:
            kept = {key: messages[seq][key] for key in ("seq", "author", "sent_at")}
            messages[seq] = {**kept, "deleted_at": True}


def _pinned(fact: dict[str, Any], messages: dict[int, Message]) -> None:
    if fact["message"] in messages:
        messages[fact["message"]]["pinned_at"] = fact["at"]


def _unpinned(fact: dict[str, Any], messages: dict[int, Message]) -> None:
    if fact["message"] in messages:
        messages[fact["message"]].pop("pinned_at", None)


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


def _reaction_removed(fact: dict[str, Any], messages: dict[int, Message]) -> None:
    if fact["message"] not in messages:
        return
    reactions = messages[fact["message"]].get("reactions", [])
    for found in [one for one in reactions if one["emoji"] == fact["emoji"]]:
        found["count"] = fact["count"]
        found["users"] = [user for user in found["users"] if user != fact["user"]]
        if not found["count"]:
            reactions.remove(found)


def _voted(fact: dict[str, Any], messages: dict[int, Message]) -> None:
    if fact["message"] in messages:
        poll = messages[fact["message"]]["poll"]
        options = [one | {"count": count} for one, count in zip(poll["options"], fact["counts"], strict=True)]
        messages[fact["message"]]["poll"] = poll | {"options": options, "voters": fact["voters"]}


def _poll_closed(fact: dict[str, Any], messages: dict[int, Message]) -> None:
    _voted(fact, messages)
    if fact["message"] in messages:
        messages[fact["message"]]["poll"]["closed_at"] = fact["at"]


_CHANGES = {
    "message.created": _created,
    "message.edited": _edited,
    "message.deleted": _deleted,
    "message.pinned": _pinned,
    "message.unpinned": _unpinned,
    "reaction.added": _reaction_added,
    "reaction.removed": _reaction_removed,
    "poll.voted": _voted,
    "poll.closed": _poll_closed,
    "call.changed": _edited,
}
