"""Every way the server can say no, and whether a client should come back.

Rule 1: a refusal answers a request and the socket lives on, unless `close` is set.
Rule 2: close codes are 4000 + an HTTP status: 44xx the client must change something, 45xx back off and come back.
Rule 3: what you may not see does not exist: hidden and missing are both `Missing`, to the byte.
"""

from typing import ClassVar

from protocol.frame import Failure


class Refusal(Exception):
    """Base of everything the server refuses; carries what the client is told and nothing else."""

    code: ClassVar[str] = ""
    close: ClassVar[int | None] = None
    default: ClassVar[str] = ""

    def __init_subclass__(cls, *, code: str, close: int | None = None) -> None:
        cls.code, cls.close, cls.default = code, close, (cls.__doc__ or "").strip()

    def __init__(
        self, message: str | None = None, *, field: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message or self.default)
        self.field, self.retry_after = field, retry_after

    def failure(self) -> Failure:
        """The refusal as it goes over the wire."""
        return Failure(code=self.code, message=str(self), field=self.field, retry_after=self.retry_after)


class Unreadable(Refusal, code="unreadable", close=4400):
    """The frame is not JSON that could be answered."""


class Invalid(Refusal, code="invalid"):
    """A value is not what the op takes; `field` names where."""


class Unauthenticated(Refusal, code="unauthenticated"):
    """Log in first: this op needs an open session."""


class WrongCredentials(Refusal, code="wrong_credentials"):
    """The login, the password or the code is wrong."""


class SessionRevoked(Refusal, code="session_revoked", close=4401):
    """This session has ended: log in again."""


class Forbidden(Refusal, code="forbidden"):
    """Your account has no right to do this."""


class PasswordNeeded(Refusal, code="password_needed"):
    """Confirm this with your password (and the code of your authenticator, if you have one)."""


class Missing(Refusal, code="missing"):
    """There is no such thing here."""


class TooLate(Refusal, code="too_late", close=4408):
    """The client did not log in in time."""


class Silent(Refusal, code="silent", close=4504):
    """Nothing, not even a pong, came from the client for two heartbeats: come back."""


class Conflict(Refusal, code="conflict"):
    """Something else has that already."""


class TooLarge(Refusal, code="too_large"):
    """This is more than may be uploaded for this purpose."""


class Full(Refusal, code="full"):
    """There is no room for this: delete some of your files, or come back later."""


class Damaged(Refusal, code="damaged"):
    """What has arrived is not what was announced: upload it anew."""


class Expired(Refusal, code="expired"):
    """That link or code has been used or is too old: ask for a new one."""


class RateLimited(Refusal, code="rate_limited"):
    """Too many of these: wait `retry_after` seconds."""


class Flooded(Refusal, code="flooded", close=4429):
    """Too many frames, again and again: slow down, then come back."""


class Internal(Refusal, code="internal"):
    """The server failed at this; it has been logged. Try again later."""


class Overloaded(Refusal, code="overloaded"):
    """The server has too much to do right now: try again after `retry_after` seconds."""


class Unavailable(Refusal, code="unavailable"):
    """A part of the server is away for a moment: try again after `retry_after` seconds."""


class TooSlow(Refusal, code="too_slow", close=4503):
    """The client did not read what it was sent: reconnect and continue from its cursors."""


class GoingAway(Refusal, code="going_away", close=4503):
    """The server restarts: reconnect after the delay it announced."""


def codes() -> dict[str, type[Refusal]]:
    """Every refusal by its code, in the order they stand here."""
    return {kind.code: kind for kind in Refusal.__subclasses__()}


class Unknown(Refusal, code="unknown"):
    """The server refused with a code this client does not know."""


def refusal(failure: Failure) -> Refusal:
    """The exception for a failure that came over the wire (for clients)."""
    kind = codes().get(failure.code, Unknown)
    message = failure.message if kind is not Unknown else f"{failure.code}: {failure.message}"
    return kind(message, field=failure.field, retry_after=failure.retry_after)
