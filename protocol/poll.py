"""poll: what is answered to messages that have a choice of answers (`poll` of `message.send`)."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.ballot import Poll
from protocol.frame import AccountFact, Body, ChannelFact, ChannelId, Limit, MessageSeq, Request, Time
from protocol.message import MessageChanged

Options = Annotated[
    list[Annotated[int, Meta(ge=0, le=19)]], Meta(max_length=20, description="Numbers of options, the first is 0.")
]
Counts = Annotated[list[int], Meta(description="How many have chosen each option, in their order.")]
Voters = Annotated[int, Meta(description="How many have chosen something.")]

# Facts of a channel


class PollVoted(ChannelFact, tag="poll.voted", frozen=True):
    """Somebody has chosen, chosen otherwise or taken their vote back; who and what is null where it is anonymous."""

    message: int
    counts: Counts
    voters: Voters
    user: UUID | None
    options: Annotated[list[int] | None, Meta(description="What they have chosen now; empty for nothing.")]


class PollClosed(ChannelFact, tag="poll.closed", frozen=True):
    """Nobody votes any more: its author has closed it, or (`by` is null) its time has come."""

    message: int
    counts: Counts
    voters: Voters
    by: UUID | None
    at: Time


# Facts of an account


class PollChosen(AccountFact, tag="poll.chosen", frozen=True):
    """What you have chosen, on whichever device; nothing when you took your vote back."""

    channel: UUID
    message: int
    options: list[int]


# Ops


class PollVote(Request[MessageChanged], tag="poll.vote", frozen=True):
    """Choose, in the place of what you chose before; nothing takes your vote back. `conflict` when it is closed."""

    channel: ChannelId
    seq: MessageSeq
    options: Options


class PollClose(Request[MessageChanged], tag="poll.close", frozen=True):
    """Let nobody vote any more: your own polls only; again is no error."""

    channel: ChannelId
    seq: MessageSeq


class PollState(Body, frozen=True):
    """A poll as it is now, and what you have chosen."""

    poll: Poll
    chosen: list[int]


class PollGet(Request[PollState], tag="poll.get", frozen=True):
    """One poll, with your own choice."""

    channel: ChannelId
    seq: MessageSeq


class Vote(Body, frozen=True):
    """What somebody has chosen, and since when."""

    user: UUID
    options: list[int]
    at: Time


class Votes(Body, frozen=True):
    """A page of votes; `next` asks for the page after it, None when this is the last."""

    votes: list[Vote]
    next: UUID | None


class PollVoters(Request[Votes], tag="poll.voters", frozen=True):
    """Who has chosen what, page by page; `forbidden` for everybody where a poll is anonymous."""

    channel: ChannelId
    seq: MessageSeq
    after: Annotated[UUID, Meta(extra={"of": None}, description="`next` of the page before.")] | None = None
    limit: Limit = 50


class ExportedVote(Body, frozen=True):
    """What you have chosen in a poll."""

    channel: UUID
    message: int
    options: list[int]
    at: Time
