"""notification: ann's own; what she was notified of is told in world.py."""

from typing import Any

from protocol.notification import (
    NotificationConfigure,
    NotificationCounts,
    NotificationList,
    NotificationMarkRead,
    NotificationSettings,
)
from tests.authorization.kinds import NO_RESIDENTS, OUTSIDERS
from tests.authorization.sample import Sample, Wrong
from tests.authorization.samples.channel import ANN
from tests.authorization.samples.proofs import changed, into
from tests.authorization.world import World

_REMOVED = {"notification.removed": ANN}
_READ = {"notification.read": ANN}
_CONFIGURED = {"notification.configured": ANN}


# What there is for everyone, and for roles, in the spaces of somebody; nobody has looked at it yet.
_SUMMONED = """
    WITH new AS (
        SELECT c.space, m.channel, m.seq, row_number() OVER (PARTITION BY c.space ORDER BY m.channel, m.seq) AS n
          FROM message m JOIN channel c ON c.id = m.channel JOIN space_member r ON r.space = c.space
         WHERE r.account = $1 AND (m.mention_everyone OR m.mention_roles IS NOT NULL)
    ), p AS (UPDATE space SET summons = 100 WHERE id IN (SELECT space FROM new)
    ), r AS (UPDATE space_member SET summons = 0)
    INSERT INTO summons SELECT space, n, channel, seq, '{}', true FROM new
"""
_TOMS = ("friend_request", "mention")


def _list(world: World) -> NotificationList:
    return NotificationList()


def _read(world: World) -> NotificationMarkRead:
    return NotificationMarkRead(channel=world.channels["group"].id)


def _configure(world: World) -> NotificationConfigure:
    return NotificationConfigure(channel=world.channels["group"].id, level="nothing")


def _in_club(world: World) -> NotificationConfigure:
    return NotificationConfigure(space=world.spaces["club"].id, level="nothing")


def _are(*ids: int) -> Any:
    return lambda reply: [one["id"] for one in reply["notifications"]] == list(ids)


SAMPLES = {
    "list": Sample(_list, told=_REMOVED, proves=_are(0, -1)),
    "list: of who was put out": Sample(
        _list, by="eve", told={"notification.removed": frozenset({"eve"})}, proves=_are(0)
    ),
    "list: of somebody else": Sample(_list, by="kim", proves=_are(0, -1)),
    "list: what was said to everyone": Sample(
        _list,
        by="tom",
        prepare=_SUMMONED,
        told={"notification.created": frozenset({"tom"})},
        proves=lambda reply: [one["kind"] for one in reply["notifications"]] == ["mention_role", *_TOMS],
    ),
    "list: unread": Sample(changed(_list, unread=True), by="tom", proves=_are(-1)),
    "counts": Sample(
        lambda world: NotificationCounts(), told=_REMOVED, proves=lambda reply: reply["counts"]["unread"] == 2
    ),
    "mark_read": Sample(
        _read,
        told=_READ,
        proves=lambda reply: reply["unread"] == 2,
        wrong={"nothing": Wrong("invalid", changed(_read, channel=None))},
    ),
    "mark_read: up to one": Sample(
        changed(_read, channel=None, until=0),
        outsiders=frozenset(),
        told=_READ,
        proves=lambda reply: reply["unread"] == 0,
    ),
    "configure": Sample(
        _configure,
        touches=frozenset({"group"}),
        told=_CONFIGURED,
        wrong={"nowhere": Wrong("invalid", changed(_configure, channel=None))},
    ),
    "configure: a space": Sample(_in_club, in_space=True, touches=frozenset({"club"}), told=_CONFIGURED),
    "configure: a channel of a space": Sample(
        into(_configure, "cellar"),
        in_space=True,
        outsiders=OUTSIDERS | NO_RESIDENTS | {"member", "lower role"},
        touches=frozenset({"cellar"}),
        told=_CONFIGURED,
    ),
    "settings": Sample(
        lambda world: NotificationSettings(),
        proves=lambda reply: [one["level"] for one in reply["settings"]] == ["all"],
    ),
}
