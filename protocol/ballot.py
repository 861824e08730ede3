"""What one may answer to a message that asks something: its poll (`poll.vote` chooses)."""

from typing import Annotated

from msgspec import Meta

from protocol.frame import Body, OptionText, Time, check_times


class PollOption(Body, frozen=True):
    """One answer, and how many have chosen it."""

    text: str
    count: int = 0


class Poll(Body, frozen=True):
    """What one may answer to a message, and how many have; one's own choice is in `poll.get`.

    The votes of who has left the channel, or was put out, stay; those of deleted accounts go.
    """

    options: Annotated[list[PollOption], Meta(description="Their numbers are 0, 1, … in this order.")]
    multiple: Annotated[bool, Meta(description="Whether one may choose more than one.")]
    anonymous: Annotated[bool, Meta(description="Whether nobody is told who has chosen what, not even the author.")]
    voters: Annotated[int, Meta(description="How many have chosen something.")] = 0
    closes_at: Time | None = None
    closed_at: Annotated[Time | None, Meta(description="Since when nobody votes any more.")] = None


class NewPoll(Body, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The answers to a message, which is the question; neither they nor how one chooses change afterwards."""

    options: Annotated[list[OptionText], Meta(min_length=2, max_length=20)]
    multiple: Annotated[bool, Meta(description="One may choose more than one.")] = False
    anonymous: Annotated[bool, Meta(description="Nobody is told who has chosen what.")] = False
    closes_at: Annotated[Time, Meta(description="From a minute to 60 days ahead.")] | None = None

    def __post_init__(self) -> None:
        check_times(self)
        if len(set(self.options)) < len(self.options):
            raise ValueError("an option stands there twice, in field `options`")
