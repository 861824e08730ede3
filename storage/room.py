"""room: who is in calls and voice channels, in Redis: a room is a hash that several processes change, script by script.

Rule 1: a seat lasts for a while after the process that holds its socket has renewed it last. So nobody has to tell that
        a process was killed, and who comes back within that time never left.
Rule 2: an account has one seat in a room, and a seat one holder: who takes it over renews it from then on.
Rule 3: a seat that Redis has forgotten is put back by who renews it; one that was taken is not: that is remembered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.codec import encode
from protocol.error import Unavailable
from protocol.voice import Participant

Script = Callable[[str, Sequence[str], Sequence[Any]], Awaitable[Any]]
Why = Literal["elsewhere", "ended", "forbidden", "lost", "moved", "put_out"]
_OWN = {"login", "holder"}


class Seat(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody in a room: what others are told of them, on which login, and who holds their socket."""

    user: UUID
    seat: UUID
    login: UUID
    holder: UUID
    joined_at: datetime
    speaker: bool = False
    silenced: bool = False
    deaf: bool = False
    muted: bool = False
    deafened: bool = False
    camera: bool = False
    screen: bool = False
    speaking: bool = False
    asking: bool = False
    invited: bool = False

    def shown(self) -> Participant:
        """As others see it."""
        names = (name for name in self.__struct_fields__ if name not in _OWN)
        return Participant(**{name: getattr(self, name) for name in names})


_seat = msgspec.json.Decoder(Seat).decode

# What stands in a room: `s:` a seat, `u:` until when it lasts, `a:` the seat of an account.
_COMMON = """
local room, gone = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local function out(seat, why)
    local one = redis.call('HGET', room, 's:' .. seat)
    if not one then return 0 end
    local account = 'a:' .. cjson.decode(one).user
    redis.call('HDEL', room, 's:' .. seat, 'u:' .. seat)
    if redis.call('HGET', room, account) == seat then redis.call('HDEL', room, account) end
    redis.call('HSET', gone, seat, why)
    redis.call('EXPIRE', gone, 300)
    return 1
end
local function seats()
    local all, found = redis.call('HGETALL', room), {}
    for at = 1, #all, 2 do
        if all[at]:sub(1, 2) == 'u:' and tonumber(all[at + 1]) < now then out(all[at]:sub(3), 'lost') end
    end
    all = redis.call('HGETALL', room)
    for at = 1, #all, 2 do
        if all[at]:sub(1, 2) == 's:' then found[#found + 1] = all[at + 1] end
    end
    return found
end
local function put(seat, record, account, lasting)
    redis.call('HSET', room, 's:' .. seat, record, 'u:' .. seat, now + lasting, 'a:' .. account, seat)
    redis.call('EXPIRE', room, math.ceil(lasting) + 60)
end
"""
_ENTER = (
    _COMMON
    + """
local record, lasting, most = cjson.decode(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local count = #seats()
local old = redis.call('HGET', room, 'a:' .. record.user)
if old then
    local one = cjson.decode(redis.call('HGET', room, 's:' .. old))
    if one.login == record.login then
        one.holder = record.holder
        put(old, cjson.encode(one), one.user, lasting)
        return {cjson.encode(one)}
    end
    count = count - 1
end
if count >= most then return {} end
if old then out(old, 'elsewhere') end
put(record.seat, ARGV[1], record.user, lasting)
return {ARGV[1]}
"""
)
_LEAVE = _COMMON + "return {out(ARGV[1], ARGV[2]), #seats()}"
_LOOK = _COMMON + "return seats()"
_WHY = "return redis.call('HGET', KEYS[2], ARGV[1])"
_CLOSE = _COMMON + "for _, one in ipairs(seats()) do out(cjson.decode(one).seat, ARGV[1]) end return 1"
_CHANGE = (
    _COMMON
    + """
local one = redis.call('HGET', room, 's:' .. ARGV[1])
if not one then return 0 end
one = cjson.decode(one)
for name, value in pairs(cjson.decode(ARGV[2])) do one[name] = value end
redis.call('HSET', room, 's:' .. ARGV[1], cjson.encode(one))
return 1
"""
)
# Of each seat: renewed, or put back if nobody else has its place and it was not taken.
_RENEW = (
    _COMMON
    + """
local lasting = tonumber(ARGV[1])
for at = 2, #ARGV do
    local record = cjson.decode(ARGV[at])
    local known = redis.call('HGET', room, 's:' .. record.seat)
    if known then
        if cjson.decode(known).holder == record.holder then put(record.seat, known, record.user, lasting) end
    elseif redis.call('HEXISTS', gone, record.seat) == 0 and redis.call('HEXISTS', room, 'a:' .. record.user) == 0 then
        put(record.seat, ARGV[at], record.user, lasting)
    end
end
return seats()
"""
)
_SIT = """
local before = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return before or ''
"""
_RISE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"


class Place(Struct, frozen=True):
    """Where an account sits."""

    channel: UUID
    room: UUID
    seat: UUID
    call: UUID | None = None


_place = msgspec.json.Decoder(Place).decode


class RoomStore:
    """All rooms. Without Redis nothing can be changed: `Unavailable`; who only looks is told None."""

    def __init__(self, script: Script, lasting: float) -> None:
        self._script, self._lasting = script, lasting

    async def enter(self, room: UUID, seat: Seat, most: int) -> Seat | None:
        """Take a seat, or the one again that the same login has there; None when there is no room."""
        told = await self._do(_ENTER, room, encode(seat), self._lasting, most)
        return _seat(told[0]) if told else None

    async def leave(self, room: UUID, seat: UUID, why: str) -> tuple[bool, int]:
        """Take a seat away; whether it was there, and how many are left."""
        was, left = await self._do(_LEAVE, room, str(seat), why)
        return bool(was), left

    async def close(self, room: UUID, why: Why) -> None:
        """Take all of them away."""
        await self._do(_CLOSE, room, why)

    async def change(self, room: UUID, seat: UUID, **fields: bool) -> bool:
        """Say how somebody is there; False when they are not."""
        return bool(await self._do(_CHANGE, room, str(seat), encode(fields)))

    async def seats(self, room: UUID) -> list[Seat]:
        """Who is there, in the order in which they came."""
        return _sorted(await self._do(_LOOK, room))

    async def renew(self, room: UUID, held: Sequence[Seat]) -> list[Seat] | None:
        """The same, after renewing those that are held; None when Redis is away."""
        told = await self._script(_RENEW, _keys(room), [self._lasting, *map(encode, held)])
        return None if told is None else _sorted(told)

    async def why(self, room: UUID, seat: UUID) -> str:
        """Why a seat is no more."""
        told = await self._script(_WHY, _keys(room), [str(seat)])
        return told.decode() if told else "lost"

    async def _do(self, script: str, room: UUID, *values: Any) -> Any:
        told = await self._script(script, _keys(room), values)
        if told is None:
            raise Unavailable("calls are away for a moment", retry_after=1)
        return told

    # Where an account is

    async def sit(self, account: UUID, place: Place) -> Place | None:
        """An account is there now, or still; where it was before."""
        told = await self._script(_SIT, [_at(account)], [encode(place), int(self._lasting) + 1])
        return _place(told) if told else None

    async def rise(self, account: UUID, place: Place) -> None:
        """It is not there any more."""
        await self._script(_RISE, [_at(account)], [encode(place)])

    async def place(self, account: UUID) -> Place | None:
        """Where an account is."""
        told = await self._script("return redis.call('GET', KEYS[1])", [_at(account)], [])
        return _place(told) if told else None


def _sorted(records: Sequence[bytes]) -> list[Seat]:
    return sorted(map(_seat, records), key=lambda one: (one.joined_at, one.seat))


def _keys(room: UUID) -> list[str]:
    return [f"room:{{{room}}}", f"room:{{{room}}}:gone"]


def _at(account: UUID) -> str:
    return f"seat:{account}"
