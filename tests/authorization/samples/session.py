"""session: public but for closing; what opens one is the whole matter."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from protocol.session import Cursor, SessionClose, SessionDescribe, SessionOpen, SessionPing, SessionResume
from server.secret import Keyring
from tests.authorization.actors import SHUT, Actor
from tests.authorization.sample import Making, Sample, Wrong
from tests.authorization.talk import PROGRAM
from tests.authorization.ways import THREADS
from tests.authorization.world import World

# All there are: eleven channels, those of spaces, and people.
_STREAMS = 11 + 14 + 14


def _of_another_server(world: World) -> SessionOpen:
    """Signed well, but with another server's secret."""
    return SessionOpen(token=Keyring(["s" * 40]).access(world.ann.id, world.ann.phone.id, 3600))


def _shown_by(actor: Actor) -> Making:
    assert actor.token is not None
    show = actor.token
    return lambda world: SessionOpen(token=show(world, world.ann))


def _no_tokens(resume: bool) -> dict[str, Wrong]:
    """What opens no session; nothing is sent before the refusal."""
    wrong = {
        **{actor.name: Wrong(actor.shut, _shown_by(actor)) for actor in SHUT},
        "a token of another server": Wrong("unauthenticated", _of_another_server),
        "a token that expired": Wrong(
            "unauthenticated",
            lambda w: SessionOpen(token=w.server.keys.access(w.ann.id, w.ann.phone.id, -60)),
        ),
        "a refresh token": Wrong("unauthenticated", lambda world: SessionOpen(token=world.ann.phone.refresh)),
        "a ticket": Wrong("unauthenticated", lambda world: SessionOpen(token=world.ann.tickets["second_step"])),
        "a made-up key": Wrong("unauthenticated", lambda world: SessionOpen(token="osk_" + "A" * 43)),
    }
    return {what: replace(one, frame=_resuming(one.frame)) for what, one in wrong.items()} if resume else wrong


def _resuming(open_: Making, since: int = 0) -> Making:
    """The same token, with cursors in everything that there is but threads."""

    def make(world: World) -> SessionResume:
        frame = open_(world)
        assert isinstance(frame, SessionOpen)
        rooms = [channel.id for name, channel in world.channels.items() if name not in (*THREADS, "smoke", "queue")]
        streams = [*rooms, *(one.id for one in world.people.values())]
        return SessionResume(token=frame.token, cursors=[Cursor(stream=stream, seq=since) for stream in streams])

    return make


def _with(token: Callable[[World], str], since: int = 0) -> Making:
    return _resuming(lambda world: SessionOpen(token=token(world)), since)


def _elsewhere(reply: Any) -> bool:
    """All streams but one's own are to be read anew, also without that of which one has just been told."""
    return len(reply["reset"]) in (_STREAMS - 1, _STREAMS - 2)


def _came(count: int, facts: int) -> Callable[[list[Any]], bool]:
    """Whether just so many facts came, of just so many streams."""
    return lambda came: (len({one["stream"] for one in came}), len(came)) == (count, facts)


# Whose ids are told back: they are to be read anew.
_UNSEEN = ("attic", "nook", "loft", "stove", "larder", "hearth", "stand", "wall")
# A stream has no holes: what ann has taken out of her view comes, too, and so does that she has.
_RESET = frozenset(f"the id of {one}" for one in ("blank", *_UNSEEN))
_OF_CLUB = frozenset(f"the id of {one}" for one in ("hall", "notices", "shelf", "book", "cellar"))
_HIDDEN = frozenset({"group but for ann", "ann+tom but for ann", "hall but for ann"})
# In the hall, the cellar, the notices and the book; in the blank nothing is read of what was said before.
_IN_CLUB = 9 + 2 + 1 + 1
SAMPLES = {
    "open": Sample(
        lambda world: SessionOpen(token=world.ann.access(world.server)),
        wrong=_no_tokens(resume=False),
        proves=lambda reply: len(reply["channels"]) == 6,
    ),
    "resume": Sample(
        _with(lambda world: world.ann.access(world.server)),
        wrong=_no_tokens(resume=True),
        shows=_HIDDEN | _RESET,
        proves=lambda reply: len(reply["channels"]) == 6 and len(reply["reset"]) == _STREAMS - 7 - 5,
        sends=_came(7 + 4, 2 + 9 + 4 + 3 + 3 + 2 + 2 + _IN_CLUB),
    ),
    "resume: from somewhere in the middle": Sample(
        _with(lambda world: world.ann.access(world.server), since=1),
        shows=_HIDDEN | _RESET,
        sends=_came(7 + 2, 1 + 8 + 3 + 2 + 2 + 1 + 1 + _IN_CLUB - 4),
    ),
    "resume: by who was put out": Sample(
        _with(lambda world: world.eve.access(world.server)),
        by="eve",
        shows=_RESET | _OF_CLUB,
        proves=lambda reply: reply["channels"] == [] and _elsewhere(reply),
        sends=_came(1, 2),
    ),
    "resume: by who was told to be in": Sample(
        _with(lambda world: world.ivy.access(world.server)),
        by="ivy",
        shows=_RESET | _OF_CLUB,
        proves=lambda reply: reply["channels"] == [] and _elsewhere(reply),
        sends=_came(1, 1),
    ),
    "resume: by a program that may not read messages": Sample(
        _with(lambda world: world.keys[PROGRAM].secret),
        shows=_RESET,
        proves=lambda reply: reply["channels"] == reply["spaces"] == [] and reply["me"] is None,
        sends=_came(0, 0),
    ),
    "close": Sample(lambda world: SessionClose()),
    "ping": Sample(lambda world: SessionPing()),
    "describe": Sample(lambda world: SessionDescribe()),
}
