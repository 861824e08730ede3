"""Avatars: one of the pictures that come with the server, or one that who chooses it has uploaded for that."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from protocol.error import Invalid
from storage import file as files

if TYPE_CHECKING:
    from server.context import Context


async def check_avatar(ctx: Context, avatar: str | None) -> None:
    """That there is such a picture, or that none is wanted. Of others' files nobody learns whether they exist."""
    if not avatar or avatar in ctx.app.site.avatars:
        return
    id = _id(avatar)
    found = await files.own(ctx.db, ctx.user, id) if id is not None else None
    if found is None or (found.purpose, found.state) != ("avatar", "ready"):
        raise Invalid("there is no such avatar: see account.avatars, or upload one", field="avatar")


def _id(text: str) -> UUID | None:
    """Spelt as ids are, so that the same avatar is the same text."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text else None
