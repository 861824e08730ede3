"""account: the ops on oneself, the way in, and the ways back in."""

from uuid import uuid4

from protocol import account as frames
from server import login
from tests.authorization import provider
from tests.authorization.sample import Making, Sample, Wrong
from tests.authorization.samples import proofs
from tests.authorization.world import STATE, World

NEW = "a password that is new"
_UNLINKED = "DELETE FROM identity WHERE account = $1"
_UNCONFIRMED = "UPDATE account SET email_verified_at = NULL WHERE id = $1"
_NO_OWNER = "UPDATE account SET role = 'member' WHERE role = 'owner' AND $1::uuid IS NOT NULL"
_TIRED = "UPDATE ticket SET tries = 5 WHERE kind = 'second_step' AND account = $1"
_DELETED = "UPDATE account SET deleted_at = now() WHERE id = $1"
ANN_OR_NOBODY = frozenset({"ann", None})


def _login(world: World) -> frames.AccountLogin:
    return frames.AccountLogin(login=world.ann.username, password=world.ann.password)


def _second_step(world: World) -> frames.AccountLoginSecondStep:
    return frames.AccountLoginSecondStep(ticket=world.ann.tickets[login.SECOND_STEP], code=world.ann.code)


def _start_external(world: World) -> frames.AccountStartExternal:
    return frames.AccountStartExternal(provider=provider.NAME, redirect=f"{world.server.public_url}/external")


def _login_external(world: World) -> frames.AccountLoginExternal:
    return frames.AccountLoginExternal(ticket=world.loose["external"], code=world.ann.subject, state=STATE)


def _link_external(world: World) -> frames.AccountLinkExternal:
    return frames.AccountLinkExternal(ticket=world.loose["external"], code=world.ann.subject, state=STATE)


def _unlink_external(world: World) -> frames.AccountUnlinkExternal:
    return frames.AccountUnlinkExternal(provider=provider.NAME, password=world.ann.password)


def _refresh(world: World) -> frames.AccountRefresh:
    return frames.AccountRefresh(refresh=world.ann.phone.refresh, nonce=uuid4())


def _verify_email(world: World) -> frames.AccountVerifyEmail:
    return frames.AccountVerifyEmail(ticket=world.ann.tickets["verify"])


def _reset_password(world: World) -> frames.AccountResetPassword:
    return frames.AccountResetPassword(ticket=world.ann.tickets["reset"], password=NEW)


def _change_password(world: World) -> frames.AccountChangePassword:
    return frames.AccountChangePassword(password=world.ann.password, new_password=NEW)


def _change_email(world: World) -> frames.AccountChangeEmail:
    return frames.AccountChangeEmail(password=world.ann.password, email="new@example.org")


def _claim(world: World) -> frames.AccountClaim:
    return frames.AccountClaim(ticket=world.loose["claim"])


def _delete(world: World) -> frames.AccountDelete:
    return frames.AccountDelete(password=world.ann.password, code=world.ann.code)


def _came_back(making: Making) -> dict[str, Wrong]:
    """What an outside service sends back counts once, where the login was started, and for it alone."""
    return {
        "another state": Wrong("wrong_credentials", proofs.changed(making, state="made-up"), burns=("ticket",)),
        "a code that the service refuses": Wrong(
            "wrong_credentials", proofs.changed(making, code="refused"), burns=("ticket",)
        ),
        "a made-up ticket": Wrong("expired", proofs.changed(making, ticket="A" * 43)),
        "a ticket that expired": Wrong("expired", proofs.changed(making, ticket=lambda w: w.loose["old external"])),
        "a ticket for something else": Wrong("expired", proofs.changed(making, ticket=lambda w: w.loose["claim"])),
    }


_WAYS_IN = {
    "register": Sample(
        lambda world: frames.AccountRegister(username="somebody.new", password=NEW),
        wrong={
            "a name that somebody has": Wrong(
                "conflict", lambda w: frames.AccountRegister(username=w.tom.username, password=NEW)
            ),
            "a name that looks like somebody's": Wrong(
                "conflict", lambda w: frames.AccountRegister(username=w.tom.username.upper(), password=NEW)
            ),
        },
    ),
    "login": Sample(
        _login,
        proves=lambda reply: reply["kind"] == "second_step" and "access" not in reply,
        wrong={
            "somebody else's password": Wrong(
                "wrong_credentials", proofs.changed(_login, password=lambda w: w.sid.password)
            ),
            "a name that nobody has": Wrong("wrong_credentials", proofs.changed(_login, login="nobody.at.all")),
            "a deleted account": Wrong(
                "wrong_credentials",
                lambda w: frames.AccountLogin(login=w.gone.username, password=w.gone.password),
            ),
            "an address that is not confirmed": Wrong(
                "wrong_credentials", lambda w: frames.AccountLogin(login=w.cal.email, password=w.cal.password)
            ),
            "an account without a password": Wrong("wrong_credentials", _login, proofs.NO_PASSWORD),
        },
    ),
    "login_second_step": Sample(
        _second_step,
        wrong={
            **proofs.code(_second_step, "ticket"),
            **proofs.tickets(_second_step, login.SECOND_STEP, "reset"),
            "one try too many": Wrong("expired", _second_step, _TIRED),
        },
    ),
    "providers": Sample(lambda world: frames.AccountProviders()),
    "start_external": Sample(
        _start_external,
        touches=ANN_OR_NOBODY,
        wrong={
            "a redirect to elsewhere": Wrong(
                "invalid", proofs.changed(_start_external, redirect="https://elsewhere.example/external")
            ),
            "a redirect to another page": Wrong(
                "invalid", proofs.changed(_start_external, redirect=lambda w: f"{w.server.public_url}/elsewhere")
            ),
            "a service that is not configured": Wrong("invalid", proofs.changed(_start_external, provider="another")),
        },
    ),
    "login_external": Sample(
        _login_external,
        touches=ANN_OR_NOBODY,
        proves=lambda reply: reply["kind"] == "second_step",
        wrong=_came_back(_login_external),
    ),
    "refresh": Sample(
        _refresh,
        wrong={
            "a made-up token": Wrong(
                "unauthenticated", proofs.changed(_refresh, refresh=lambda w: w.ann.phone.refresh[:-9] + "AAAAAAAAA")
            ),
            "an access token": Wrong(
                "unauthenticated", proofs.changed(_refresh, refresh=lambda w: w.ann.access(w.server))
            ),
            "a revoked device": Wrong(
                "session_revoked", proofs.changed(_refresh, refresh=lambda w: w.ann.lost.refresh)
            ),
            "a device that expired": Wrong(
                "session_revoked", proofs.changed(_refresh, refresh=lambda w: w.ann.stale.refresh)
            ),
            "a deleted account": Wrong("session_revoked", _refresh, _DELETED),
            "a token that was used": Wrong(
                "session_revoked",
                proofs.changed(_refresh, refresh=lambda w: w.ann.phone.previous),
                burns=("device", "audit"),
            ),
        },
    ),
    "verify_email": Sample(_verify_email, wrong=proofs.tickets(_verify_email, "verify", "reset")),
    "forgot_password": Sample(
        lambda world: frames.AccountForgotPassword(email=world.ann.email),
        wrong={
            "an address that nobody has": Wrong(
                "ok", lambda world: frames.AccountForgotPassword(email="nobody@example.org")
            ),
            "an address that is not confirmed": Wrong(
                "ok", lambda world: frames.AccountForgotPassword(email=world.cal.email)
            ),
        },
    ),
    "reset_password": Sample(_reset_password, wrong=proofs.tickets(_reset_password, "reset", "verify")),
}

_ONESELF = {
    "send_verification": Sample(
        lambda world: frames.AccountSendVerification(),
        prepare=_UNCONFIRMED,
        wrong={
            "an address that is confirmed": Wrong(
                "conflict",
                lambda world: frames.AccountSendVerification(),
                "UPDATE account SET email_verified_at = now() WHERE id = $1",
            )
        },
    ),
    "link_external": Sample(
        _link_external,
        prepare=_UNLINKED,
        touches=ANN_OR_NOBODY,
        wrong={
            **_came_back(_link_external),
            "an outside account that somebody else has": Wrong(
                "conflict", proofs.changed(_link_external, code=lambda w: w.sid.subject), burns=("ticket",)
            ),
        },
    ),
    "unlink_external": Sample(_unlink_external, wrong=proofs.password(_unlink_external)),
    "logout": Sample(lambda world: frames.AccountLogout()),
    "change_password": Sample(_change_password, wrong=proofs.password(_change_password)),
    "change_email": Sample(_change_email, wrong=proofs.password(_change_email)),
    "get": Sample(lambda world: frames.AccountGet(), proves=lambda reply: reply["two_factor"] is True),
    "update": Sample(
        lambda world: frames.AccountUpdate(display_name="Another", bio="Another"),
        wrong={
            "a name that somebody has": Wrong(
                "conflict", lambda world: frames.AccountUpdate(username=world.tom.username)
            )
        },
    ),
    "avatars": Sample(lambda world: frames.AccountAvatars()),
    "set_avatar": Sample(
        lambda world: frames.AccountSetAvatar(avatar=world.server.site.avatars[-1]),
        wrong={
            "an avatar that does not exist": Wrong("invalid", lambda world: frames.AccountSetAvatar(avatar="nothing"))
        },
    ),
    "set_location": Sample(
        lambda world: frames.AccountSetLocation(location=frames.NewLocation(latitude=1.5, longitude=2.5))
    ),
    "claim": Sample(
        _claim,
        prepare=_NO_OWNER,
        touches=ANN_OR_NOBODY,
        proves=lambda reply: reply["role"] == "owner",
        wrong={
            "a made-up ticket": Wrong("expired", proofs.changed(_claim, ticket="A" * 43)),
            "a ticket that expired": Wrong("expired", proofs.changed(_claim, ticket=lambda w: w.loose["old claim"])),
            "a ticket for something else": Wrong(
                "expired", proofs.changed(_claim, ticket=lambda w: w.loose["external"])
            ),
            "a server that has an owner": Wrong(
                "conflict",
                _claim,
                "UPDATE account SET role = 'owner' WHERE id IN (SELECT account FROM block WHERE blocked = $1)",
            ),
        },
    ),
    "export": Sample(
        lambda world: frames.AccountExport(),
        prepare="UPDATE notification SET id = id + 100 WHERE $1::uuid IS NOT NULL",
        shows_own_words=True,
        shows_blocked=True,
        proves=lambda reply: (
            len(reply["blocked"]) == 1
            and len(reply["friends"]) == 7
            and len(reply["notifications"]) == 5
            and reply["messages"]
            and len({(one["channel"], one["message"]) for one in reply["votes"]}) == len(reply["votes"])
        ),
    ),
    "delete": Sample(
        _delete,
        touches=frozenset({"bea", "group", "ann+tom", "hall"}),
        wrong={
            **proofs.password(_delete),
            **proofs.code(_delete),
            "no code, although there is an authenticator": Wrong(
                "password_needed", lambda world: frames.AccountDelete(password=world.ann.password)
            ),
        },
    ),
}

SAMPLES = _WAYS_IN | _ONESELF
