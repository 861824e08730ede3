"""Who sits in calls and voice channels while somebody tries something: they are in Redis, so no rows tell of it.

In the club's hall, when it is a voice channel (`VOICE`) or a stage (`STAGE`), everybody speaks or listens, and mods and
helpers move others. In ann's group there is a call by tom that rings for ann and kim (`CALLED`); in fay's, another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from protocol.permission import bits
from storage.room import Place, RoomStore, Seat

if TYPE_CHECKING:
    from tests.authorization.world import World

DOMAINS = frozenset({"voice", "stage", "call"})
CALL, ELSEWHERE = UUID("0197ca11-0000-7000-8000-000000000001"), UUID("0197ca11-0000-7000-8000-000000000002")
_LONG = 3600.0
_IN, _MOVE = bits(["connect", "speak", "video"]), bits(["connect", "speak", "video", "move_members"])


def _room(kind: str, allow: int) -> str:
    overwrites = "".join(
        f"""
        INSERT INTO overwrite (channel, target, member, allow, deny) VALUES (<hall>, <{target}>, false, {bits_}, 0)
        ON CONFLICT (channel, target) DO UPDATE SET allow = overwrite.allow | excluded.allow;
        """
        for target, bits_ in (("club", allow), ("role mods", _MOVE), ("role helpers", _MOVE))
    )
    return f"""
        UPDATE channel SET kind = '{kind}' WHERE id = <hall>; {overwrites}
        UPDATE space SET structure = structure + 1 WHERE id = <club>
    """


VOICE, STAGE = _room("voice", _IN), _room("stage", bits(["connect"]))


def _call(id: UUID, channel: str, seq: int, *, people: str, answered: bool) -> str:
    state = "live" if answered else "ringing"
    json = f'{{"id":"{id}","state":"{state}","video":false,"people":[],"answered_at":null,"ended_at":null}}'
    return f"""
        INSERT INTO call (channel, id, seq, caller, nonce, until, answered)
        SELECT <{channel}>, '{id}', {seq}, {people}, gen_random_uuid(), now() + interval '1 h', {answered};
        UPDATE message SET call = '{json}' WHERE channel = <{channel}> AND seq = {seq}
    """


_TOM = "(SELECT author FROM message WHERE channel = <group> AND seq = 2)"
_FAY = "(SELECT owner FROM channel WHERE id = <foreign>)"
_OTHER = f"""
    {_call(ELSEWHERE, "foreign", 1, people=_FAY, answered=False)};
    INSERT INTO ring (call, account) VALUES ('{ELSEWHERE}', $1)
"""
_RINGS = f"""
    INSERT INTO ring (call, account) SELECT '{CALL}', account FROM member
     WHERE channel = <group> AND account IN ($1, (SELECT author FROM message WHERE channel = <group> AND seq = 2))
"""
CALLED = f"{_OTHER}; {_call(CALL, 'group', 9, people=_TOM, answered=False)}; {_RINGS}"
CALLING = f"{_OTHER}; {_call(CALL, 'group', 9, people='$1::uuid', answered=False)}; {_RINGS}"
# tom hears nothing in the club, nor does bea; and ann nowhere else.
HUSHED = f"""
    {VOICE}; INSERT INTO hush (space, account, muted, deafened)
    SELECT <club>, account, false, true FROM space_member WHERE space = <club> AND account IN
           (SELECT author FROM message WHERE channel = <hall> AND seq = 2 UNION
            SELECT account FROM reaction WHERE channel = <hall> AND seq = 2)
    UNION ALL SELECT <den>, $1, true, true
    UNION ALL SELECT <den>, author, true, true FROM message WHERE channel = <hall> AND seq = 2
"""


def seat(name: str) -> UUID:
    """Where somebody sits."""
    return uuid5(CALL, name)


async def furnish(world: World, sits: Mapping[str, Sequence[str]]) -> None:
    """These sit where they should, own elsewhere, and nobody anywhere else. tom only listens."""
    rooms, script = world.server.rooms, world.server.bus.script
    await script("for _, k in ipairs(redis.call('KEYS', '*room:*')) do redis.call('DEL', k) end return 1", [], [])
    await script("for _, k in ipairs(redis.call('KEYS', '*seat:*')) do redis.call('DEL', k) end return 1", [], [])
    for held in rooms._seats.all():
        rooms.let_go(held.ctx)
    rooms._rooms.clear()
    store = RoomStore(script, _LONG)
    for where, names in {**sits, "stove": ("own",)}.items():
        channel, call = (world.channels["group"].id, CALL) if where == "call" else (world.channels[where].id, None)
        for number, name in enumerate(names):
            account, room = world.people[name].id, call or channel
            values: dict[str, Any] = {"user": account, "seat": seat(name), "login": seat(name), "holder": seat(name)}
            at = datetime.now(UTC) - timedelta(seconds=60 - number)
            await store.enter(room, Seat(**values, joined_at=at, speaker=name != "tom"), 99)
            await store.sit(account, Place(channel, room, seat(name), call))
