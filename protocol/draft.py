"""draft: what you have begun to write, on all of your devices."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import AccountFact, Body, ChannelId, Nothing, Request, Text, Time
from protocol.message import Replied


class Draft(Body, frozen=True):
    """Words not sent yet."""

    channel: UUID
    text: str
    reply_to: int | None
    saved_at: Time


class DraftSaved(AccountFact, tag="draft.saved", frozen=True):
    """You wrote on one of your devices. Who missed it is told of the draft as it is now, or that it was cleared."""

    draft: Draft


class DraftCleared(AccountFact, tag="draft.cleared", frozen=True):
    """One of your devices cleared it: because it was sent, or thrown away."""

    channel: UUID


class DraftSave(Request[Nothing], tag="draft.save", frozen=True):
    """Keep what you have begun to write in a channel."""

    channel: ChannelId
    text: Text
    reply_to: Replied | None = None


class DraftClear(Request[Nothing], tag="draft.clear", frozen=True):
    """Forget it, also once it was sent; again is no error."""

    channel: ChannelId


class Drafts(Body, frozen=True):
    """Your drafts, the newest first: at most a hundred are kept."""

    drafts: Annotated[list[Draft], Meta(max_length=100)]


class DraftList(Request[Drafts], tag="draft.list", frozen=True):
    """Everything you have begun to write."""
