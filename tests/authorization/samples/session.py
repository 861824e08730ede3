"""session: public but for closing; what opens one is the whole matter."""

from protocol.session import SessionClose, SessionDescribe, SessionOpen, SessionPing
from server.secret import Keyring
from tests.authorization.actors import SHUT, Actor
from tests.authorization.sample import Making, Sample, Wrong
from tests.authorization.world import World


def _of_another_server(world: World) -> SessionOpen:
    """Signed well, but with another server's secret."""
    return SessionOpen(token=Keyring(["s" * 40]).access(world.ann.id, world.ann.phone.id, 3600))


def _shown_by(actor: Actor) -> Making:
    assert actor.token is not None
    show = actor.token
    return lambda world: SessionOpen(token=show(world, world.ann))


SAMPLES = {
    "open": Sample(
        lambda world: SessionOpen(token=world.ann.access(world.server)),
        wrong={
            **{actor.name: Wrong(actor.shut, _shown_by(actor)) for actor in SHUT},
            "a token of another server": Wrong("unauthenticated", _of_another_server),
            "a token that expired": Wrong(
                "unauthenticated",
                lambda w: SessionOpen(token=w.server.keys.access(w.ann.id, w.ann.phone.id, -60)),
            ),
            "a refresh token": Wrong("unauthenticated", lambda world: SessionOpen(token=world.ann.phone.refresh)),
            "a ticket": Wrong("unauthenticated", lambda world: SessionOpen(token=world.ann.tickets["second_step"])),
            "a made-up key": Wrong("unauthenticated", lambda world: SessionOpen(token="osk_" + "A" * 43)),
        },
    ),
    "close": Sample(lambda world: SessionClose()),
    "ping": Sample(lambda world: SessionPing()),
    "describe": Sample(lambda world: SessionDescribe()),
}
