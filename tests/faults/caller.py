"""A client that asks: it comes back after every disconnect, until it knows what became of its request."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from protocol.frame import Request
from protocol.message import MessageHistory
from protocol.session import SessionOpen
from tests.faults.history import Did, Entry, Recorder
from tests.faults.wire import GoneError, RefusedError, Wire

GIVE_UP = 45.0  # seconds after which even the most patient client stays with `info`


class Caller:
    """One client of one account, at home at one node and a guest at the others."""

    def __init__(self, name: str, user: str, token: str, urls: Sequence[str], recorder: Recorder, seed: int) -> None:
        self.name, self.user = name, user
        self._token, self._urls, self._at = token, urls, 0
        self._recorder, self._random = recorder, random.Random(seed)
        self._wire: Wire | None = None
        self._opening = asyncio.Lock()

    async def do(self, f: Did, frame: Request[Any], channel: UUID, **fields: Any) -> dict[str, Any] | None:
        """Ask until the answer is known; None for no."""
        nonce = str(getattr(frame, "nonce", uuid4()))
        until = self._recorder.now() + GIVE_UP
        while self._recorder.now() < until:
            wire = await self.wire()
            self._note("invoke", f, channel, nonce, **fields)
            try:
                reply = await wire.ask(frame)
            except GoneError as gone:
                self._note("info", f, channel, nonce, **fields | {"text": str(gone)})
                await self.drop(wire)
            except RefusedError as refused:
                told = {**fields, "text": refused.code}
                self._note("info" if refused.temporary else "fail", f, channel, nonce, **told)
                if not refused.temporary:
                    return None
                await asyncio.sleep(self._random.uniform(0.05, 0.25))
            else:
                self._note("ok", f, channel, nonce, **fields | outcome(f, frame, reply, fields))
                return reply
        return None

    def _note(self, type: Any, f: Did, channel: UUID, nonce: str, **fields: Any) -> None:
        given: dict[str, Any] = {"user": self.user} | fields
        now, where = self._recorder.now(), str(channel)
        self._recorder.note(Entry(t=now, client=self.name, f=f, channel=where, nonce=nonce, type=type, **given))

    async def wire(self) -> Wire:
        """An open session, here or elsewhere, however long that takes."""
        async with self._opening:
            while self._wire is None or self._wire.closed.is_set():
                url = self._urls[self._at % len(self._urls)]
                try:
                    self._wire = await self._open(url)
                except (GoneError, RefusedError) as error:
                    if isinstance(error, RefusedError) and not error.temporary:
                        raise
                    self._at += 1
                    await asyncio.sleep(self._random.uniform(0.02, 0.15))
            return self._wire

    async def _open(self, url: str) -> Wire:
        wire = await Wire.open(url)
        try:
            await wire.ask(SessionOpen(token=self._token, wants=[]))
        except BaseException:
            await wire.close()
            raise
        return wire

    async def drop(self, wire: Wire) -> None:
        """This one is of no use any more; try the next node."""
        if self._wire is wire:
            self._wire, self._at = None, self._at + 1
        await wire.close()

    async def close(self) -> None:
        """Leave."""
        if self._wire is not None:
            await self._wire.close()


def outcome(f: Did, frame: Request[Any], reply: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """What the reply says about a place."""
    if isinstance(frame, MessageHistory):
        page = [one["seq"] for one in reply["messages"]]
        shown = fields["seq"] if f == "look" and _shows(frame, reply, fields) else 0
        return {"seq": int(reply["head"]) if f == "read" else shown, "page": page}
    return {"seq": int(reply["read"] if f == "mark" else reply.get("seq", 0))}


def _shows(frame: MessageHistory, reply: dict[str, Any], fields: dict[str, Any]) -> bool:
    """Whether a page is as new as what was looked for, and has it in these words, if it reaches back so far."""
    texts = {one["seq"]: one.get("text", "") for one in reply["messages"]}
    if reply["head"] < fields["seq"]:
        return False
    if fields["target"] in texts:
        return bool(texts[fields["target"]] == fields["text"])
    return frame.after is None and len(texts) == frame.limit and min(texts) > fields["target"]
