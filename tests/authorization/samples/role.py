"""role: those of the club. Of who tries, tom has no right, kim is timed out, and lea stands lower than ann."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from protocol import role as frames
from tests.authorization.sample import Making, Sample, Wrong
from tests.authorization.samples.proofs import changed
from tests.authorization.samples.space import CHANGED, LACKING
from tests.authorization.world import World

_CLUB, _FANS = frozenset({"club"}), frozenset({"club", "role fans"})
ROLES = frozenset({"club", *(f"role {name}" for name in ("fans", "helpers", "mods", "chiefs"))})


def role(name: str, space: str = "club") -> Any:
    """The id of a role."""
    return lambda world: world.spaces[space].roles[name]


def person(name: str) -> Any:
    """The id of somebody."""
    return lambda world: world.people[name].id


def _about(frame: Callable[..., Any], which: str, **fields: Any) -> Making:
    return changed(lambda world: frame(space=world.spaces["club"].id, role=role(which)(world)), **fields)


def _to(frame: Callable[..., Any], which: str, who: str) -> Making:
    return lambda world: frame(space=world.spaces["club"].id, role=role(which)(world), user=world.people[who].id)


def _create(world: World) -> frames.RoleCreate:
    return frames.RoleCreate(space=world.spaces["club"].id, name="a new one", nonce=uuid4(), permissions=["kick"])


def _reorder(*names: str) -> Making:
    return lambda world: frames.RoleReorder(
        space=world.spaces["club"].id, roles=[world.spaces["club"].roles[name] for name in names]
    )


_update, _delete = _about(frames.RoleUpdate, "fans", name="a new name"), _about(frames.RoleDelete, "fans")
_grant, _revoke = _to(frames.RoleGrant, "fans", "lea"), _to(frames.RoleRevoke, "fans", "tom")


def _not_below(frame: Making) -> dict[str, Wrong]:
    """Roles that nobody changes who does not stand above them."""
    return {
        "as high as mine": Wrong("forbidden", changed(frame, role=role("mods"))),
        "higher than mine": Wrong("forbidden", changed(frame, role=role("chiefs"))),
        "as high as who stands lower": Wrong("forbidden", changed(frame, role=role("helpers")), by="lea"),
        "the highest, by who has it": Wrong("forbidden", changed(frame, role=role("chiefs")), by="cal"),
    }


def _not_to(frame: Making) -> dict[str, Wrong]:
    """Members whose roles nobody changes who does not stand above them."""
    return {
        **_not_below(frame),
        "of who stands as high": Wrong("forbidden", changed(frame, user=person("bea"))),
        "of who stands higher": Wrong("forbidden", changed(frame, user=person("cal"))),
        "of the owner, as a chief": Wrong("forbidden", changed(frame, user=person("max")), by="cal"),
        "of who stands higher than who stands low": Wrong("forbidden", changed(frame, user=person("ann")), by="lea"),
        "everyone's": Wrong("forbidden", changed(frame, role=role("everyone"))),
    }


SAMPLES = {
    "create": Sample(
        _create,
        touches=ROLES,
        told=CHANGED,
        refused=LACKING,
        proves=lambda reply: reply["position"] == 1 and reply["permissions"] == ["kick"],
        wrong={
            "with what I lack": Wrong("forbidden", changed(_create, permissions=["administrator"])),
            "with what I lack everywhere": Wrong("forbidden", changed(_create, permissions=["invite"])),
        },
    ),
    "create: again": Sample(
        changed(_create, nonce=lambda world: world.spaces["club"].nonces["mods"]),
        refused=LACKING,
        proves=lambda reply: reply["position"] == 3,
    ),
    "create: with a nonce of another space": Sample(
        changed(_create, nonce=lambda world: world.spaces["den"].nonces["cooks"]),
        touches=ROLES,
        told=CHANGED,
        refused=LACKING,
        proves=lambda reply: reply["position"] == 1,
    ),
    "update": Sample(
        _update,
        touches=_FANS,
        told=CHANGED,
        refused=LACKING,
        proves=lambda reply: reply["name"] == "a new name",
        wrong={
            **_not_below(_update),
            "everyone's": Wrong("invalid", changed(_update, role=role("everyone"))),
            "with what I lack": Wrong("forbidden", changed(_update, permissions=["administrator"])),
        },
    ),
    "update: everyone's": Sample(
        _about(frames.RoleUpdate, "everyone", permissions=["view"]), touches=_CLUB, told=CHANGED, refused=LACKING
    ),
    "delete": Sample(
        _delete,
        touches=_FANS,
        told=CHANGED,
        refused=LACKING,
        wrong={**_not_below(_delete), "everyone's": Wrong("forbidden", changed(_delete, role=role("everyone")))},
    ),
    "reorder": Sample(
        _reorder("chiefs", "mods", "fans", "helpers"),
        touches=ROLES,
        told=CHANGED,
        refused=LACKING | {"lower role": "forbidden"},
        missing="missing",
        wrong={
            "above me": Wrong("forbidden", _reorder("mods", "chiefs", "helpers", "fans")),
            "one as high as I": Wrong("forbidden", _reorder("chiefs", "helpers", "mods", "fans")),
            "not all of them": Wrong("invalid", _reorder("chiefs", "mods", "helpers")),
            "one of them twice": Wrong("invalid", _reorder("chiefs", "mods", "fans", "helpers", "fans")),
            "everyone's, too": Wrong("invalid", _reorder("chiefs", "mods", "fans", "helpers", "everyone")),
        },
    ),
    "grant": Sample(
        _grant,
        touches=_CLUB | {"lea"},
        told={"member.changed": frozenset({"lea"})},
        refused=LACKING,
        wrong=_not_to(_grant),
    ),
    "revoke": Sample(
        _revoke,
        touches=_CLUB | {"tom"},
        told={"member.changed": frozenset({"tom"})},
        refused=LACKING,
        wrong=_not_to(_revoke),
    ),
}
