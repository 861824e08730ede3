"""thread: mostly ann's in the hall, from her first message there; who sees it is told in ways.py."""

from typing import Any
from uuid import uuid4

from msgspec.structs import replace

from protocol import thread as frames
from protocol.message import MessageHistory, MessageSend
from tests.authorization.sample import Making, Sample, Wrong
from tests.authorization.samples.proofs import changed
from tests.authorization.samples.space import LACKING
from tests.authorization.spaces import CLUB
from tests.authorization.ways import thread
from tests.authorization.world import World

_TIMED_OUT = {"timed out": "forbidden"}
_TALK = frozenset({"talk", "hall", "club"})


def _open(world: World) -> frames.ThreadOpen:
    hall = world.channels["hall"].id
    return frames.ThreadOpen(channel=hall, name="a new one", nonce=uuid4(), seq=2, text="words")


def _list(world: World) -> frames.ThreadList:
    return frames.ThreadList(channel=world.channels["hall"].id)


def _about(frame: Any, which: str = "talk", **fields: Any) -> Making:
    return lambda world: frame(thread=thread(which)(world), **fields)


def _send(where: str) -> Making:
    return lambda world: MessageSend(channel=thread(where)(world), text="words", nonce=uuid4())


_update, _delete = _about(frames.ThreadUpdate, name="another"), _about(frames.ThreadDelete)
_lock, _delete_rest = _about(frames.ThreadUpdate, locked=True), _about(frames.ThreadDelete, "rest")
_UPDATED = {"thread.updated": CLUB}

_THREADS = {
    "open": Sample(
        _open,
        touches=frozenset({"hall", "hall 2", "tom", "eve"}),
        told={"thread.opened": CLUB},
        refused=_TIMED_OUT,
        proves=lambda reply: reply["origin"] == 2,
        wrong={
            "in a category": Wrong("invalid", changed(_open, channel=thread("shelf"), seq=None)),
            "in a thread": Wrong("invalid", changed(_open, channel=thread("talk"), seq=None)),
            "from what I do not read": Wrong("missing", changed(_open, channel=thread("blank"), seq=1)),
        },
    ),
    "open: from a message that has one": Sample(
        changed(_open, seq=1, text=None),
        refused=_TIMED_OUT,
        proves=lambda reply: reply["origin"] == 1,
    ),
    "open: with a nonce of somebody else's": Sample(
        changed(_open, nonce=lambda world: world.channels["rest"].nonce),
        touches=frozenset({"hall", "hall 2", "tom", "eve"}),
        told={"thread.opened": CLUB},
        refused=_TIMED_OUT,
        proves=lambda reply: reply["origin"] == 2,
    ),
    "open: where one only opens": Sample(
        changed(_open, channel=thread("blank"), seq=None, text=None),
        touches=frozenset({"blank"}),
        told={"thread.opened": CLUB},
        refused=_TIMED_OUT,
        wrong={"with words": Wrong("forbidden", changed(_open, channel=thread("blank"), seq=None))},
    ),
    "get": Sample(
        _about(frames.ThreadGet), proves=lambda reply: (reply["last"], reply["read"], reply["followed"]) == (2, 0, True)
    ),
    "get: by who does not follow it": Sample(
        _about(frames.ThreadGet), by="bea", proves=lambda reply: not reply["followed"]
    ),
    "list": Sample(_list, proves=lambda reply: len(reply["threads"]) == 4),
    "list: what was put away": Sample(
        changed(_list, archived=True),
        proves=lambda reply: [one["followed"] for one in reply["threads"]] == [False, False],
    ),
    "followed": Sample(
        lambda world: frames.ThreadFollowed(space=world.spaces["club"].id),
        proves=lambda reply: len(reply["threads"]) == 1,
    ),
    "followed: by who is in another space, too": Sample(
        lambda world: frames.ThreadFollowed(space=world.spaces["club"].id),
        by="kim",
        proves=lambda reply: reply["threads"] == [],
    ),
    "follow": Sample(_about(frames.ThreadFollow, "rest"), touches=frozenset({"rest"})),
    "unfollow": Sample(_about(frames.ThreadUnfollow), touches=frozenset({"talk"})),
    "update": Sample(
        _update,
        touches=_TALK,
        told=_UPDATED,
        refused=LACKING,
        proves=lambda reply: reply["name"] == "another",
    ),
    "update: one's own": Sample(
        _about(frames.ThreadUpdate, "note", archived=True),
        by="tom",
        touches=frozenset({"note", "hall", "club"}),
        told=_UPDATED,
        refused=_TIMED_OUT,
        wrong={
            "to lock it": Wrong("forbidden", _about(frames.ThreadUpdate, "note", locked=True)),
            "what is locked": Wrong("forbidden", _about(frames.ThreadUpdate, "rest", name="another")),
        },
    ),
    "update: somebody else's": Sample(_lock, by="bea", touches=_TALK, told=_UPDATED, refused=LACKING),
    "delete": Sample(
        _delete,
        touches=frozenset({"talk", "talk *", "hall", "hall 1", "ann", "tom", "bea", "club"}),
        told={"thread.deleted": CLUB},
        refused=LACKING,
    ),
    "delete: one's own": Sample(
        _about(frames.ThreadDelete, "note"),
        by="tom",
        touches=frozenset({"note", "note *", "hall", "club"}),
        told={"thread.deleted": CLUB},
        refused=_TIMED_OUT,
        wrong={
            "in which somebody else has written": Wrong("forbidden", _about(frames.ThreadDelete, "mixed")),
            "somebody else's in which nobody has": Wrong("forbidden", _about(frames.ThreadDelete, "bare")),
            "what is locked": Wrong("forbidden", _about(frames.ThreadDelete, "rest")),
        },
    ),
    "delete: what is locked": Sample(
        _delete_rest,
        by="bea",
        touches=frozenset({"rest", "rest *", "hall", "tom", "ann", "club"}),
        told={"thread.deleted": CLUB},
        refused=LACKING,
    ),
}
_SAID = {
    "send: in a thread": Sample(
        _send("talk"),
        by="tom",
        touches=frozenset({"talk"}),
        told={"message.created": CLUB},
        refused=_TIMED_OUT,
        wrong={
            "in one that is locked": Wrong("forbidden", _send("rest")),
            "where nobody writes in threads": Wrong("forbidden", _send("gap")),
        },
    ),
    "send: in a thread that was put away": Sample(
        _send("dust"),
        touches=frozenset({"dust", "hall"}),
        told={"message.created": CLUB, "thread.updated": CLUB},
        refused=_TIMED_OUT,
    ),
    "history: in a thread": Sample(
        lambda world: MessageHistory(channel=thread("talk")(world)),
        proves=lambda reply: [one["seq"] for one in reply["messages"]] == [1, 2],
    ),
}


def _in_space(samples: dict[str, Sample]) -> dict[str, Sample]:
    return {name: replace(one, in_space=True) for name, one in samples.items()}


SAMPLES = _in_space(_THREADS)
# What is said in threads, for the samples of messages.
MESSAGES = _in_space(_SAID)
