"""automod: what is looked for in the messages of a space before they are stored, and what follows when it is found."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from protocol.frame import AutomodId, Body, ChannelId, Label, Line, Nonce, Nothing, Request, RoleId, SpaceId

Kind = Annotated[
    Literal["words", "parts", "patterns", "links", "mentions", "repeats", "floods"],
    Meta(
        description="Whole words or phrases; parts of words; patterns in the syntax of RE2; links; too many mentions, "
        "the same text too often, or too many messages of one author."
    ),
]
Term = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
Terms = Annotated[
    list[Term],
    Meta(max_length=1000, description="Words, parts (of two letters at least), up to 20 patterns, or hosts."),
]
Allow = Annotated[bool, Meta(description="Of links: none but to these hosts, instead of all but to these.")]
Most = Annotated[int, Meta(ge=0, le=100, description="Of mentions, repeats and floods: more than so many …")]
Seconds = Annotated[int, Meta(ge=0, le=3600, description="… in so many seconds; of mentions 0 means in one message.")]
Refuse = Annotated[bool, Meta(description="The message is not stored; its author is told `forbidden` and `message`.")]
Reporting = Annotated[bool, Meta(description="It comes into the queue of reports.")]
Timeout = Annotated[int, Meta(ge=0, le=2_419_200, description="Its author may only read for so many seconds.")]
Told = Annotated[Line, Meta(description="What the author is told; empty for words of the server's own.")]
ExemptRoles = Annotated[list[RoleId], Meta(max_length=50, description="Whose messages are not looked at.")]
ExemptChannels = Annotated[
    list[ChannelId], Meta(max_length=50, description="In which it is not looked for; of a category: in all of it.")
]


class Automod(Body, frozen=True):
    """A rule. Messages of administrators, and of who has `manage_automod`, are not looked at."""

    id: UUID
    enabled: bool
    name: str
    kind: Kind
    terms: list[str]
    allow: bool
    most: int
    seconds: int
    refuse: bool
    report: bool
    timeout: int
    message: str
    roles: list[UUID]
    channels: Annotated[list[UUID], Meta(description="Those that you see.")]


class Automods(Body, frozen=True):
    """The rules of a space, in the order in which they were made; `next` asks for those that a frame did not hold."""

    rules: list[Automod]
    next: str | None


class AutomodCreate(Request[Automod], tag="automod.create", frozen=True):
    """Make a rule; with `manage_automod`. A space has room for 50. The same nonce again is the same rule.

    Words and parts are compared by what they look like: capitals, accents and look-alike letters make no difference.
    """

    space: SpaceId
    name: Label
    nonce: Nonce
    kind: Kind
    terms: Terms = []
    allow: Allow = False
    most: Most = 0
    seconds: Seconds = 0
    refuse: Refuse = True
    report: Reporting = False
    timeout: Timeout = 0
    message: Told = ""
    roles: ExemptRoles = []
    channels: ExemptChannels = []
    enabled: bool = True


class AutomodUpdate(Request[Automod], tag="automod.update", frozen=True):
    """Change a rule; what is not given stays. With `manage_automod`."""

    space: SpaceId
    rule: AutomodId
    name: Label | None = None
    terms: Terms | None = None
    allow: Allow | None = None
    most: Most | None = None
    seconds: Seconds | None = None
    refuse: Refuse | None = None
    report: Reporting | None = None
    timeout: Timeout | None = None
    message: Told | None = None
    roles: ExemptRoles | None = None
    channels: ExemptChannels | None = None
    enabled: bool | None = None


class AutomodDelete(Request[Nothing], tag="automod.delete", frozen=True):
    """Do away with a rule; with `manage_automod`."""

    space: SpaceId
    rule: AutomodId


class AutomodList(Request[Automods], tag="automod.list", frozen=True):
    """The rules of a space; with `manage_automod`."""

    space: SpaceId
    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
