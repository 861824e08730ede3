"""channel: mostly ann's group, in which tom, kim and bea are."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from protocol import channel as frames
from tests.authorization.channels import GROUP
from tests.authorization.kinds import OUTSIDERS
from tests.authorization.sample import Sample, Wrong
from tests.authorization.samples import hall
from tests.authorization.samples.proofs import changed, into
from tests.authorization.world import World

ANN = frozenset({"ann"})
# Members who are not the owner.
NOT_THEIRS = {"member": "forbidden", "blocker": "forbidden"}
_NEW = "a new name"
_NO_PICTURE = "nothing"


def _create(world: World) -> frames.ChannelCreate:
    return frames.ChannelCreate(name=_NEW, nonce=uuid4(), members=[world.tom.id])


def _create_again(world: World) -> frames.ChannelCreate:
    return frames.ChannelCreate(name=_NEW, nonce=world.channels["group"].nonce)


def _create_with_another_nonce(world: World) -> frames.ChannelCreate:
    return frames.ChannelCreate(name=_NEW, nonce=world.channels["foreign"].nonce)


def _add(world: World) -> frames.ChannelAddMember:
    return frames.ChannelAddMember(channel=world.channels["group"].id, user=world.own.id)


def _remove(world: World) -> frames.ChannelRemoveMember:
    return frames.ChannelRemoveMember(channel=world.channels["group"].id, user=world.tom.id)


def _update(world: World) -> frames.ChannelUpdate:
    return frames.ChannelUpdate(channel=world.channels["group"].id, name=_NEW)


def _stay(world: World) -> frames.ChannelUpdate:
    return frames.ChannelUpdate(channel=world.channels["group"].id, disappears_after=60)


def _keep(world: World) -> frames.ChannelUpdate:
    return frames.ChannelUpdate(channel=world.channels["group"].id, keeps_for=5)


def _delete(world: World) -> frames.ChannelDelete:
    return frames.ChannelDelete(channel=world.channels["group"].id)


def _leave(world: World) -> frames.ChannelLeave:
    return frames.ChannelLeave(channel=world.channels["group"].id)


def _join(world: World) -> frames.ChannelJoin:
    return frames.ChannelJoin(channel=world.channels["open"].id)


def _get(world: World) -> frames.ChannelGet:
    return frames.ChannelGet(channel=world.channels["group"].id)


def _stands(reply: Any) -> bool:
    """How ann stands in her group: eve has said one thing that she has not read, and mentioned her there.

    A key that may read no messages is not told the last one.
    """
    return (reply["unread"], reply["mentions"], reply["head"]) == (1, 1, 9) and _last(reply) in (9, 0)


def _last(reply: Any) -> int:
    return reply["last"]["seq"] if reply["last"] else 0


def _all(reply: Any) -> bool:
    """Ann's channels; the group is somewhere among them."""
    last = sorted(map(_last, reply["channels"]))
    return last in ([1, 2, 3, 3, 3, 9], [0] * 6) and any(map(_stands, reply["channels"])) and reply["next"] is None


_MAKING = {
    "create": Sample(
        _create,
        touches=frozenset({"tom"}),
        proves=lambda reply: reply["channel"]["name"] == _NEW,
        told={"channel.joined": frozenset({"ann", "tom"})},
        wrong={"a picture that there is not": Wrong("invalid", changed(_create, avatar=_NO_PICTURE))},
    ),
    "create: again": Sample(_create_again, outsiders=frozenset(), proves=_stands),
    "create: with a nonce of somebody else's": Sample(
        _create_with_another_nonce,
        outsiders=frozenset(),
        proves=lambda reply: reply["channel"]["name"] == _NEW,
        told={"channel.joined": ANN},
    ),
    "open_direct": Sample(
        lambda world: frames.ChannelOpenDirect(user=world.tom.id),
        touches=frozenset({"tom"}),
        wrong={
            "who talks with friends only": Wrong(
                "forbidden", lambda world: frames.ChannelOpenDirect(user=world.eve.id)
            ),
        },
        proves=lambda reply: (reply["read"], reply["unread"]) == (3, 0),
    ),
    "open_direct: with a friend, who talks with friends only": Sample(
        lambda world: frames.ChannelOpenDirect(user=world.eve.id),
        by="fay",
        outsiders=frozenset(),
        touches=frozenset({"eve"}),
        told={"channel.joined": frozenset({"fay", "eve"})},
    ),
    "open_direct: a new one": Sample(
        lambda world: frames.ChannelOpenDirect(user=world.own.id),
        outsiders=frozenset(),
        touches=frozenset({"own"}),
        told={"channel.joined": frozenset({"ann", "own"})},
        proves=lambda reply: reply["last"] is None,
    ),
    "open_direct: with oneself": Sample(
        lambda world: frames.ChannelOpenDirect(user=world.ann.id),
        touches=frozenset({"ann"}),
        outsiders=frozenset(),
        proves=lambda reply: reply["channel"]["kind"] == "saved" and reply["last"]["seq"] == 1,
    ),
}

_LOOKING = {
    "get": Sample(_get, proves=_stands),
    "get: of who is not the first there": Sample(_get, by="tom", proves=lambda reply: reply["read"] == 6),
    "get: a group that everybody may enter": Sample(
        into(_get, "open"),
        outsiders=frozenset(),
        proves=lambda reply: reply["last"] is None and not reply["joined"] and reply["channel"]["name"],
    ),
    "list": Sample(lambda world: frames.ChannelList(), proves=_all),
    "members": Sample(
        lambda world: frames.ChannelMembers(channel=world.channels["group"].id),
        shows=GROUP,
        proves=lambda reply: len(reply["users"]) == 4,
    ),
}

_CHANGING = {
    "update": Sample(
        _update,
        touches=frozenset({"group"}),
        told={"channel.updated": GROUP},
        refused=NOT_THEIRS,
        wrong={
            "a picture that there is not": Wrong("invalid", changed(_update, avatar=_NO_PICTURE)),
            "a direct channel": Wrong("forbidden", into(_update, "ann+tom")),
            "my saved messages": Wrong("forbidden", into(_update, "ann's saved")),
        },
    ),
    "update: how long messages stay": Sample(
        _stay, touches=frozenset({"group"}), told={"channel.updated": GROUP}, refused=NOT_THEIRS
    ),
    "update: how long they stay between two": Sample(
        into(_stay, "ann+tom"),
        touches=frozenset({"ann+tom"}),
        told={"channel.updated": frozenset({"ann", "tom"})},
        outsiders=OUTSIDERS | {"blocker"},
        wrong={
            "and another name": Wrong("forbidden", changed(into(_stay, "ann+tom"), name=_NEW)),
            "where I block the other": Wrong("forbidden", into(_stay, "ann+cal")),
            "where the other blocks me": Wrong("forbidden", into(_stay, "ann+bea")),
            "where the other is gone": Wrong("forbidden", into(_stay, "ann+gone")),
        },
    ),
    "update: for how many days they are kept": Sample(
        _keep,
        touches=frozenset({"group", "group 0"}),
        told={"channel.updated": GROUP},
        refused=NOT_THEIRS,
        wrong={
            "a direct channel": Wrong("forbidden", into(_keep, "ann+tom")),
            "my saved messages": Wrong("forbidden", into(_keep, "ann's saved")),
        },
    ),
    "delete": Sample(
        _delete,
        touches=GROUP | {"gone", "eve", "group", "group *"},
        told={"channel.left": GROUP, "notification.removed": frozenset({"ann", "tom", "kim", "eve"})},
        refused=NOT_THEIRS,
        wrong={
            "a direct channel": Wrong("forbidden", into(_delete, "ann+tom")),
            "my saved messages": Wrong("forbidden", into(_delete, "ann's saved")),
        },
    ),
    "mute": Sample(
        lambda world: frames.ChannelMute(channel=world.channels["group"].id, until=datetime(2099, 1, 1, tzinfo=UTC)),
        touches=frozenset({"group"}),
        told={"channel.muted": ANN},
    ),
}

_COMING_AND_GOING = {
    "join": Sample(
        _join,
        touches=frozenset({"open"}),
        enters={"": "open"},
        outsiders=frozenset(),
        wrong={"a channel of a space": Wrong("missing", into(_join, "hall"))},
        told={"channel.member_joined": frozenset({"fay", "kim"}), "channel.joined": ANN},
    ),
    "leave": Sample(
        _leave,
        touches=frozenset({"group", "group *"}),
        told={"channel.member_left": GROUP - ANN, "channel.left": ANN, "notification.removed": ANN},
        wrong={
            "a direct channel": Wrong("forbidden", into(_leave, "ann+tom")),
            "a channel of a space": Wrong("forbidden", into(_leave, "hall")),
            "my saved messages": Wrong("forbidden", into(_leave, "ann's saved")),
        },
    ),
    "leave: a group of somebody else's": Sample(
        _leave,
        by="tom",
        touches=frozenset({"group", "group 8"}),
        told={
            "channel.member_left": GROUP - {"tom"},
            "channel.left": frozenset({"tom"}),
            "notification.removed": frozenset({"tom"}),
        },
    ),
    "add_member": Sample(
        _add,
        outsiders=OUTSIDERS,
        touches=frozenset({"group", "own"}),
        enters={"own": "group"},
        told={"channel.member_joined": GROUP, "channel.joined": frozenset({"own"})},
        wrong={
            "to a direct channel": Wrong("forbidden", into(_add, "ann+tom")),
            "to a channel of a space": Wrong("forbidden", into(_add, "hall")),
            "to my saved messages": Wrong("forbidden", into(_add, "ann's saved")),
        },
    ),
    "remove_member: not one of those who try": Sample(
        changed(_remove, user=lambda world: world.bea.id),
        touches=frozenset({"group", "bea"}),
        told={"channel.member_left": GROUP - {"bea"}, "channel.left": frozenset({"bea"})},
        refused=NOT_THEIRS,
    ),
    "remove_member": Sample(
        _remove,
        touches=frozenset({"group", "tom", "group 8"}),
        told={
            "channel.member_left": GROUP - {"tom"},
            "channel.left": frozenset({"tom"}),
            "notification.removed": frozenset({"tom"}),
        },
        refused=NOT_THEIRS,
        wrong={
            "myself": Wrong("invalid", changed(_remove, user=lambda world: world.ann.id)),
            "from a direct channel": Wrong("forbidden", into(_remove, "ann+tom")),
            "from a channel of a space": Wrong("forbidden", into(_remove, "hall")),
        },
    ),
}

SAMPLES = hall.CHANNELS | _MAKING | _LOOKING | _CHANGING | _COMING_AND_GOING
