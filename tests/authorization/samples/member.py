"""member: those of the club. Of who tries, tom has no right, kim is timed out, and lea stands lower than ann."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from protocol import member as frames
from tests.authorization.kinds import NO_RESIDENTS, OUTSIDERS
from tests.authorization.sample import Making, Sample, Wrong
from tests.authorization.samples.proofs import changed, into
from tests.authorization.samples.role import person, role
from tests.authorization.samples.space import LACKING
from tests.authorization.spaces import CLUB
from tests.authorization.world import World

_TOM = frozenset({"tom"})
_TOMS = frozenset({"club", "tom", "hall", "hall 8"})
_SOON = datetime.now(UTC) + timedelta(days=1)
_LEFT, _CHANGED = {"space.left": _TOM}, {"member.changed": _TOM}


def _about(frame: Callable[..., Any], who: str = "tom", **fields: Any) -> Making:
    return lambda world: frame(space=world.spaces["club"].id, user=world.people[who].id, **fields)


_get, _kick, _ban = _about(frames.MemberGet), _about(frames.MemberKick), _about(frames.MemberBan)
_update, _timeout = _about(frames.MemberUpdate, nick="a new one"), _about(frames.MemberTimeout, until=_SOON)
_unban = _about(frames.MemberUnban, "ivy")


def _suggest(world: World) -> frames.MemberSuggest:
    return frames.MemberSuggest(channel=world.channels["hall"].id, text=world.spaces["club"].nicks["tom"])


def _below(frame: Making) -> dict[str, Wrong]:
    """Members whom nobody touches who does not stand above them."""
    return {
        "who stands as high": Wrong("forbidden", changed(frame, user=person("bea"))),
        "who stands higher": Wrong("forbidden", changed(frame, user=person("cal"))),
        "who stands as high as low ones": Wrong("forbidden", changed(frame, user=person("lea")), by="lea"),
        "who stands higher than low ones": Wrong("forbidden", changed(frame, user=person("ann")), by="lea"),
        "the owner, as a chief": Wrong("forbidden", changed(frame, user=person("max")), by="cal"),
    }


def _counts(members: int) -> Any:
    return lambda reply: (len(reply["members"]), reply["total"]) == (members, members)


def _search(world: World) -> frames.MemberSearch:
    return frames.MemberSearch(space=world.spaces["club"].id, text=world.spaces["club"].nicks["tom"])


_BELOW = {what: one for what, one in _below(_update).items() if what != "who stands as high as low ones"}
_BANNABLE = frozenset({"somebody who was in it", "somebody who is not in it", "somebody who is kept out of it"})
SAMPLES = {
    "list": Sample(
        lambda world: frames.MemberList(space=world.spaces["club"].id), shows=CLUB, proves=_counts(len(CLUB))
    ),
    "list: with a role": Sample(
        lambda world: frames.MemberList(space=world.spaces["club"].id, role=role("mods")(world)),
        shows=CLUB,
        proves=_counts(3),
    ),
    "get": Sample(_get, shows=_TOM, proves=lambda reply: len(reply["roles"]) == 1),
    "search": Sample(_search, shows=_TOM, proves=_counts(1)),
    "search: by username": Sample(
        lambda world: frames.MemberSearch(space=world.spaces["club"].id, text=world.tom.username),
        shows=_TOM,
        proves=_counts(1),
    ),
    "search: who is called so elsewhere": Sample(
        lambda world: frames.MemberSearch(space=world.spaces["club"].id, text=world.spaces["hut"].nicks["tom"]),
        proves=_counts(0),
    ),
    "suggest": Sample(_suggest, in_space=True, shows=_TOM, proves=_counts(1)),
    "suggest: who does not see it": Sample(
        into(_suggest, "cellar"),
        in_space=True,
        outsiders=OUTSIDERS | NO_RESIDENTS | {"member", "lower role"},
        shows=_TOM,
        proves=_counts(0),
    ),
    "update": Sample(
        _update,
        touches=frozenset({"club", "tom"}),
        told=_CHANGED,
        shows=_TOM,
        refused={"timed out": "forbidden"},
        proves=lambda reply: reply["nick"] == "a new one",
        wrong={
            **_BELOW,
            "somebody else, without the right": Wrong("forbidden", changed(_update, user=person("lea")), by="tom"),
            "oneself, when timed out": Wrong("forbidden", changed(_update, user=person("kim")), by="kim"),
        },
    ),
    "kick": Sample(_kick, touches=_TOMS, told=_LEFT, refused=LACKING, wrong=_below(_kick)),
    "ban": Sample(
        _ban,
        touches=_TOMS,
        told=_LEFT,
        refused=LACKING,
        reaches=_BANNABLE,
        wrong={
            **{what: one for what, one in _below(_ban).items() if what != "who stands as high as low ones"},
            "a deleted account": Wrong("missing", changed(_ban, user=person("gone"))),
            "who blocks me, and is not in it": Wrong("missing", changed(_ban, user=person("fay")), by="lea"),
            "myself": Wrong("invalid", changed(_ban, user=person("ann"))),
        },
    ),
    "ban: who is not in it": Sample(
        _about(frames.MemberBan, "fay"), touches=frozenset({"club", "fay"}), refused=LACKING, reaches=_BANNABLE
    ),
    "ban: and take back what they said": Sample(
        _about(frames.MemberBan, purge=604_800),
        reaches=_BANNABLE,
        touches=_TOMS | {"ann", "bea", "lea", "max", "cal", "hall *", "blank", "blank *"},
        told=_LEFT | {"message.deleted": CLUB - _TOM},
        refused=LACKING,
    ),
    "ban: and take back what they said last": Sample(
        _about(frames.MemberBan, purge=1), touches=_TOMS, told=_LEFT, refused=LACKING, reaches=_BANNABLE
    ),
    "unban": Sample(
        _unban,
        touches=frozenset({"club", "ivy"}),
        refused=LACKING,
        reaches=frozenset({"somebody who is kept out of it"}),
        wrong={"who is in it": Wrong("missing", changed(_unban, user=person("tom")))},
    ),
    "bans": Sample(
        lambda world: frames.MemberBans(space=world.spaces["club"].id),
        shows=frozenset({"sid", "ivy"}),
        refused=LACKING,
        proves=lambda reply: len(reply["bans"]) == 2,
    ),
    "timeout": Sample(
        _timeout,
        touches=frozenset({"club", "tom"}),
        told=_CHANGED | {"space.changed": _TOM},
        shows=_TOM,
        refused=LACKING,
        wrong={
            **_below(_timeout),
            "a chief, by the owner": Wrong("forbidden", changed(_timeout, user=person("cal")), by="max"),
            "for too long": Wrong("invalid", changed(_timeout, until=_SOON + timedelta(days=28))),
        },
    ),
}
