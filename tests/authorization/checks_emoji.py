"""Functions that decide about emoji, stickers, and mentions of roles, without one of their checks."""

from server import grant, listing, posting, summons
from server.handlers import hashtag
from tests.authorization.checks import Text

_SENDING, _LISTING = ("message.send",), ("message.mentions", "hashtag.list")
TEXTS = (
    Text(summons, "refusal", "not known >= set(roles)", "False", _SENDING),
    Text(summons, "refusal", "free or standing.allowed & _EVERYONE", "True", ("message.send", "message.edit")),
    Text(summons, "check_edit", "if refused is not None", "if False", ("message.edit",)),
    Text(posting, "_decided", "(more.sticker or more.summons)", "False", _SENDING),
    Text(grant.Grants, "_unfit", "if found is None", "if False", _SENDING),
    Text(listing, "where", "space is not None and channel is not None", "False", _LISTING),
    Text(hashtag, "top", "space is None and channel is None", "False", ("hashtag.top",)),
)
