"""invite: codes that lead into the club, whose owner is max, and into the fair, which is fay's (ways.py)."""

from typing import Any
from uuid import uuid4

from protocol import invite as frames
from tests.authorization.kinds import NO_RESIDENTS, OUTSIDERS
from tests.authorization.sample import Sample, Wrong
from tests.authorization.samples.proofs import changed
from tests.authorization.samples.role import role
from tests.authorization.samples.space import ANN
from tests.authorization.spaces import CLUB
from tests.authorization.ways import code, nonce
from tests.authorization.world import World

# Who does not invite, or does not do what only managers do.
_LACKING = dict.fromkeys(("timed out", "lower role", "same height"), "forbidden")
# Who has one of these roles may invite.
_HOST = """
    UPDATE role SET permissions = permissions | (1::bigint << 18)
     WHERE id IN (SELECT unnest(roles) FROM space_member WHERE account = $1);
    UPDATE space SET structure = structure + 1 WHERE id IN (SELECT space FROM space_member WHERE account = $1)
"""
_FAIR = frozenset({"fair"})
_KEPT_OUT = frozenset({"banned", "kicked"})
_FAIRS, _CLUBS = frozenset({"fair's invites"}), frozenset({"club's invites", "club"})


def _create(world: World) -> frames.InviteCreate:
    return frames.InviteCreate(space=world.spaces["club"].id, nonce=uuid4())


_vanity = changed(_create, vanity="analysts")


def _code(frame: Any, name: str) -> Any:
    return lambda world: frame(code=code(name)(world))


_get, _accept = _code(frames.InviteGet, "fair"), _code(frames.InviteAccept, "fair")


def _send(world: World) -> frames.InviteSend:
    return frames.InviteSend(code=world.codes["club"], user=world.own.id)


_revoke = _code(frames.InviteRevoke, "club")

SAMPLES = {
    "create": Sample(
        changed(_create, role=role("fans")),
        by="cal",
        touches=frozenset({"club"}),
        refused=_LACKING | {"member": "forbidden"},
        proves=lambda reply: reply["role"] and len(reply["code"]) == 12,
        wrong={
            "with a role as high as mine": Wrong("forbidden", changed(_create, role=role("chiefs"))),
            "with everyone's": Wrong("forbidden", changed(_create, role=role("everyone"))),
            "of one's own choice, with a role": Wrong("invalid", changed(_vanity, role=role("fans"))),
        },
    ),
    "create: of one's own choice": Sample(
        _vanity,
        by="cal",
        touches=frozenset({"club", "tom"}),
        refused=_LACKING | {"member": "forbidden"},
        proves=lambda reply: reply["code"] == "analysts" and reply["vanity"],
        wrong={
            "a code that is taken": Wrong("conflict", changed(_vanity, vanity=code("den"))),
        },
    ),
    "create: by a host": Sample(
        _create,
        by="tom",
        prepare=_HOST,
        touches=frozenset({"club"}),
        refused=_LACKING,
        proves=lambda reply: reply["role"] is None and len(reply["code"]) == 12,
        wrong={
            "with a role": Wrong("forbidden", changed(_create, role=role("fans"))),
            "of one's own choice": Wrong("forbidden", _vanity),
        },
    ),
    "create: again": Sample(
        changed(_create, nonce=nonce("tom's")),
        by="tom",
        prepare=_HOST,
        touches=frozenset({"club"}),
        refused=_LACKING,
        proves=lambda reply: len(reply["code"]) == 16,
    ),
    "create: with somebody else's nonce": Sample(
        changed(_create, nonce=nonce("club")),
        by="tom",
        prepare=_HOST,
        touches=frozenset({"club"}),
        refused=_LACKING,
        proves=lambda reply: len(reply["code"]) == 12,
    ),
    "list": Sample(
        lambda world: frames.InviteList(space=world.spaces["club"].id),
        proves=lambda reply: len(reply["invites"]) == 3,
    ),
    "list: one's own": Sample(
        lambda world: frames.InviteList(space=world.spaces["club"].id),
        by="tom",
        proves=lambda reply: len(reply["invites"]) == 1,
    ),
    "get": Sample(
        _get,
        in_space=True,
        outsiders=_KEPT_OUT,
        shows=_FAIRS,
        proves=lambda reply: reply["members"] == 2 and not reply["joined"],
    ),
    "get: into a space that is not open": Sample(
        _code(frames.InviteGet, "club"),
        by="own",
        in_space=True,
        outsiders=frozenset({"stranger", "banned"}),
        shows=_CLUBS,
        proves=lambda reply: reply["members"] == len(CLUB),
    ),
    "accept": Sample(
        _accept,
        in_space=True,
        touches=_FAIR | {"fay"},
        outsiders=_KEPT_OUT,
        told={"space.joined": ANN},
        proves=lambda reply: reply["members"] == 3,
    ),
    "accept: into a space that is not open": Sample(
        _code(frames.InviteAccept, "tom's"),
        by="own",
        in_space=True,
        touches=frozenset({"club", "tom"}),
        enters={"": "club"},
        outsiders=frozenset({"stranger", "banned"}),
        told={"space.joined": frozenset({"own"})},
    ),
    "accept: who is in": Sample(
        _code(frames.InviteAccept, "used"), by="kim", in_space=True, proves=lambda reply: reply["members"] == 2
    ),
    "send": Sample(
        _send,
        by="tom",
        prepare=_HOST,
        in_space=True,
        touches=frozenset({"own"}),
        outsiders=OUTSIDERS | NO_RESIDENTS,
        refused=_LACKING,
        told={"notification.created": frozenset({"own"})},
        shows_told=_CLUBS,
        wrong={
            "who is in": Wrong("conflict", changed(_send, user=lambda world: world.max.id)),
            "oneself": Wrong("conflict", changed(_send, user=lambda world: world.tom.id)),
            "who talks with friends only": Wrong("forbidden", changed(_send, user=lambda world: world.eve.id)),
            "who is kept out, as if they were told": Wrong("ok", changed(_send, user=lambda world: world.sid.id)),
            "where I am not": Wrong("missing", changed(_send, code=code("fair"))),
        },
    ),
    "revoke": Sample(
        _revoke,
        in_space=True,
        touches=frozenset({"club", "max"}),
        outsiders=OUTSIDERS | NO_RESIDENTS | {"member", "timed out"},
        wrong={"where I am not": Wrong("missing", _code(frames.InviteRevoke, "fair"))},
    ),
    "revoke: one's own": Sample(
        _code(frames.InviteRevoke, "tom's"),
        by="tom",
        in_space=True,
        touches=frozenset({"club", "tom"}),
        outsiders=OUTSIDERS | NO_RESIDENTS | {"timed out"},
        wrong={"the space's own, though of my making": Wrong("missing", _code(frames.InviteRevoke, "own"))},
    ),
}
