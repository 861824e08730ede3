"""Hidden means absent: whoever does not see a channel is sent nothing of it, and cannot tell it from none at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import msgspec

from protocol.channel import ChannelCreate, ChannelDelete, ChannelReorder, ChannelUpdate
from protocol.frame import Request
from protocol.message import MessageDelete, MessageEdit, MessagePin, MessageSend
from protocol.permission import PermissionSet
from protocol.reaction import ReactionAdd
from protocol.typing import TypingStart
from server.router import id_fields
from storage.ids import new_id
from storage.pool import Pool, Transaction
from tests.authorization.play import play
from tests.authorization.sample import samples
from tests.authorization.talk import CLOSED
from tests.authorization.world import World

# What lea, cal and max see, and others in the club do not.
_FEW = {"lea", "cal", "max"}


def _deeds(world: World) -> Iterator[tuple[str, Request[Any], set[str]]]:
    """What is done in the attic and to it, by whom, and who hears of it besides."""
    marks, space, attic = world.marks, world.spaces["club"].id, world.channels["attic"].id
    words = marks.private("attic", "words")
    yield "max", MessageSend(channel=attic, text=f"{words} #{words}", nonce=uuid4(), mentions=[world.lea.id]), _FEW
    yield "max", MessageEdit(channel=attic, seq=2, text=words), _FEW
    yield "max", MessagePin(channel=attic, seq=12), _FEW
    yield "max", ReactionAdd(channel=attic, seq=1, emoji=words), _FEW
    yield "max", MessageDelete(channel=attic, seq=2), _FEW
    yield "lea", TypingStart(channel=attic), _FEW - {"lea"}
    yield "max", ChannelUpdate(channel=attic, name=words, topic=words, description=words, slow=5), _FEW
    yield "max", PermissionSet(channel=attic, role=world.spaces["club"].roles["mods"], allow=["react"]), set()
    yield "max", ChannelCreate(name=words, nonce=uuid4(), space=space, private=True), {"cal", "max"}
    yield "cal", ChannelReorder(space=space, channels=[attic], parent=world.channels["nook"].id), _FEW
    yield "max", ChannelDelete(channel=attic), _FEW


async def run(world: World) -> None:
    """Do all that, and see what everybody was sent."""
    for who, frame, hear in _deeds(world):
        world.touched = True
        await world.ask(who, frame)
        await world.memory.settle()
        heard = await world.heard()
        assert heard.keys() == hear, f"{frame}: {heard.keys()} hear of it, not {hear}"
        _check(world, heard)
        if isinstance(frame, MessageSend):
            await _news(world, frame.channel)
    await world.reset()


async def _news(world: World, channel: UUID) -> None:
    """Where there is something new is told to all, but only of what they see."""
    outlines = world.server.outlines
    outlines._lasts.clear()
    await outlines._tell_news(world.server.streams.spaces)
    heard = await world.heard()
    _check(world, heard)
    told = {name for name, messages in heard.items() if str(channel).encode() in b"".join(messages)}
    assert told == _FEW, f"{told} are told that there is something new"
    assert "tom" in heard


def _check(world: World, heard: dict[str, list[bytes]]) -> None:
    for name, messages in heard.items():
        leaks = world.marks.leaks(b"\n".join(messages), world.sees(name), ())
        assert not leaks and not any(one.startswith(CLOSED) for one in messages), f"{name} is sent {leaks}"


# Errors


def asking(world: World) -> Iterator[tuple[str, str, Request[Any]]]:
    """Every op that takes the id of a channel, and in which field."""
    for name, op in sorted(world.server.router.ops.items()):
        for field, of in id_fields(op.frame):
            for about, sample in samples(name).items() if of == "channel" else ():
                frame = sample.frame(world)
                if getattr(frame, field) not in (None, []) and (not about or sample.in_space):
                    yield f"{name} {field} {about}", field, frame
                    break


async def compare(world: World, field: str, frame: Request[Any], hidden: str) -> tuple[Any, Any]:
    """What tom is told about a channel that he does not see, and about none; and what is asked of the database."""
    found = []
    for id in (world.channels[hidden].id, new_id()):
        value = [id] if isinstance(getattr(frame, field), list) else id
        if hasattr(frame, "nonce"):
            frame = msgspec.structs.replace(frame, nonce=uuid4())
        socket = await world.speaking(world.tom.access(world.server))
        with _counted() as asked:
            played = await play(socket, msgspec.structs.replace(frame, **{field: value}))
        world.keep(world.tom.access(world.server), socket)
        assert played.reply is not None
        found.append((played.reply.body, asked))
    return found[0], found[1]


@contextmanager
def _counted() -> Iterator[list[str]]:
    """Every query, by its beginning."""
    asked: list[str] = []

    def noted(method: Any) -> Any:
        def call(self: Any, text: str, *values: Any) -> Any:
            asked.append(" ".join(text.split())[:60])
            return method(self, text, *values)

        return call

    with ExitStack() as stack:
        for kind in (Pool, Transaction):
            for name in ("fetch", "fetchrow", "fetchval", "execute"):
                stack.enter_context(patch.object(kind, name, noted(getattr(kind, name))))
        yield asked
