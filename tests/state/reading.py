"""Everything that one account is told when it asks anew, in every way in which it can be asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from protocol.channel import ChannelGet, ChannelList, ChannelMembers
from protocol.frame import Request
from protocol.message import (
    MessageAround,
    MessageGet,
    MessageHistory,
    MessagePins,
    MessageReaders,
    MessageRevisions,
)
from protocol.poll import PollGet, PollVoters
from protocol.presence import PresenceGet, PresenceSet
from protocol.reaction import ReactionList
from protocol.user import UserBlocked
from tests.state.device import Device
from tests.state.view import Message, plain, preview, standing
from tests.state.words import Words

_SOON = 8.0
_FEW = 2  # so that there are pages


class Reading:
    """What one client that came anew was told, and questions whose answers follow from that."""

    def __init__(self, device: Device, channels: list[dict[str, Any]]) -> None:
        self._device, self.account, self._view = device, device.account, device.view
        self._told = channels
        self.state = device.view.state()
        outline = {channel: standing(one) for channel, one in self._view.memberships.items()}
        self.outline = {"channels": outline, "heads": self.state["heads"]}
        self.blocked: list[UUID] = []
        self.choice: dict[str, Any] = {}

    @classmethod
    async def of(cls, device: Device, node: int) -> Reading:
        """Open a session and read everything."""
        reply = await device.open(node)
        one = cls(device, reply["channels"])
        assert reply["next"] is None
        for told in reply["channels"]:
            channel = told["channel"]["id"]
            assert one.state["channels"][channel] == standing(told) | {"last": preview(told["last"])}
        one.blocked = [UUID(user["id"]) for user in (await one._call(UserBlocked()))["users"]]
        one.choice = await one._call(PresenceSet())
        return one

    async def _call(self, frame: Request[Any]) -> dict[str, Any]:
        return await self._device.here.call(frame)

    # Answers that follow from each other

    def apart(self, other: Reading) -> bool:
        """Whether one of two blocks the other."""
        return other.account in self.blocked or self.account in other.blocked

    async def judge(self, words: Words, readings: Sequence[Reading]) -> None:
        """Ask in all other ways for what is known."""
        await self._judge_list()
        for channel in self._view.memberships:
            members = await self._pages(ChannelMembers(channel=UUID(channel), limit=_FEW), "users")
            inside = {str(one.account) for one in readings if channel in one.state["channels"]}
            assert {one["id"] for one in members} == inside and len(members) == len(inside)
            assert self._view.memberships[channel]["channel"]["members"] == len(inside)
            assert standing(await self._call(ChannelGet(channel=UUID(channel)))) == self.outline["channels"][channel]
            await self._judge_messages(channel)
            there = self._view.there(channel)
            await asyncio.gather(*(self._judge_message(UUID(channel), one, words) for one in there[-8:]))
            await asyncio.gather(*(self._judge_readers(channel, one, readings) for one in there[-3:]))

    async def _judge_list(self) -> None:
        listed = await self._pages(ChannelList(limit=_FEW), "channels")
        assert listed == self._told
        assert [one["channel"]["id"] for one in listed] == list(self._view.memberships)

    async def _pages(self, frame: Request[Any], field: str) -> list[dict[str, Any]]:
        found, page = [], await self._call(frame)
        while True:
            found += page[field]
            if page["next"] is None:
                return found
            page = await self._call(msgspec.structs.replace(frame, after=page["next"]))

    async def _judge_messages(self, channel: str) -> None:
        known, id = self.state["messages"][channel], UUID(channel)
        pins = await self._call(MessagePins(channel=id))
        assert plain(pins["messages"]) == [one for one in known if one.get("pinned_at")]
        head = self._view.cursors[channel]
        for seq, limit in ((1, 3), (head // 2 + 1, 4), (max(head, 1), 1), (head + 1, 100)):
            await self._judge_page(id, known, seq, limit)

    async def _judge_page(self, channel: UUID, known: list[Message], seq: int, limit: int) -> None:
        before, behind = [m for m in known if m["seq"] < seq], [m for m in known if m["seq"] >= seq]
        half = limit // 2
        around, earlier, later = await asyncio.gather(
            self._call(MessageAround(channel=channel, seq=seq, limit=limit)),
            self._call(MessageHistory(channel=channel, before=seq, limit=limit)),
            self._call(MessageHistory(channel=channel, after=seq - 1, limit=limit)),
        )
        assert plain(around["messages"]) == before[max(0, len(before) - half) :] + behind[: limit - half]
        assert (around["earlier"], around["later"]) == (len(before) > half, len(behind) > limit - half)
        assert plain(earlier["messages"]) == before[-limit:] and earlier["earlier"] == (len(before) > limit)
        assert plain(later["messages"]) == behind[:limit] and later["later"] == (len(behind) > limit)

    async def _judge_message(self, channel: UUID, message: Message, words: Words) -> None:
        """One that was not taken back."""
        seq = message["seq"]
        assert plain([await self._call(MessageGet(channel=channel, seq=seq))]) == plain([message])
        reactions = await self._pages(ReactionList(channel=channel, seq=seq, limit=_FEW), "reactions")
        counted = {one["emoji"]: one["users"] for one in message.get("reactions", [])}
        assert {emoji: len(users) for emoji, users in counted.items()} == {
            one["emoji"]: one["count"] for one in message.get("reactions", [])
        }
        listed: dict[str, list[str]] = {}
        for one in reactions:
            listed.setdefault(one["emoji"], []).append(one["user"])
        assert listed == counted
        if "poll" in message:
            await self._judge_poll(channel, seq, message["poll"])
        former = (await self._call(MessageRevisions(channel=channel, seq=seq)))["revisions"]
        if "call" in message:
            assert message["call"]["ended_at"] and "text" not in message
            return
        words.judge(channel, seq, message["text"], [one["text"] for one in former])

    async def _judge_poll(self, channel: UUID, seq: int, poll: dict[str, Any]) -> None:
        """By who has chosen what, where that is told."""
        told = await self._call(PollGet(channel=channel, seq=seq))
        assert (told["poll"], told["chosen"]) == (poll, self._view.chosen[str(channel), seq])
        if poll["anonymous"]:
            return
        votes = await self._pages(PollVoters(channel=channel, seq=seq, limit=_FEW), "votes")
        chosen = {one["user"]: one["options"] for one in votes}
        assert (len(chosen), chosen.get(str(self.account), [])) == (poll["voters"], told["chosen"])
        for number, option in enumerate(poll["options"]):
            assert option["count"] == sum(number in one for one in chosen.values())

    async def _judge_readers(self, channel: str, message: Message, readings: Sequence[Reading]) -> None:
        found = await self._call(MessageReaders(channel=UUID(channel), seq=message["seq"]))
        inside = [(one, one.state["channels"][channel]) for one in readings if channel in one.state["channels"]]
        got = [
            (one, how)
            for one, how in inside
            if str(one.account) != message["author"] and how["delivered"] >= message["seq"]
        ]
        if self.state["channels"][channel]["peer"] is not None and any(self.apart(one) for one, _ in inside):
            got = []
        assert {one["user"]: (one["delivered"], one["read"]) for one in found["readers"]} == {
            str(one.account): (how["delivered"], how["read"]) for one, how in got
        }
        assert found["delivered"] == len(got)
        assert found["read"] == sum(how["read"] >= message["seq"] for _, how in got)

    def judge_presence(self, other: Reading, shown: dict[str, Any]) -> None:
        """How somebody who is there is seen, by what both have chosen."""
        assert shown["user"] == str(other.account)
        if not self.apart(other) and other.choice["status"] != "invisible":
            assert shown == {"user": shown["user"], "last_seen": None} | {
                key: other.choice[key] for key in ("status", "text")
            }
            return
        assert (shown["status"], shown["text"]) == ("offline", "")
        seen = not self.apart(other) and other.choice["show_last_seen"] and self.choice["show_last_seen"]
        assert (shown["last_seen"] is not None) == seen


async def presences_settle(devices: Sequence[Device], asker: Sequence[Device] = ()) -> None:
    """Wait until what was told of those who are watched is what is answered, there or on other nodes."""
    for device in devices:
        if device.presences:
            other = next((one for one in asker if one.account == device.account), device)
            await _settles(device, other)


async def _settles(device: Device, asker: Device) -> None:
    told: dict[UUID, dict[str, Any]] = {}
    try:
        async with asyncio.timeout(_SOON):
            while told != device.presences:
                users = list(device.presences)
                told = {
                    UUID(one["user"]): one for one in (await asker.here.call(PresenceGet(users=users)))["presences"]
                }
                await device.catch_up()
                if told != device.presences:
                    await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"told {device.presences}, answered {told}") from None
