"""report: telling moderators of messages and people, and what they do about it.

A report of a message in a space, or of somebody in a space, waits in the queue of that space. Reports of direct
channels, of groups, and of people as such wait in the queue of the server, for those who run or moderate it.
"""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from protocol.frame import (
    Body,
    ChannelId,
    Event,
    Limit,
    Line,
    MessageSeq,
    Nothing,
    Paragraph,
    ReportId,
    Request,
    SpaceId,
    Time,
    UserId,
)
from protocol.message import Message
from protocol.user import User

Category = Literal["spam", "abuse", "hate", "violence", "sexual", "self_harm", "illegal", "impersonation", "other"]
Outcome = Annotated[Literal["dismissed", "acted"], Meta(description="There was nothing to do, or it was done.")]


class Report(Body, frozen=True):
    """Something that moderators were told of. Who is reported does not see it, whatever they may do."""

    id: UUID
    space: Annotated[UUID | None, Meta(description="None in the queue of the server.")]
    at: Time
    reporter: Annotated[UUID | None, Meta(description="None for a rule of automod, and for accounts that are no more.")]
    account: Annotated[UUID, Meta(description="Who is reported.")]
    channel: UUID | None
    seq: Annotated[int | None, Meta(description="Of the message; None when the account as such is reported.")]
    category: Category | Literal["automod"]
    text: Annotated[str, Meta(description="The words of the reporter, or the name of the rule.")]
    outcome: Annotated[Outcome | None, Meta(description="None while it is open.")]
    note: Annotated[str, Meta(description="Of who has closed it.")]
    closed_by: UUID | None
    closed_at: Time | None


class ReportDetail(Body, frozen=True):
    """A report, and what was reported as it was at that moment: also where it was edited or taken back since."""

    report: Report
    message: Annotated[Message | None, Meta(description="None when the account as such is reported, or is no more.")]
    person: Annotated[User | None, Meta(description="The account, as others saw it; None when it is no more.")]


class Reports(Body, frozen=True):
    """Reports, the oldest first; `next` asks for the page after it."""

    reports: list[Report]
    open: Annotated[int, Meta(description="How many you see that are open.")]
    next: str | None


class ExportedReport(Body, frozen=True):
    """Something that you have told moderators of."""

    at: Time
    account: UUID
    channel: UUID | None
    message: int | None
    category: str
    text: str


# Passing


class ReportChanged(Event, tag="report.changed", frozen=True):
    """The queue of a space has changed; for who has `manage_reports`, soon, and not kept: see `report.list`."""

    space: UUID
    open: Annotated[int, Meta(description="How many you see that are open.")]


# Requests

_Where = Annotated[SpaceId | None, Meta(description="None for the queue of the server.")]


class ReportCreate(Request[Nothing], tag="report.create", frozen=True):
    """Tell the moderators of a message that you see, or of a person; the same again is no error, and the same report.

    Whoever is reported is not told, neither that they are nor by whom.
    """

    category: Category
    channel: Annotated[ChannelId | None, Meta(description="With `seq`: where the message stands.")] = None
    seq: MessageSeq | None = None
    user: Annotated[UserId | None, Meta(description="Without a message: who is reported.")] = None
    space: Annotated[SpaceId | None, Meta(description="Where both of you are; without it: to the server.")] = None
    text: Paragraph = ""


class ReportList(Request[Reports], tag="report.list", frozen=True):
    """The queue of a space, the oldest first, with `manage_reports`; or that of the server, for who moderates it.

    Without reports of messages in channels of the space that you do not see, and of yourself.
    """

    space: _Where = None
    open: Annotated[bool, Meta(description="Those that are open, or those that are closed.")] = True
    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50


class ReportGet(Request[ReportDetail], tag="report.get", frozen=True):
    """A report, with the words that were reported, and nothing else of where they stand; as in `report.list`."""

    report: ReportId
    space: _Where = None


class ReportResolve(Request[Report], tag="report.resolve", frozen=True):
    """Close a report; as in `report.list`. Again with the same outcome is no error, with another one a `conflict`."""

    report: ReportId
    outcome: Outcome
    space: _Where = None
    note: Paragraph = ""
