"""two_factor: one's own authenticator."""

from protocol.two_factor import TwoFactorConfirm, TwoFactorDisable, TwoFactorEnable, TwoFactorRenew
from tests.authorization.sample import Sample, Wrong
from tests.authorization.samples import proofs
from tests.authorization.world import World

_PENDING = "UPDATE two_factor SET confirmed_at = NULL WHERE account = $1"
_CONFIRMED = "UPDATE two_factor SET confirmed_at = now() WHERE account = $1"
_ANOTHER = "INSERT INTO two_factor (account, secret, confirmed_at) VALUES ($1, '\\x00', now())"


def _enable(world: World) -> TwoFactorEnable:
    return TwoFactorEnable(password=world.ann.password)


def _confirm(world: World) -> TwoFactorConfirm:
    return TwoFactorConfirm(code=world.ann.code)


def _renew(world: World) -> TwoFactorRenew:
    return TwoFactorRenew(password=world.ann.password, code=world.ann.code)


def _disable(world: World) -> TwoFactorDisable:
    return TwoFactorDisable(password=world.ann.password, code=world.ann.code)


SAMPLES = {
    "enable": Sample(
        _enable,
        prepare=proofs.UNGUARDED,
        wrong={
            **proofs.password(_enable),
            "there is an authenticator": Wrong("conflict", _enable, _ANOTHER),
        },
    ),
    "confirm": Sample(
        _confirm,
        prepare=_PENDING,
        wrong={
            "somebody else's code": Wrong("wrong_credentials", lambda w: TwoFactorConfirm(code=w.sid.code)),
            "a code that was used": Wrong("wrong_credentials", _confirm, proofs.CODE_USED),
            "it is confirmed already": Wrong("conflict", _confirm, _CONFIRMED),
        },
    ),
    "renew": Sample(_renew, wrong=proofs.password(_renew) | proofs.code(_renew)),
    "disable": Sample(_disable, wrong=proofs.password(_disable) | proofs.code(_disable)),
}
