"""message: mostly in ann's group; what stands there is told in channels.py."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from protocol import message as frames
from protocol.ballot import NewPoll
from protocol.frame import Request
from tests.authorization.channels import GROUP
from tests.authorization.kinds import EVERYBODY_ELSE, OUTSIDERS
from tests.authorization.sample import Making, Sample, Wrong
from tests.authorization.samples import hall, thread
from tests.authorization.samples.channel import ANN, NOT_THEIRS
from tests.authorization.samples.proofs import changed, into
from tests.authorization.world import World

MINE = frozenset({"group", "group 1"})
TOMS = frozenset({"group", "group 2"})
# What ann sees of the group: 3 is hidden by her, 4 and 7 are no messages, of 5 only the place is left.
SEEN = [1, 2, 5, 6, 8, 9]
_NEW = "other words"


def _in_group(frame: Callable[..., Request[Any]], **fields: Any) -> Making:
    return lambda world: frame(channel=world.channels["group"].id, **fields)


def _send(world: World) -> frames.MessageSend:
    return frames.MessageSend(channel=world.channels["group"].id, text=_NEW, nonce=uuid4())


def _send_again(world: World) -> frames.MessageSend:
    group = world.channels["group"]
    return frames.MessageSend(channel=group.id, text=_NEW, nonce=group.nonces[1])


def _send_with_another_nonce(world: World) -> frames.MessageSend:
    group = world.channels["group"]
    return frames.MessageSend(channel=group.id, text=_NEW, nonce=group.nonces[2])


def _send_everything(world: World) -> frames.MessageSend:
    return frames.MessageSend(
        channel=world.channels["group"].id, text="#other words", nonce=uuid4(), reply_to=2, mentions=[world.tom.id]
    )


def _send_poll(world: World) -> frames.MessageSend:
    poll = NewPoll(options=["this", "that"], closes_at=datetime.now(UTC) + timedelta(days=1))
    return frames.MessageSend(channel=world.channels["group"].id, text=_NEW, nonce=uuid4(), poll=poll)


def _send_late_poll(world: World) -> frames.MessageSend:
    poll = NewPoll(options=["this", "that"], closes_at=datetime.now(UTC))
    return frames.MessageSend(channel=world.channels["group"].id, text=_NEW, nonce=uuid4(), poll=poll)


def _files(name: str) -> Any:
    return lambda world: [world.files[name]]


def _send_file(world: World) -> frames.MessageSend:
    group, files = world.channels["group"].id, _files("ann in group")(world)
    return frames.MessageSend(channel=group, nonce=uuid4(), files=files)


def _forward(world: World) -> frames.MessageForward:
    group, pair = world.channels["group"].id, world.channels["ann+tom"].id
    return frames.MessageForward(channel=pair, source=group, seq=2, nonce=uuid4())


def _nonce(channel: str, seq: int) -> Any:
    return lambda world: world.channels[channel].nonces[seq]


_UNWRITABLE = "ann+cal"


def blocked(frame: Making, *also: str, **fields: Any) -> dict[str, Wrong]:
    """Where one blocks the other neither of them writes."""
    there = {name: changed(into(frame, name, *also), **fields) for name in (_UNWRITABLE, "ann+bea", "ann+gone")}
    return {
        "where I block the other": Wrong("forbidden", there[_UNWRITABLE]),
        "where I block the other, again": Wrong("forbidden", there[_UNWRITABLE]),
        "where the other blocks me": Wrong("forbidden", there["ann+bea"]),
        "where the other is gone": Wrong("forbidden", there["ann+gone"]),
        "where I am blocked": Wrong("forbidden", there[_UNWRITABLE], by="cal"),
        "where I am the one who blocks": Wrong("forbidden", there["ann+bea"], by="bea"),
    }


def _edit(world: World) -> frames.MessageEdit:
    return frames.MessageEdit(channel=world.channels["group"].id, seq=1, text=_NEW, mentions=[world.tom.id])


_delete = _in_group(frames.MessageDelete, seq=1)
_delete_many = _in_group(frames.MessageDeleteMany, seqs=[1, 8])
_pin = _in_group(frames.MessagePin, seq=2)
_unpin = _in_group(frames.MessageUnpin, seq=1)
_read = _in_group(frames.MessageMarkRead, seq=9)
_delivered = _in_group(frames.MessageMarkDelivered, seq=9)
_history, _mentions = _in_group(frames.MessageHistory), _in_group(frames.MessageMentions)
_readers = _in_group(frames.MessageReaders, seq=1)


def _page(*seqs: int) -> Any:
    """Whether a reply has just these messages."""
    return lambda reply: [one["seq"] for one in reply["messages"]] == list(seqs)


def _found(*seqs: int) -> Any:
    return lambda reply: [one["message"]["seq"] for one in reply["messages"]] == list(seqs)


def _club(world: World) -> UUID:
    return world.spaces["club"].id


_SAYING = {
    "send": Sample(
        _send,
        touches=frozenset({"group"}),
        told={"message.created": GROUP},
        unbound={"reply_to": "message in channel", "mentions": "user in channel"},
        reaches=frozenset({"one that I do not want to see"}),
        proves=lambda reply: reply["seq"] == 10,
        wrong={
            **blocked(_send),
            "a nonce that stands for a message elsewhere": Wrong(
                "conflict", changed(_send, nonce=_nonce("ann+tom", 2))
            ),
        },
    ),
    "send: again": Sample(_send_again, touches=frozenset({"group"}), proves=lambda reply: reply["seq"] == 1),
    "send: with a nonce of somebody else's": Sample(
        _send_with_another_nonce,
        touches=frozenset({"group"}),
        told={"message.created": GROUP},
        proves=lambda reply: reply["seq"] == 10,
    ),
    "send: with everything": Sample(
        _send_everything, touches=frozenset({"group", "tom"}), told={"message.created": GROUP}
    ),
    "send: a poll": Sample(
        _send_poll,
        touches=frozenset({"group"}),
        told={"message.created": GROUP},
        wrong={
            **blocked(_send_poll),
            "that is over already": Wrong("invalid", _send_late_poll),
            "over already, with a nonce of mine elsewhere": Wrong(
                "conflict", changed(_send_late_poll, nonce=_nonce("ann+tom", 2))
            ),
        },
    ),
    "send: a file": Sample(
        _send_file,
        touches=frozenset({"group"}),
        told={"message.created": GROUP},
        wrong={
            "one that is not finished": Wrong("conflict", changed(_send_file, files=_files("ann has begun"))),
            "a picture of oneself": Wrong("invalid", changed(_send_file, files=_files("ann's picture"))),
        },
    ),
    "send: again, as a poll that is over": Sample(
        changed(_send_late_poll, nonce=_nonce("group", 1)),
        missing="invalid",
        touches=frozenset({"group"}),
        proves=lambda reply: reply["seq"] == 1,
    ),
    "forward": Sample(
        _forward,
        touches=frozenset({"ann+tom"}),
        told={"message.created": frozenset({"ann", "tom"})},
        outsiders=EVERYBODY_ELSE | OUTSIDERS,
        wrong=blocked(_forward, "source", seq=1),
    ),
}

_CHANGING = {
    "edit": Sample(
        _edit,
        touches=MINE | {"tom"},
        told={"message.edited": GROUP},
        refused=NOT_THEIRS,
        unbound={"mentions": "user in channel"},
        wrong={
            **blocked(_edit, seq=2, mentions=[]),
            "somebody else's, as the owner": Wrong("forbidden", changed(_edit, seq=2)),
            "what I have forwarded": Wrong("forbidden", changed(_edit, seq=9)),
        },
    ),
    "delete": Sample(
        _delete,
        touches=MINE | {"kim", "tom"},
        told={"message.deleted": GROUP},
        refused=NOT_THEIRS,
        wrong=blocked(_delete, seq=2),
    ),
    "delete: somebody else's, as the owner": Sample(
        changed(_delete, seq=2), touches=TOMS | {"ann", "kim", "eve", "tom"}, told={"message.deleted": GROUP}
    ),
    "delete: one's own, as a member": Sample(
        changed(_delete, seq=2),
        by="tom",
        touches=TOMS | {"ann", "kim", "eve", "tom"},
        told={"message.deleted": GROUP},
        refused={"blocker": "forbidden"},
    ),
    "delete: out of one's own view": Sample(
        changed(_delete, seq=2, for_all=False),
        touches=TOMS,
        told={"message.hidden": ANN, "notification.removed": ANN},
    ),
    "delete_many": Sample(
        _delete_many,
        touches=MINE | {"kim", "tom", "eve", "group 8"},
        told={"message.deleted": GROUP},
        refused=NOT_THEIRS,
        wrong={
            **blocked(_delete_many, seqs=[2]),
            "one of them not mine": Wrong("forbidden", changed(_delete_many, seqs=[1, 2]), by="tom"),
        },
    ),
    "delete_many: out of one's own view": Sample(
        changed(_delete_many, seqs=[1, 2], for_all=False),
        touches=MINE | TOMS,
        told={"message.hidden": ANN, "notification.removed": ANN},
    ),
    "pin": Sample(_pin, touches=TOMS, told={"message.pinned": GROUP}, wrong=blocked(_pin)),
    "unpin": Sample(_unpin, touches=MINE, told={"message.unpinned": GROUP}, wrong=blocked(_unpin, seq=1)),
}

_READING = {
    "get": Sample(_in_group(frames.MessageGet, seq=2), proves=lambda reply: reply["seq"] == 2 and reply["text"]),
    "history": Sample(_history, proves=_page(*SEEN)),
    "history: what somebody else has just read": Sample(_history, first=("tom", _history), proves=_page(*SEEN)),
    "history: the same page from memory": Sample(
        _history, by="bea", first=("tom", _history), proves=_page(1, 2, 3, 5, 6, 8, 9)
    ),
    "history: before a seq": Sample(changed(_history, before=9), proves=_page(*SEEN[:-1])),
    "history: after a seq": Sample(changed(_history, after=1), proves=_page(*SEEN[1:])),
    "around": Sample(_in_group(frames.MessageAround, seq=5), proves=_page(*SEEN)),
    "pins": Sample(_in_group(frames.MessagePins), proves=_page(1)),
    "mentions": Sample(
        _mentions,
        proves=_found(6, 2),
        wrong={
            "in both": Wrong("invalid", changed(_mentions, space=_club)),
            "where I do not read": Wrong("forbidden", into(_mentions, "blank")),
        },
    ),
    "mentions: in a space": Sample(
        lambda world: frames.MessageMentions(space=world.spaces["club"].id), in_space=True, proves=_found(1, 6, 2)
    ),
    "mentions: anywhere": Sample(
        lambda world: frames.MessageMentions(), outsiders=frozenset(), proves=lambda reply: len(reply["messages"]) > 3
    ),
    "revisions": Sample(_in_group(frames.MessageRevisions, seq=2), proves=lambda reply: len(reply["revisions"]) == 1),
}

_HOW_FAR = {
    "mark_read": Sample(
        _read,
        touches=frozenset({"group"}),
        told={"message.read": ANN, "message.receipt": GROUP - ANN},
        proves=lambda reply: (reply["read"], reply["unread"], reply["mentions"]) == (9, 0, 0),
    ),
    "mark_read: not so far": Sample(
        changed(into(_read, "ann+tom"), seq=1),
        outsiders=OUTSIDERS | {"blocker"},
        touches=frozenset({"ann+tom"}),
        proves=lambda reply: (reply["read"], reply["delivered"]) == (3, 4),
    ),
    "mark_read: where the other blocks me": Sample(
        into(_read, _UNWRITABLE),
        by="cal",
        touches=frozenset({_UNWRITABLE}),
        outsiders=OUTSIDERS | {"member", "blocker"},
        told={"message.read": frozenset({"cal"})},
    ),
    "mark_delivered": Sample(
        _delivered,
        touches=frozenset({"group"}),
        told={"message.read": ANN, "message.receipt": GROUP - ANN},
        proves=lambda reply: (reply["read"], reply["unread"], reply["mentions"]) == (2, 1, 1),
    ),
    "readers: where I am blocked": Sample(
        changed(into(_readers, _UNWRITABLE), seq=1),
        by="cal",
        outsiders=OUTSIDERS | {"member", "blocker"},
        proves=lambda reply: reply["readers"] == [],
    ),
    "readers": Sample(_readers, proves=lambda reply: (reply["delivered"], reply["read"]) == (1, 1)),
}

SAMPLES = hall.MESSAGES | thread.MESSAGES | _SAYING | _CHANGING | _READING | _HOW_FAR
