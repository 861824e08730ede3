"""search: finding messages by their words, and one's own channels by their names.

What is written into `text` of `search.messages`:

| written | finds |
|---|---|
| `red fox` | messages with both words, anywhere, in any order |
| `"red fox"` | the one directly behind the other |
| `-fox`, `-"red fox"` | what follows the minus does not stand there |
| `fox*` | words that begin like this (two letters or more) |
| `*ox`, `*ox*` | words that end like this, or have it anywhere (three letters or more behind the first star) |
| `"*ed fo*"` | the same across words |
| `東京`, `서울` | scripts without spaces between words: any part of what is written there |

Upper and lower case, accents, punctuation and ways of writing the same character make no difference: `strasse` finds
`Straße`, `cafe` finds `Café`, `らーめん` finds `ラーメン`. There is no list of languages, of endings or of words that
are left out. Emoji are words. Words with four or more digits are found as a whole or by their beginnings only.
"""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from protocol.channel import Memberships
from protocol.frame import Body, ChannelId, Request, Time, check_times
from protocol.hashtag import Hashtag
from protocol.message import Message

Words = Annotated[
    str,
    Meta(
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)",
        description=(
            'Words, "phrases in quotes", -unwanted ones, beginnings* and *parts*; '
            "empty where one of `author`, `mentions`, `hashtag` or `has` is given."
        ),
    ),
]
Person = Annotated[UUID, Meta(extra={"of": None})]
Cursor = Annotated[str, Meta(max_length=200, description="`next` of the page before, with all else the same.")]


class Part(Body, frozen=True, omit_defaults=True):
    """A piece of a text; `hit`: it is what was looked for."""

    text: str
    hit: bool = False


class Hit(Body, frozen=True):
    """A message that was found, as it is now."""

    channel: UUID
    message: Message
    snippet: Annotated[
        list[Part], Meta(description="What stands around the first words that were found, about 200 characters.")
    ]


class Hits(Body, frozen=True):
    """Messages in the order that was asked for; `next` asks for the page after it, None when this is the last.

    A page may have fewer hits than were asked for, or none, and still a `next`: so much was looked at in one go.
    """

    hits: list[Hit]
    next: str | None


class SearchMessages(Request[Hits], tag="search.messages", frozen=True):
    """Find messages in your channels by their words; a new message is found within two seconds.

    By `time` the newest come first. By `rank` those come first that have the words more often, closer together and in
    fewer other words, new ones before old ones; ranked are only the newest that match, up to five hundred.
    """

    text: Words = ""
    channels: Annotated[list[ChannelId], Meta(max_length=20, description="Only in these; empty: in all of yours.")] = []
    author: Person | None = None
    mentions: Annotated[Person | None, Meta(description="Only messages that mention this user, or this role.")] = None
    hashtag: Hashtag | None = None
    has: Annotated[
        list[Literal["link", "mention", "everyone", "reply", "pin"]],
        Meta(
            max_length=5,
            description="Only messages with all of these; `mention`: of anybody, `everyone`: of everyone; `pin`: that "
            "are pinned.",
        ),
    ] = []
    since: Annotated[Time | None, Meta(description="Not sent before this.")] = None
    until: Annotated[Time | None, Meta(description="Sent before this.")] = None
    order: Literal["time", "rank"] = "time"
    after: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=50)] = 25

    def __post_init__(self) -> None:
        check_times(self)


class SearchChannels(Request[Memberships], tag="search.channels", frozen=True):
    """Your channels whose names have these words or parts of words, the best matches first; small typing errors count.

    A direct channel goes by the names of the other one. There is no second page: say more of the name.
    """

    text: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
    limit: Annotated[int, Meta(ge=1, le=20)] = 10
