"""One client of one person: a socket that is sometimes away, and what it knows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any
from uuid import UUID

from protocol.channel import ChannelGet
from protocol.draft import DraftList
from protocol.error import Refusal, refusal
from protocol.frame import Failure, Request
from protocol.friend import FriendList
from protocol.message import MessageHistory, MessageMarkDelivered, MessageMarkRead
from protocol.notification import NotificationList, NotificationSettings
from protocol.poll import PollGet
from protocol.presence import PresenceUnwatch, PresenceWatch
from protocol.scheduled import ScheduledList
from protocol.session import SessionOpen
from server import Server
from tests.chat import Phone
from tests.state.view import View

Build = Callable[["Device"], Request[Any] | None]
_MARKS = (MessageMarkRead, MessageMarkDelivered)
_FIRST = 50  # as many as a process keeps in memory


class Device:
    """Does one thing after another, whatever comes meanwhile."""

    def __init__(self, servers: list[Server], account: UUID, token: str, *, whole: bool) -> None:
        self._servers, self.account, self._token = servers, account, token
        self.view = View(account, whole=whole)
        self.presences: dict[UUID, dict[str, Any]] = {}
        self.phone: Phone | None = None
        self.busy = asyncio.Lock()
        self._taken = 0

    @property
    def here(self) -> Phone:
        assert self.phone is not None
        return self.phone

    # Coming and going

    async def open(self, node: int) -> dict[str, Any]:
        """For the first time; all is read."""
        self.phone, self._taken = await Phone.connect(self._servers[node].url), 0
        reply, at = await self._ask(SessionOpen(token=self._token))
        view = self.view
        view.cursors[view.account] = reply["head"]
        for membership in reply["channels"]:
            view.enter(membership)
        # What has come before the reply may be in it.
        early = [one for one in self.here.events[:at] if "seq" in one]
        assert all(one["seq"] <= view.cursors.get(one["stream"], 2**60) for one in early)
        self._taken = at
        for channel in list(view.memberships):
            await self._read(channel)
        if view.whole:
            view.drafts = {one["channel"]: one for one in (await self._call(DraftList()))["drafts"]}
            view.scheduled = {one["id"]: one for one in (await self._call(ScheduledList(limit=100)))["scheduled"]}
            view.have_been_notified(await self._call(NotificationList(limit=100)))
            settings = (await self._call(NotificationSettings()))["settings"]
            view.levels = {one["channel"]: one for one in settings}
            view.friends = {one["user"]: one for one in (await self._call(FriendList()))["friends"]}
        await self.catch_up()
        return reply

    def go_away(self) -> None:
        """Without a word, and without having looked at what has come last."""
        if self.phone is not None:
            self.phone.abort()
        self.phone = None

    async def come_back(self, node: int) -> None:
        """Resume, and watch again whom one has watched."""
        self.go_away()
        cursors = {UUID(stream): seq for stream, seq in self.view.cursors.items()}
        self._taken = 0
        self.phone, reply = await Phone.resume(self._servers[node], self._token, cursors)
        await self._take_until(max(self.phone.at_reply.values()))
        cursors_now = self.view.cursors
        assert not {stream for stream in reply["reset"] if stream in cursors_now}
        assert reply["head"] <= cursors_now[self.view.account], "not all of the account's facts came before the reply"
        for one in reply["channels"]:
            known = cursors_now.get(one["channel"]["id"])
            assert known is None or one["head"] <= known, "not all of a channel's facts came before the reply"
        watched, self.presences = list(self.presences), {}
        if watched:
            self._presences(await self._call(PresenceWatch(users=watched)))
        await self.catch_up()

    # What is said and heard

    async def act(self, build: Build, node: int) -> tuple[Request[Any], dict[str, Any]] | None:
        """Ask for something; what was asked and answered, None when it was refused or there is nothing to ask."""
        async with self.busy:
            if self.phone is None:
                await self.come_back(node)
            await self.catch_up()
            frame = build(self)
            if frame is None:
                return None
            try:
                reply, at = await self._ask(frame)
            except Refusal as error:
                assert error.code in ("missing", "forbidden", "conflict", "invalid"), (frame, error)
                return None
            await self._take_until(at)
            self._answered(frame, reply)
            return frame, reply

    def _answered(self, frame: Request[Any], reply: dict[str, Any]) -> None:
        if isinstance(frame, _MARKS) and str(frame.channel) in self.view.counts:
            self.view.counts[str(frame.channel)].counted(reply)
        elif isinstance(frame, PresenceWatch):
            self._presences(reply)
        elif isinstance(frame, PresenceUnwatch):
            for user in frame.users:
                self.presences.pop(user, None)

    async def _ask(self, frame: Request[Any]) -> tuple[dict[str, Any], int]:
        """What is replied, and how many events had come before."""
        number = self.here.ask(frame)[0]
        said = await self.here.answer(number)
        if "error" in said:
            raise refusal(Failure(**said["error"]))
        return dict(said["ok"]), self.here.at_reply[number]

    async def _call(self, frame: Request[Any]) -> dict[str, Any]:
        return (await self._ask(frame))[0]

    async def catch_up(self) -> None:
        """Take in what has come, and ask for what can't be known by that."""
        while True:
            await self._take_until(len(self.here.events))
            unsure = [channel for channel, counts in self.view.counts.items() if counts.unsure]
            if self.view.whole or not unsure:
                return
            for channel in unsure:
                await self._recount(channel)

    async def _take_until(self, end: int) -> None:
        while self._taken < end:
            event = self.here.events[self._taken]
            self._taken += 1
            if "seq" in event:
                entered = self.view.take(event)
                if entered is not None:
                    await self._read(entered)
            elif event["ev"] == "presence.changed" and UUID(event["presence"]["user"]) in self.presences:
                self.presences[UUID(event["presence"]["user"])] = event["presence"]

    async def _recount(self, channel: str) -> None:
        """Ask how one stands."""
        before = self.view.counts[channel]
        before.unsure, head = False, before.head
        try:
            told, at = await self._ask(ChannelGet(channel=UUID(channel)))
        except Refusal:  # one is out of it, as will be told
            return
        await self._take_until(at)
        if told["joined"] and self.view.counts.get(channel) is before:
            assert told["head"] >= head, "what was asked for later is older"
            if not before.counted(told):
                before.unsure = True

    async def _read(self, channel: str) -> None:
        """The messages of a channel: the newest as they are kept in memory, then those before."""
        if not self.view.whole:
            return
        frame = MessageHistory(channel=UUID(channel), limit=_FIRST, known=self.view.cursors[channel])
        try:
            page = await self._call(frame)
            messages, head = page["messages"], page["head"]
            assert head >= frame.known, "older than what was known"
            while page["earlier"]:
                page = await self._call(MessageHistory(channel=frame.channel, before=messages[0]["seq"], limit=_FIRST))
                messages = page["messages"] + messages
        except Refusal:  # one is out of it again, as will be told
            messages, head = [], 2**60
        self.view.have_read(channel, messages, head)
        await self._choices(channel)

    async def _choices(self, channel: str) -> None:
        """What one has chosen in the polls of a channel."""
        for place in self.view.polls():
            if place[0] == channel:
                with contextlib.suppress(Refusal):  # it was taken back, as will be told
                    told = await self._call(PollGet(channel=UUID(channel), seq=place[1]))
                    self.view.chosen[place] = told["chosen"]

    def _presences(self, reply: dict[str, Any]) -> None:
        self.presences.update((UUID(one["user"]), one) for one in reply["presences"])

    async def reach(self, heads: dict[str, int]) -> None:
        """Wait until all that others know has come here, too."""
        async with asyncio.timeout(10):
            await self.catch_up()
            while any(self.view.cursors.get(stream, 0) < head for stream, head in heads.items()):
                await self.here.until(lambda: len(self.here.events) > self._taken)
                await self.catch_up()
