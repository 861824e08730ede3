"""What is refused wherever a password or a code is asked for."""

from typing import Any

import msgspec

from protocol.frame import Request
from tests.authorization.sample import Making, Wrong
from tests.authorization.world import World

NO_PASSWORD = "UPDATE account SET password_hash = NULL WHERE id = $1"
CODE_USED = "UPDATE two_factor SET last_step = 1::bigint << 40 WHERE account = $1"
UNGUARDED = "DELETE FROM two_factor WHERE account = $1"


def changed(frame: Making, **fields: Any) -> Making:
    """The same frame with other values, each given as it is or made of the world."""

    def make(world: World) -> Request[Any]:
        values = {name: value(world) if callable(value) else value for name, value in fields.items()}
        return msgspec.structs.replace(frame(world), **values)

    return make


def into(frame: Making, channel: str, *also: str) -> Making:
    """The same frame for another channel, in further fields as well."""
    return changed(frame, **dict.fromkeys(("channel", *also), lambda world: world.channels[channel].id))


def password(frame: Making) -> dict[str, Wrong]:
    """Who asks must know the password; without one, must have logged in just now."""
    return {
        "somebody else's password": Wrong("wrong_credentials", changed(frame, password=lambda w: w.sid.password)),
        "an empty password": Wrong("wrong_credentials", changed(frame, password="")),
        "no password, and logged in long ago": Wrong("password_needed", changed(frame, password=""), NO_PASSWORD),
    }


def code(frame: Making, *burns: str) -> dict[str, Wrong]:
    """Who asks must have the authenticator, or a recovery code."""
    wrong = {
        "somebody else's code": Wrong("wrong_credentials", changed(frame, code=lambda w: w.sid.code)),
        "somebody else's recovery code": Wrong("wrong_credentials", changed(frame, code=lambda w: w.sid.recovery)),
        "a code that was used": Wrong("wrong_credentials", frame, CODE_USED),
    }
    return {what: msgspec.structs.replace(one, burns=burns) for what, one in wrong.items()}


def tickets(frame: Making, kind: str, other: str) -> dict[str, Wrong]:
    """A ticket is good for one thing, and for a while."""
    return {
        "a made-up ticket": Wrong("expired", changed(frame, ticket="A" * 43)),
        "a ticket that expired": Wrong("expired", changed(frame, ticket=lambda w: w.ann.old_tickets[kind])),
        "a ticket for something else": Wrong("expired", changed(frame, ticket=lambda w: w.ann.tickets[other])),
    }
