"""The mails of a server without a mail server: it prints their links in its log, where tests read them."""

import asyncio
import logging
from typing import NamedTuple

_WAIT = 10.0


class Mail(NamedTuple):
    """One mail, as the log tells of it."""

    to: str
    subject: str
    link: str

    @property
    def ticket(self) -> str:
        """What the link carries."""
        return self.link.partition("#")[2]


class Mailbox(logging.Handler):
    """Everybody's mails."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.mails: list[Mail] = []
        self._arrived = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith("mail to") and isinstance(record.args, tuple):
            self.mails.append(Mail(*map(str, record.args)))
            self._arrived.set()

    async def next(self, to: str) -> Mail:
        """The first mail to an address, once it is there; it is taken out."""
        async with asyncio.timeout(_WAIT):
            while True:
                for mail in self.mails:
                    if mail.to == to:
                        self.mails.remove(mail)
                        return mail
                self._arrived.clear()
                await self._arrived.wait()
