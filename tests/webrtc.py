"""Participants with real sound and data: aiortc's peer connections, whose signals go through the server."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Self
from unittest.mock import patch
from uuid import UUID

import msgspec
from aiortc import (
    AudioStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from protocol.call import CallAnswer, CallSignal, Relay
from protocol.client.connection import Disconnected
from protocol.voice import Seated, VoiceSignalled
from tests.conftest import Person

_SOON = 10.0


def only_here() -> Any:
    """Peers find each other on this machine alone."""
    return patch("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])


class Description(msgspec.Struct):
    """What is in a signal."""

    type: str
    sdp: str


class Peer:
    """Somebody in a call, with a connection to one other."""

    def __init__(self, person: Person, seated: Seated, relay: Relay | None = None) -> None:
        self.person, self.seated = person, seated
        servers = [RTCIceServer(one.urls, one.username, one.credential) for one in relay.servers] if relay else []
        policy = RTCIceTransportPolicy.RELAY if relay else RTCIceTransportPolicy.ALL
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=servers, iceTransportPolicy=policy))
        self.said: asyncio.Queue[str] = asyncio.Queue()
        self.heard: list[Any] = []
        self.channel: Any = None
        self._to: UUID | None = None
        self._settled = asyncio.Event()
        self.connection.on("track", self.heard.append)
        self.connection.on("datachannel", self._talk)
        self._task = asyncio.create_task(self._listen())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self.connection.close()

    def _talk(self, channel: Any) -> None:
        self.channel = channel
        channel.on("message", self.said.put_nowait)

    # Signals

    async def offer(self, to: UUID) -> None:
        """Agree anew with the other one on what there is."""
        self._settled.clear()
        await self.connection.setLocalDescription(await self.connection.createOffer())
        await self._signal(to)
        async with asyncio.timeout(_SOON):
            await self._settled.wait()

    async def call(self, to: UUID) -> None:
        """The first offer: sound, and a channel for data."""
        self.connection.addTrack(AudioStreamTrack())
        self._talk(self.connection.createDataChannel("chat"))
        await self.offer(to)

    async def _signal(self, to: UUID) -> None:
        mine = self.connection.localDescription
        data = msgspec.json.encode(Description(mine.type, mine.sdp)).decode()
        assert self.seated.call is not None
        await self.person.call(CallSignal(channel=self.seated.channel, call=self.seated.call, to=to, data=data))

    async def _listen(self) -> None:
        while True:
            signal = await self.person.wait_for(VoiceSignalled, 3600)
            told = msgspec.json.decode(signal.data, type=Description)
            await self.connection.setRemoteDescription(RTCSessionDescription(told.sdp, told.type))
            if told.type == "offer":
                if all(one.track is None for one in self.connection.getSenders()):
                    self.connection.addTrack(AudioStreamTrack())
                await self.connection.setLocalDescription(await self.connection.createAnswer())
                await self._signal(signal.seat)
            self._settled.set()

    async def come_back(self, person: Person) -> None:
        """The same device with another socket."""
        with contextlib.suppress(Disconnected):
            await self._task
        assert self.seated.call is not None
        self.person = person
        again = await person.call(CallAnswer(channel=self.seated.channel, call=self.seated.call))
        assert (again.seat, again.back) == (self.seated.seat, True)
        self._task = asyncio.create_task(self._listen())

    # What comes through

    async def connected(self) -> None:
        """There is a way."""
        async with asyncio.timeout(_SOON):
            while self.connection.connectionState != "connected" or self.channel is None:
                await asyncio.sleep(0.01)

    async def hears(self, count: int = 3, track: int = 0) -> None:
        """Sound comes from the other one."""
        async with asyncio.timeout(_SOON):
            while len(self.heard) <= track:
                await asyncio.sleep(0.01)
            for _ in range(count):
                assert (await self.heard[track].recv()).samples

    async def says(self, other: Peer, text: str) -> None:
        """Data goes to the other one."""
        async with asyncio.timeout(_SOON):
            while self.channel.readyState != "open":
                await asyncio.sleep(0.01)
            self.channel.send(text)
            assert await other.said.get() == text

    @property
    def ways(self) -> set[str]:
        """What kind of address it sends from, and to."""
        transports = {one.transport.transport for one in self.connection.getSenders()}
        pairs = [pair for one in transports for pair in one._connection._nominated.values()]
        return {pair.local_candidate.type for pair in pairs} | {pair.remote_candidate.type for pair in pairs}
