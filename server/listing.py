"""Lists of messages by what is in them besides words: by the documents that search has (storage/finding.py).

Rule: what is shown is what the asker may read now; a page may have less than was asked for, and still a next one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.error import Invalid
from protocol.hashtag import HashtagCount, Hashtags
from protocol.message import FoundMessage, FoundMessages, Message
from protocol.search import SearchMessages
from server import find
from storage import finding, words
from storage import member as members
from storage.query import Query

if TYPE_CHECKING:
    from protocol.hashtag import HashtagList
    from protocol.message import MessageMentions
    from server.context import Context
    from server.structure import Resident
    from storage.finding import Found
    from storage.standing import Standing

_MOST_ROLES = 50  # of which each is looked for; who has more looks at all messages that mention any
_COUNTED = 300


async def where(ctx: Context, space: Resident | None, channel: Standing | None) -> Sequence[UUID]:
    """The channels of an account, those of a space, or one."""
    if space is not None and channel is not None:
        raise Invalid("either a space or a channel", field="channel")
    if channel is not None:
        return [channel.id]
    if space is not None:
        return await ctx.app.reach.readable_in(ctx.db, [space])
    return await ctx.app.reach.readable(ctx.db, ctx.user)


async def tagged(ctx: Context, channels: Sequence[UUID], frame: HashtagList) -> FoundMessages:
    """Messages with a hashtag."""
    asked = SearchMessages(hashtag=frame.hashtag, after=frame.after, limit=frame.limit)
    return await _page(ctx, channels, asked, Query((), (words.hashtag(frame.hashtag),)))


async def mentions(ctx: Context, channels: Sequence[UUID], frame: MessageMentions) -> FoundMessages:
    """Messages of others that mention the asker, a role of theirs, or everyone."""
    roles = await members.roles(ctx.db, ctx.user)
    few = len(roles) <= _MOST_ROLES
    meant = [*map(words.mention, roles)] if few else [words.having("role")]
    query = Query((), (), any=(words.mention(ctx.user), words.having("everyone"), *meant))
    found = await _page(ctx, channels, SearchMessages(after=frame.after, limit=frame.limit), query)
    return FoundMessages(
        messages=[one for one in found.messages if _meant(one.message, ctx.user, roles)], next=found.next
    )


def _meant(message: Message, account: UUID, roles: set[UUID]) -> bool:
    mentioned = account in message.mentions or message.mention_everyone or not roles.isdisjoint(message.mention_roles)
    return mentioned and message.author != account


async def _page(ctx: Context, channels: Sequence[UUID], asked: SearchMessages, query: Query) -> FoundMessages:
    found, next = await find.page(ctx.db, ctx.app.reach, ctx.user, channels, query, asked, _shown)
    return FoundMessages(messages=found, next=next)


def _shown(one: Found) -> FoundMessage:
    return FoundMessage(channel=one.position[1], message=one.message)


async def most_used(ctx: Context, channels: Sequence[UUID], limit: int) -> Hashtags:
    """Counted in the newest messages that have any."""
    asked = SearchMessages(limit=50)
    positions = await finding.newest(ctx.db, channels, words.ANY_HASHTAG, asked, _COUNTED) if channels else []
    found = await finding.read(ctx.db, ctx.user, ctx.app.reach.of(ctx.db, ctx.user), positions, Query(()))
    count = Counter(tag for one in found for tag in one.message.hashtags)
    best = sorted(count.items(), key=lambda one: (-one[1], one[0]))[:limit]
    return Hashtags(hashtags=[HashtagCount(hashtag=tag, count=uses) for tag, uses in best], messages=len(found))
