"""friend: tom is nothing to ann; adm is her friend, own and eve have asked her, and she has asked ivy (world.py)."""

from protocol.friend import (
    FriendAccept,
    FriendDecline,
    FriendList,
    FriendPrivacy,
    FriendRemove,
    FriendRequest,
    FriendSetPrivacy,
)
from tests.authorization.sample import Sample, Wrong
from tests.authorization.world import World

_BOTH = frozenset({"ann", "tom"})
_NONE: frozenset[str] = frozenset()


def _request(world: World) -> FriendRequest:
    return FriendRequest(user=world.tom.id)


def _of_ann(world: World) -> FriendRequest:
    return FriendRequest(user=world.ann.id)


_ASKING = {
    "request": Sample(
        _request,
        touches=frozenset({"tom"}),
        told={"friend.requested": _BOTH, "notification.created": frozenset({"tom"})},
        wrong={
            "oneself": Wrong("invalid", _of_ann),
            "who takes none": Wrong("forbidden", lambda world: FriendRequest(user=world.kim.id)),
            "who takes those of others": Wrong("forbidden", lambda world: FriendRequest(user=world.fay.id)),
        },
        proves=lambda reply: reply["state"] == "waiting",
    ),
    "request: a friend of a friend": Sample(
        lambda world: FriendRequest(user=world.fay.id),
        by="tom",
        outsiders=_NONE,
        touches=frozenset({"fay"}),
        told={"friend.requested": frozenset({"tom", "fay"}), "notification.created": frozenset({"fay"})},
    ),
    "request: who has asked": Sample(
        lambda world: FriendRequest(user=world.eve.id),
        outsiders=_NONE,
        touches=frozenset({"eve"}),
        told={"friend.added": frozenset({"ann", "eve"}), "notification.created": frozenset({"eve"})},
        proves=lambda reply: reply["state"] == "friend",
    ),
    "accept": Sample(
        lambda world: FriendAccept(user=world.tom.id),
        first=("tom", _of_ann),
        touches=frozenset({"tom"}),
        told={
            "friend.added": _BOTH,
            "notification.created": frozenset({"tom"}),
            "notification.removed": frozenset({"ann"}),
        },
        wrong={
            "who has asked somebody else": Wrong("conflict", lambda world: FriendAccept(user=world.sid.id)),
            "whom one has asked": Wrong("conflict", lambda world: FriendAccept(user=world.ivy.id)),
        },
        proves=lambda reply: reply["state"] == "friend",
    ),
}
_ENDING = {
    "decline": Sample(
        lambda world: FriendDecline(user=world.tom.id),
        first=("tom", _of_ann),
        touches=frozenset({"tom"}),
        told={"friend.removed": _BOTH, "notification.removed": frozenset({"ann"})},
    ),
    "decline: a friend stays one": Sample(lambda world: FriendDecline(user=world.adm.id), outsiders=_NONE),
    "remove": Sample(
        lambda world: FriendRemove(user=world.tom.id),
        first=("ann", _request),
        touches=frozenset({"tom"}),
        told={"friend.removed": _BOTH, "notification.removed": frozenset({"tom"})},
    ),
    "remove: a friend": Sample(
        lambda world: FriendRemove(user=world.adm.id),
        outsiders=_NONE,
        touches=frozenset({"adm"}),
        told={"friend.removed": frozenset({"ann", "adm"})},
    ),
    "remove: who has asked stays one who has": Sample(lambda world: FriendRemove(user=world.own.id), outsiders=_NONE),
}
_OWN = {
    "list": Sample(
        lambda world: FriendList(),
        proves=lambda reply: [one["state"] for one in reply["friends"]] == ["waiting", "friend", "asked", "asked"],
    ),
    "privacy": Sample(
        lambda world: FriendPrivacy(), proves=lambda reply: reply == {"requests": "everyone", "directs": "friends"}
    ),
    "set_privacy": Sample(
        lambda world: FriendSetPrivacy(requests="nobody"),
        proves=lambda reply: reply == {"requests": "nobody", "directs": "friends"},
    ),
}
SAMPLES = {**_ASKING, **_ENDING, **_OWN}
