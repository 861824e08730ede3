"""A client that listens: it keeps cursors, resumes from them after every disconnect, and writes down what it hears."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from protocol.session import Cursor, SessionOpen, SessionPing, SessionResume
from tests.faults.history import Heard, Reader, Recorder
from tests.faults.wire import GoneError, RefusedError, Wire

PING_EVERY = 0.7
PONG_WITHIN = 1.5


class Listener:
    """One session that goes on, over as many sockets as it takes."""

    def __init__(self, name: str, user: str, token: str, urls: Sequence[str], recorder: Recorder, seed: int) -> None:
        self.log: Reader = recorder.reader(name, user)
        self.cursors: dict[str, int] = {}
        self.resumes = 0
        self._token, self._urls, self._at = token, urls, 0
        self._now, self._random = recorder.now, random.Random(seed)
        self._wire: Wire | None = None
        self.there = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled."""
        try:
            while True:
                with contextlib.suppress(GoneError, RefusedError):
                    await self._connect(self._urls[self._at % len(self._urls)])
                self.there.clear()
                self._at += 1
                await asyncio.sleep(self._random.uniform(0.02, 0.15))
        finally:
            await self._leave()

    async def _connect(self, url: str) -> None:
        """Listen over one socket until it is of no use."""
        self._wire = wire = await Wire.open(url, self._hear)
        try:
            if self.cursors:
                cursors = [Cursor(stream=UUID(stream), seq=seq) for stream, seq in self.cursors.items()]
                frame = SessionResume(token=self._token, cursors=cursors, wants=["messages", "receipts"])
                await wire.ask(frame, 10.0, self._resumed)
            else:
                opened = SessionOpen(token=self._token, wants=["messages", "receipts"])
                await wire.ask(opened, 10.0, self._opened)
            self.there.set()
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(wire.closed.wait(), PING_EVERY)
                await wire.ask(SessionPing(), PONG_WITHIN)
        finally:
            await wire.close()

    async def _leave(self) -> None:
        if self._wire is not None:
            await self._wire.close()

    def _opened(self, reply: dict[str, Any]) -> None:
        self._begin(reply["account"], reply["head"])
        for one in reply["channels"]:
            self._begin(one["channel"]["id"], one["head"])

    def _resumed(self, reply: dict[str, Any]) -> None:
        self.resumes += 1
        for stream in reply["reset"]:
            self.log.heard.append(Heard(t=self._now(), kind="reset", stream=stream))
            self._end(stream)
        for one in reply["channels"]:
            if one["channel"]["id"] not in self.cursors:
                self._begin(one["channel"]["id"], one["head"])
        if reply["account"] not in self.cursors:
            self._begin(reply["account"], reply["head"])

    def _begin(self, stream: str, head: int) -> None:
        self.cursors[stream] = head
        self.log.heard.append(Heard(t=self._now(), kind="start", stream=stream, seq=head))

    def _end(self, stream: str) -> None:
        if self.cursors.pop(stream, None) is not None:
            self.log.heard.append(Heard(t=self._now(), kind="end", stream=stream))

    def _hear(self, event: dict[str, Any]) -> None:
        ev = event.pop("ev")
        if "seq" in event and "stream" in event:
            self._fact(ev, event.pop("stream"), event.pop("seq"), event)
        elif ev == "message.receipt":
            self.log.heard.append(Heard(t=self._now(), kind="passing", stream=event["channel"], ev=ev, body=event))

    def _fact(self, ev: str, stream: str, seq: int, body: dict[str, Any]) -> None:
        self.log.heard.append(Heard(t=self._now(), kind="fact", stream=stream, seq=seq, ev=ev, body=body))
        if stream in self.cursors:
            self.cursors[stream] = max(self.cursors[stream], seq)
        if ev == "channel.joined":
            channel = body["membership"]["channel"]["id"]
            if channel not in self.cursors:
                self._begin(channel, body["membership"]["head"])
        elif ev == "channel.left":
            self._end(body["channel"])
