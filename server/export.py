"""Everything that is kept about an account, in parts that fit into a frame.

Rule: a part ends where a cursor says, so the next one goes on there whatever happens in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from protocol.account import Account, AccountExported
from protocol.codec import encode
from protocol.error import Invalid
from protocol.frame import Body
from storage import api_key, device, export, friend, presence
from storage.pool import BadData, Database

_BYTES = 200_000
_AT_ONCE = 200

Section = Callable[[Database, UUID, str, int], Awaitable[Sequence[tuple[str, Body]]]]

# In this order; each is a list of the same name in the reply.
_SECTIONS: dict[str, Section] = {
    "blocked": export.blocked,
    "friends": export.friends,
    "audit": export.audit,
    "deeds": export.deeds,
    "channels": export.channels,
    "spaces": export.spaces,
    "drafts": export.drafts,
    "scheduled": export.scheduled,
    "invites": export.invites,
    "threads": export.threads,
    "reports": export.reports,
    "reactions": export.reactions,
    "votes": export.votes,
    "files": export.files,
    "notifications": export.notifications,
    "notification_settings": export.notification_settings,
    "messages": export.messages,
}


async def part(db: Database, me: Account, here: UUID | None, after: str | None) -> AccountExported:
    """What fits into one frame, from a cursor on."""
    lists, cursor = await _gather(db, me.id, after)
    found = AccountExported(exported_at=datetime.now(UTC), account=me, next=cursor, **lists)
    if after is not None:
        return found
    return msgspec.structs.replace(
        found,
        devices=await device.listing(db, me.id, here),
        keys=await api_key.listing(db, me.id),
        presence=await presence.chosen(db, me.id),
        privacy=await friend.privacy(db, me.id),
    )


async def _gather(db: Database, account: UUID, after: str | None) -> tuple[dict[str, Any], str | None]:
    """As much as there is room for, and where the rest begins."""
    lists: dict[str, Any] = {}
    size, place = 0, _Place(after)
    while place.section:
        page = await place.read(db, account)
        for key, item in page:
            size += len(encode(item))
            if size > _BYTES and lists:
                return lists, place.cursor
            lists.setdefault(place.section, []).append(item)
            place.key = key
        if len(page) < _AT_ONCE:
            place.advance()
    return lists, None


class _Place:
    """How far an export is: a section, and the key of the last item that was taken of it."""

    def __init__(self, cursor: str | None) -> None:
        self.section, _, self.key = (next(iter(_SECTIONS)) if cursor is None else cursor).partition(" ")
        if self.section not in _SECTIONS:
            raise Invalid("this is no `next` of a part", field="after")

    async def read(self, db: Database, account: UUID) -> Sequence[tuple[str, Body]]:
        """The next items of the section."""
        try:
            return await _SECTIONS[self.section](db, account, self.key, _AT_ONCE)
        except BadData:
            raise Invalid("this is no `next` of a part", field="after") from None

    def advance(self) -> None:
        """The section is done; after the last one there is none."""
        names = [*_SECTIONS, ""]
        self.section, self.key = names[names.index(self.section) + 1], ""

    @property
    def cursor(self) -> str:
        """Where to go on."""
        return f"{self.section} {self.key}"
