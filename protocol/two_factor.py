"""two_factor: a second proof at login, by authenticator app (TOTP) or recovery code."""

from protocol.frame import Body, Code, Nothing, Password, Request


class TwoFactorSecret(Body, frozen=True):
    """What an authenticator app needs; shown once."""

    secret: str
    uri: str


class TwoFactorEnable(Request[TwoFactorSecret], tag="two_factor.enable"):
    """Start: get a secret for the authenticator. Nothing changes until `two_factor.confirm`."""

    password: Password


class RecoveryCodes(Body, frozen=True):
    """Ten codes, each good for one login without the authenticator; shown once."""

    codes: list[str]


class TwoFactorConfirm(Request[RecoveryCodes], tag="two_factor.confirm"):
    """Prove that the authenticator works; from now on a login asks for it."""

    code: Code


class TwoFactorRenew(Request[RecoveryCodes], tag="two_factor.renew"):
    """Get ten new recovery codes; the old ones stop working."""

    password: Password
    code: Code


class TwoFactorDisable(Request[Nothing], tag="two_factor.disable"):
    """Log in with the password alone again."""

    password: Password
    code: Code
