"""What is said and done in channels of a space: mostly in the club's hall, in which stands the same as in ann's group.

Each domain takes its part of these into its own samples.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from msgspec import structs

from protocol import channel, draft, file, message, poll, reaction, scheduled, typing
from protocol.frame import Request
from tests.authorization.kinds import NO_RESIDENTS, OUTSIDERS
from tests.authorization.sample import Making, Sample, Wrong
from tests.authorization.samples.proofs import changed, into
from tests.authorization.samples.space import ANN, CHANGED, LACKING
from tests.authorization.spaces import CLUB, MODS
from tests.authorization.world import World

_TIMED_OUT = {"timed out": "forbidden"}
_HALL = frozenset({"hall"})
_MINE, _TOMS = frozenset({"hall", "hall 1"}), frozenset({"hall", "hall 2"})
_NO_AUTHORS = dict.fromkeys(("member", "timed out", "lower role", "same height", "chief", "space owner"), "forbidden")
_NO_READERS = dict.fromkeys(("member", "timed out", "lower role", "same height"), "forbidden")
# For whom the cellar does not exist.
_BELOW_STAIRS = OUTSIDERS | NO_RESIDENTS | {"member", "lower role"}
_AT = datetime.now(UTC) + timedelta(days=200)
_STAIRS = frozenset(MODS | {"kim"})
_SEEN = [1, 2, 5, 6, 8, 9]


def _hall(frame: Any, **fields: Any) -> Making:
    return lambda world: frame(channel=world.channels["hall"].id, **fields)


def _send(world: World) -> Request[Any]:
    return message.MessageSend(channel=world.channels["hall"].id, text="words", nonce=uuid4())


def _forward(world: World) -> Request[Any]:
    hall = world.channels["hall"].id
    return message.MessageForward(channel=hall, source=hall, seq=2, nonce=uuid4())


def _edit(world: World) -> Request[Any]:
    return message.MessageEdit(channel=world.channels["hall"].id, seq=1, text="other words", mentions=[world.tom.id])


def _mentioning(name: str) -> Any:
    return lambda world: [world.people[name].id]


def _role(world: World) -> list[UUID]:
    return [world.spaces["club"].roles["fans"]]


def _sticker(world: World) -> UUID:
    return world.spaces["club"].emblems["sticker"]


def _source(name: str) -> Any:
    return lambda world: world.channels[name].id


def _page(*seqs: int) -> Any:
    return lambda reply: [one["seq"] for one in reply["messages"]] == list(seqs)


def _unread(frame: Making, **fields: Any) -> dict[str, Wrong]:
    """Where one does not read what was said before."""
    there = changed(into(frame, "blank"), **fields)
    return {
        "where I do not read what was said before": Wrong("forbidden", there),
        "where I do not, but said some of it": Wrong("forbidden", there, by="tom"),
    }


def _unwritten(frame: Making, **fields: Any) -> dict[str, Wrong]:
    """Where one does not write."""
    return {
        "where only chiefs write": Wrong("forbidden", changed(into(frame, "notices"), **fields)),
        "where only chiefs write, by who stands lower": Wrong(
            "forbidden", changed(into(frame, "notices"), **fields), by="lea"
        ),
    }


def _reading(frame: Making, proves: Any, **fields: Any) -> Sample:
    return Sample(frame, in_space=True, proves=proves, wrong=_unread(frame, **fields))


_read, _delivered = _hall(message.MessageMarkRead, seq=9), _hall(message.MessageMarkDelivered, seq=9)
_history = _hall(message.MessageHistory)
_delete, _pin, _unpin = (
    _hall(message.MessageDelete, seq=2),
    _hall(message.MessagePin, seq=2),
    _hall(message.MessageUnpin, seq=1),
)
MESSAGES = {
    "send: in a space": Sample(
        _send,
        in_space=True,
        touches=_HALL,
        told={"message.created": CLUB},
        refused=_TIMED_OUT,
        unbound={
            "reply_to": "message in channel",
            "mentions": "user in channel",
            "mention_roles": "role in channel",
            "sticker": "sticker in channel",
        },
        reaches=frozenset({"one that I do not want to see"}),
        proves=lambda reply: reply["seq"] == 10,
        wrong={
            **_unwritten(_send),
            "mentioning everyone": Wrong("forbidden", changed(_send, mention_everyone=True)),
            "mentioning a role that is not for everybody": Wrong("forbidden", changed(_send, mention_roles=_role)),
            "mentioning everyone, in a group": Wrong("invalid", changed(into(_send, "group"), mention_everyone=True)),
            "a sticker, in a group": Wrong("missing", changed(into(_send, "group"), sticker=_sticker)),
            "into a category": Wrong("forbidden", into(_send, "shelf")),
            "mentioning who does not see it": Wrong(
                "missing", changed(into(_send, "cellar"), mentions=_mentioning("tom"))
            ),
        },
    ),
    "send: a sticker, to everyone": Sample(
        changed(_send, sticker=_sticker, mention_everyone=True, mention_roles=_role),
        by="cal",
        in_space=True,
        touches=_HALL,
        told={"message.created": CLUB},
        refused=_TIMED_OUT | {"member": "forbidden", "lower role": "forbidden", "same height": "forbidden"},
    ),
    "send: where only mods are": Sample(
        changed(into(_send, "cellar"), mentions=_mentioning("bea")),
        in_space=True,
        outsiders=_BELOW_STAIRS,
        touches=frozenset({"cellar", "bea"}),
        told={"message.created": MODS | {"kim"}},
        refused=_TIMED_OUT,
    ),
    "send: where only mods are, again": Sample(
        into(_send, "cellar"),
        in_space=True,
        first=("ann", into(_send, "cellar")),
        outsiders=_BELOW_STAIRS,
        touches=frozenset({"cellar"}),
        told={"message.created": _STAIRS},
        refused=_TIMED_OUT,
        wrong={
            "mentioning who does not see it": Wrong(
                "missing", changed(into(_send, "cellar"), mentions=_mentioning("tom"))
            ),
        },
    ),
    "send: where few read what was said before": Sample(
        into(_send, "blank"),
        in_space=True,
        touches=frozenset({"blank"}),
        told={"message.created": CLUB},
        refused=_TIMED_OUT,
    ),
    "send: where only chiefs write": Sample(
        into(_send, "notices"),
        by="cal",
        in_space=True,
        touches=frozenset({"notices"}),
        told={"message.created": CLUB},
        refused=_NO_READERS,
    ),
    "forward: in a space": Sample(
        _forward,
        in_space=True,
        touches=_HALL,
        told={"message.created": CLUB},
        refused=_TIMED_OUT,
        wrong={
            **_unwritten(_forward),
            "from where I do not read what was said before": Wrong(
                "forbidden", changed(_forward, source=_source("blank"), seq=1)
            ),
        },
    ),
    "edit: in a space": Sample(
        _edit,
        in_space=True,
        touches=_MINE | {"tom"},
        told={"message.edited": CLUB},
        refused=_NO_AUTHORS,
        unbound={"mentions": "user in channel", "mention_roles": "role in channel"},
        wrong={
            **_unread(_edit, mentions=[]),
            "mentioning everyone": Wrong("forbidden", changed(_edit, mention_everyone=True)),
            "mentioning a role that is not for everybody": Wrong("forbidden", changed(_edit, mention_roles=_role)),
            "what I have written, when timed out": Wrong("forbidden", changed(_edit, seq=9), by="kim"),
            "mentioning who does not see it": Wrong(
                "missing", changed(into(_edit, "cellar"), seq=2, mentions=_mentioning("tom"))
            ),
        },
    ),
    "delete: in a space, somebody else's": Sample(
        _delete,
        in_space=True,
        touches=_TOMS | {"ann", "bea", "eve", "club"},
        told={"message.deleted": CLUB},
        refused=_TIMED_OUT,
        wrong={
            **_unread(_delete, seq=3),
            "somebody else's, without the right": Wrong("forbidden", changed(_delete, seq=1), by="tom"),
        },
    ),
    "delete: in a space, one's own in a timeout": Sample(
        changed(_delete, seq=9),
        by="kim",
        in_space=True,
        touches=frozenset({"hall", "hall 9", "ann", "kim", "lea", "club"}),
        told={"message.deleted": CLUB},
        refused={"member": "forbidden"},
    ),
    "delete: in a space, out of one's own view": Sample(
        changed(_delete, for_all=False), in_space=True, touches=_TOMS, told={"message.hidden": ANN}
    ),
    "delete_many: in a space": Sample(
        _hall(message.MessageDeleteMany, seqs=[1, 8]),
        in_space=True,
        touches=_MINE | {"hall 8", "ann", "bea", "tom", "eve", "club"},
        told={"message.deleted": CLUB},
        refused=LACKING,
        wrong=_unread(_hall(message.MessageDeleteMany, seqs=[1])),
    ),
    "pin: in a space": Sample(
        _pin, in_space=True, touches=_TOMS, told={"message.pinned": CLUB}, refused=LACKING, wrong=_unread(_pin)
    ),
    "unpin: in a space": Sample(
        _unpin, in_space=True, touches=_MINE, told={"message.unpinned": CLUB}, refused=LACKING, wrong=_unread(_unpin)
    ),
    "get: in a space": _reading(_hall(message.MessageGet, seq=2), lambda reply: reply["seq"] == 2, seq=1),
    "history: in a space": _reading(_history, _page(*_SEEN)),
    "history: in a space, the same page from memory": Sample(
        _history, by="bea", in_space=True, first=("tom", _history), proves=_page(1, 2, 3, 5, 6, 8, 9)
    ),
    "history: in a space, before a seq": Sample(changed(_history, before=9), in_space=True, proves=_page(*_SEEN[:-1])),
    "history: where few read what was said before": Sample(
        into(_history, "blank"), by="max", in_space=True, refused=_NO_READERS, proves=_page(1, 2, 3)
    ),
    "around: in a space": _reading(_hall(message.MessageAround, seq=5), _page(*_SEEN)),
    "pins: in a space": _reading(_hall(message.MessagePins), _page(1)),
    "revisions: in a space": _reading(
        _hall(message.MessageRevisions, seq=2), lambda reply: len(reply["revisions"]) == 1
    ),
    "readers: in a space": _reading(_hall(message.MessageReaders, seq=1), lambda reply: True),
    "mark_read: in a space": Sample(
        _read,
        in_space=True,
        touches=_HALL,
        told={"message.read": ANN},
        proves=lambda reply: (reply["read"], reply["unread"], reply["mentions"]) == (9, 0, 0),
    ),
    "mark_read: in a space, for the first time": Sample(
        _read, by="bea", in_space=True, touches=_HALL, told={"message.read": frozenset({"bea"})}
    ),
    "mark_delivered: in a space": Sample(
        _delivered,
        in_space=True,
        touches=_HALL,
        told={"message.read": ANN},
        proves=lambda reply: (reply["read"], reply["mentions"]) == (2, 1),
    ),
}
_add = _hall(reaction.ReactionAdd, seq=2, emoji="+1")


def _remove(world: World) -> Request[Any]:
    return reaction.ReactionRemove(channel=world.channels["hall"].id, seq=1, emoji=world.emojis["p"])


def _custom(world: World) -> UUID:
    return world.spaces["club"].emblems["emoji"]


_add_custom = changed(_hall(reaction.ReactionAdd, seq=2), custom=_custom)
_remove_custom = changed(_hall(reaction.ReactionRemove, seq=2), custom=_custom)
REACTIONS = {
    "add: in a space": Sample(
        _add, in_space=True, touches=_TOMS, told={"reaction.added": CLUB}, refused=_TIMED_OUT, wrong=_unread(_add)
    ),
    "add: one of the space's": Sample(
        _add_custom,
        in_space=True,
        touches=_TOMS,
        told={"reaction.added": CLUB},
        refused=_TIMED_OUT,
        wrong={"in a group": Wrong("missing", into(_add_custom, "group"))},
    ),
    "remove: one of the space's": Sample(
        _remove_custom,
        first=("ann", _add_custom),
        in_space=True,
        touches=_TOMS,
        told={"reaction.removed": CLUB},
        refused=_TIMED_OUT,
    ),
    "remove: in a space": Sample(
        _remove,
        in_space=True,
        touches=_MINE,
        told={"reaction.removed": CLUB},
        refused=_TIMED_OUT,
        wrong=_unread(_remove),
    ),
    "list: in a space": _reading(_hall(reaction.ReactionList, seq=1), lambda reply: len(reply["reactions"]) == 4),
}
_vote, _close = _hall(poll.PollVote, seq=9, options=[0]), _hall(poll.PollClose, seq=9)
_KIMS = frozenset({"hall", "hall 9"})
POLLS = {
    "vote: in a space": Sample(
        _vote,
        in_space=True,
        touches=_KIMS,
        told={"poll.voted": CLUB, "poll.chosen": ANN},
        refused=_TIMED_OUT,
        wrong=_unread(_vote, seq=1),
    ),
    "close: in a space, somebody else's": Sample(
        _close,
        in_space=True,
        touches=_KIMS,
        told={"poll.closed": CLUB},
        refused=LACKING,
        wrong=_unread(_close, seq=1),
    ),
    "get: in a space": _reading(_hall(poll.PollGet, seq=9), lambda reply: reply["chosen"] == [1], seq=1),
    "voters: in a space": _reading(_hall(poll.PollVoters, seq=9), lambda reply: len(reply["votes"]) == 2, seq=1),
}


def _link(world: World) -> Request[Any]:
    return file.FileLink(file=world.files["kim in hall"], channel=world.channels["hall"].id, seq=9)


FILES = {
    "link: in a space": structs.replace(
        _reading(_link, lambda reply: "/original/" in reply["url"]), outsiders=OUTSIDERS | NO_RESIDENTS
    )
}
_start, _stop = _hall(typing.TypingStart), _hall(typing.TypingStop)
TYPING = {
    "start: in a space": Sample(
        _start, in_space=True, told={"typing.started": CLUB - ANN}, refused=_TIMED_OUT, wrong=_unwritten(_start)
    ),
    "start: where only mods are": Sample(
        into(_start, "cellar"),
        in_space=True,
        outsiders=_BELOW_STAIRS,
        told={"typing.started": (MODS | {"kim"}) - ANN},
        refused=_TIMED_OUT,
    ),
    "stop: in a space": Sample(
        _stop, in_space=True, told={"typing.stopped": CLUB - ANN}, refused=_TIMED_OUT, wrong=_unwritten(_stop)
    ),
}
DRAFTS = {
    "save: in a space": Sample(
        _hall(draft.DraftSave, text="words"), in_space=True, touches=_HALL, told={"draft.saved": ANN}
    ),
    "clear: in a space": Sample(_hall(draft.DraftClear), in_space=True, touches=_HALL, told={"draft.cleared": ANN}),
}


def _schedule(world: World) -> Request[Any]:
    return scheduled.ScheduledCreate(channel=world.channels["hall"].id, text="words", at=_AT, nonce=uuid4())


SCHEDULED = {
    "create: in a space": Sample(
        _schedule,
        in_space=True,
        touches=_HALL,
        told={"scheduled.saved": ANN},
        refused=_TIMED_OUT,
        wrong=_unwritten(_schedule),
    ),
}


def _create(world: World) -> Request[Any]:
    shelf = world.channels["shelf"].id
    return channel.ChannelCreate(name="a new one", nonce=uuid4(), space=world.spaces["club"].id, parent=shelf)


def _update(world: World) -> Request[Any]:
    return channel.ChannelUpdate(channel=world.channels["hall"].id, name="a new name")


def _reorder(world: World) -> Request[Any]:
    space, channels = world.spaces["club"].id, [world.channels[name].id for name in ("book", "hall")]
    return channel.ChannelReorder(space=space, channels=channels)


_delete_channel = _hall(channel.ChannelDelete)
_THREADS = ("talk", "rest", "dust", "note", "mixed", "bare")
_IN_HALL = frozenset({"hall", "hall *", *_THREADS, *(f"{name} *" for name in _THREADS)})
_members = _hall(channel.ChannelMembers)
CHANNELS = {
    "create: in a space": Sample(
        _create,
        touches=frozenset({"club"}),
        told=CHANGED,
        refused=LACKING,
        proves=lambda reply: reply["channel"]["name"] == "a new one",
        wrong={"in what is no category": Wrong("missing", changed(_create, parent=_source("hall")))},
    ),
    "create: in a space, for few": Sample(
        changed(_create, private=True, parent=None),
        touches=frozenset({"club"}),
        told={"space.changed": frozenset({"ann", "cal", "max"})},
        refused=LACKING,
    ),
    "get: in a space": Sample(
        _hall(channel.ChannelGet), in_space=True, proves=lambda reply: (reply["unread"], reply["head"]) == (2, 9)
    ),
    "get: where I do not read what was said before": Sample(
        into(_hall(channel.ChannelGet), "blank"), in_space=True, proves=lambda reply: reply["last"] is None
    ),
    "members: in a space": Sample(
        _members, in_space=True, shows=CLUB, proves=lambda reply: len(reply["users"]) == len(CLUB)
    ),
    "members: who does not see it": Sample(
        into(_members, "cellar"),
        in_space=True,
        outsiders=_BELOW_STAIRS,
        shows=CLUB,
        proves=lambda reply: len(reply["users"]) == len(_STAIRS),
    ),
    "update: in a space": Sample(
        _update,
        in_space=True,
        touches=frozenset({"club", "hall"}),
        told=CHANGED,
        refused=LACKING,
        wrong={"a thread": Wrong("invalid", into(_update, "talk"))},
    ),
    "update: what few see": Sample(
        into(_update, "cellar"),
        in_space=True,
        outsiders=_BELOW_STAIRS,
        touches=frozenset({"club", "cellar"}),
        told={"space.changed": _STAIRS},
        refused=_TIMED_OUT,
    ),
    "delete: in a space": Sample(
        _delete_channel,
        in_space=True,
        touches=_IN_HALL | CLUB | {"club", "eve"},
        told=CHANGED,
        refused=LACKING,
        wrong={"a thread": Wrong("invalid", into(_delete_channel, "talk"))},
    ),
    "delete: what few see": Sample(
        into(_delete_channel, "cellar"),
        in_space=True,
        outsiders=_BELOW_STAIRS,
        touches=frozenset({"club", "cellar", "cellar *", "ann", "bea"}),
        told={"space.changed": _STAIRS},
        refused=_TIMED_OUT,
    ),
    "reorder": Sample(
        _reorder,
        touches=frozenset({"club", "hall", "notices", "blank", "shelf", "book", "cellar", "attic", "nook"}),
        told=CHANGED,
        refused=LACKING,
        wrong={"into what is no category": Wrong("missing", changed(_reorder, parent=_source("hall")))},
    ),
    "watch": Sample(
        lambda world: channel.ChannelWatch(channels=[world.channels["hall"].id]),
        in_space=True,
        hears=True,
        proves=lambda reply: [one["head"] for one in reply["channels"]] == [9],
        wrong={"a group": Wrong("missing", lambda world: channel.ChannelWatch(channels=[world.channels["group"].id]))},
    ),
    "watch: what few see": Sample(
        lambda world: channel.ChannelWatch(channels=[world.channels["cellar"].id]),
        in_space=True,
        hears=True,
        outsiders=_BELOW_STAIRS,
        proves=lambda reply: [one["head"] for one in reply["channels"]] == [2],
    ),
    "unwatch": Sample(lambda world: channel.ChannelUnwatch(channels=[world.channels["hall"].id])),
    "mute: in a space": Sample(
        _hall(channel.ChannelMute, until=datetime(2099, 1, 1, tzinfo=UTC)),
        in_space=True,
        touches=_HALL,
        told={"channel.muted": ANN},
    ),
}
