"""two_factor: a second proof at login, by authenticator app (TOTP) or recovery code."""

from typing import Annotated

from msgspec import Meta

from protocol.frame import Body, Code, Nothing, Password, Request


class TwoFactorSecret(Body, frozen=True):
    """What an authenticator app needs; shown once."""

    secret: Annotated[str, Meta(description="To type by hand, in base 32.")]
    uri: Annotated[str, Meta(description="To show as a QR code.")]


class TwoFactorEnable(Request[TwoFactorSecret], tag="two_factor.enable", frozen=True):
    """Start: get a secret for the authenticator. Nothing changes until `two_factor.confirm`."""

    password: Password


class RecoveryCodes(Body, frozen=True):
    """Ten codes, each good for one login without the authenticator; shown once."""

    codes: list[str]


class TwoFactorConfirm(Request[RecoveryCodes], tag="two_factor.confirm", frozen=True):
    """Prove that the authenticator works; from now on a login asks for it."""

    code: Code


class TwoFactorRenew(Request[RecoveryCodes], tag="two_factor.renew", frozen=True):
    """Get ten new recovery codes; the old ones stop working."""

    password: Password
    code: Code


class TwoFactorDisable(Request[Nothing], tag="two_factor.disable", frozen=True):
    """Log in with the password alone again."""

    password: Password
    code: Code
