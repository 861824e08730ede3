"""An authenticator app, made by others (pyotp), in the hands of a test's person."""

from datetime import datetime

import pyotp

from protocol.two_factor import TwoFactorConfirm, TwoFactorEnable
from server import Server
from tests.conftest import Person


class Authenticator:
    """Of one account that has turned it on."""

    def __init__(self, server: Server, secret: str) -> None:
        self._server, self.totp = server, pyotp.TOTP(secret)
        self.recovery: list[str] = []

    @classmethod
    async def of(cls, server: Server, person: Person) -> "Authenticator":
        """Turn it on."""
        given = await person.call(TwoFactorEnable(password=person.password))
        one = cls(server, given.secret)
        one.recovery = (await person.call(TwoFactorConfirm(code=one.totp.now()))).codes
        return one

    async def code(self) -> str:
        """A code that is good: as if half a minute had passed since the last one was used."""
        await self._server.pool.execute("UPDATE two_factor SET last_step = last_step - 10")
        return self.totp.now()

    @property
    def wrong(self) -> str:
        """A code that is none of those that would be good now."""
        step = self.totp.timecode(datetime.now())
        near = {self.totp.generate_otp(at) for at in range(step - 3, step + 4)}
        return next(code for code in map(str, range(100_000, 100_010)) if code not in near)
