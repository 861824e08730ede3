"""Avatars: one of the pictures that come with the server, or one that who chooses it has uploaded for that."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from protocol.error import Invalid
from storage import file as files

if TYPE_CHECKING:
    from protocol.file import Purpose
    from server.context import Context


async def check_avatar(ctx: Context, avatar: str | None) -> None:
    """That there is such a picture, or that none is wanted. Of others' files nobody learns whether they exist."""
    if not avatar or avatar in ctx.app.site.avatars:
        return
    id = _id(avatar)
    if id is None or not await uploaded(ctx, id, "avatar"):
        raise Invalid("there is no such avatar: see account.avatars, or upload one", field="avatar")


async def uploaded(ctx: Context, id: UUID, purpose: Purpose) -> bool:
    """Whether it is a picture that the asker has uploaded for this, and that can be seen."""
    found = await files.own(ctx.db, ctx.user, id)
    return found is not None and (found.purpose, found.state) == (purpose, "ready")


def _id(text: str) -> UUID | None:
    """Spelt as ids are, so that the same avatar is the same text."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text else None
