"""Mails: written, sent by SMTP, and tried again until they are through.

Owner of `aiosmtplib` (loaded with the first mail).

Rule 1: nothing that a person typed can add a header, a recipient or a command.
Rule 2: certificates are verified, STARTTLS is required where it is asked for, and a password never crosses
        the network in the clear.
Rule 3: texts, links and a server's own words stay out of logs and errors. Only without a mail server the log
        is where a link goes, for the developer who sits there.
Rule 4: a mail leaves at least once; its Message-ID comes from its row, so that a second copy can be known.
"""

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import getaddresses, localtime, make_msgid
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

if TYPE_CHECKING:
    import aiosmtplib

Id = TypeVar("Id")
Id_co = TypeVar("Id_co", covariant=True)

SCHEMES: dict[str, tuple[Literal["none", "start", "direct"], int]] = {
    "smtp": ("none", 25),
    "smtp+starttls": ("start", 587),
    "smtps": ("direct", 465),
}
ADDRESS = re.compile(r'([^\s@<>(),;:"\\\[\]]{1,64})@([^\s@<>(),;:"\\\[\]]{1,189})')
LOOPBACK = ("localhost", "127.0.0.1", "::1")
SUBJECT_CHARACTERS = 200
SEND_SECONDS = 20.0

BATCH = 20
AT_ONCE = 4
ATTEMPTS = 8
CLAIM_AGAIN_SECONDS = 1.0
FIRST_RETRY_SECONDS = 60
LAST_RETRY_SECONDS = 3600


class MailError(Exception):
    """A mail did not leave; `temporary` tells whether the same mail may leave later."""

    def __init__(self, message: str, *, temporary: bool) -> None:
        super().__init__(message)
        self.temporary = temporary


class Relay(msgspec.Struct, frozen=True):
    """The server that takes our mails."""

    host: str
    port: int
    tls: Literal["none", "start", "direct"]
    user: str | None
    password: str | None

    def __repr__(self) -> str:
        return f"Relay({self.host!r}, {self.port})"

    @classmethod
    def parsed(cls, url: str) -> "Relay":
        """From smtp://, smtp+starttls:// or smtps://, with user:password@ where the server asks for it."""
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("a mail server is smtp://, smtp+starttls:// or smtps://[user:password@]host[:port]")
        tls, port = SCHEMES[parts.scheme]
        user, password = (unquote(part) if part is not None else None for part in (parts.username, parts.password))
        if user is not None and tls == "none" and parts.hostname not in LOOPBACK:
            raise ValueError("smtp:// would send the password in the clear: use smtp+starttls:// or smtps://")
        return cls(parts.hostname, parts.port or port, tls, user, password)


class Mailer:
    """Sends one plain-text mail at a time, each over its own connection."""

    def __init__(
        self,
        url: str | None,
        sender: str,
        *,
        log: logging.Logger,
        tls_context: ssl.SSLContext | None = None,
        timeout: float = SEND_SECONDS,
    ) -> None:
        self._sender = author(sender)
        self._relay = Relay.parsed(url) if url else None
        self._log = log
        self._tls_context = tls_context
        self._timeout = timeout
        self._hello: str | None = None

    async def send(self, to: str, subject: str, text: str, *, reference: str | None = None) -> None:
        """Hand the mail to the mail server. Mails with the same `reference` are copies of each other."""
        message = self._written(to, subject, text, reference)
        if self._relay is None:
            link = re.search(r"https?://\S+", text)
            self._log.info("mail to %s: %s: %s", to, message["Subject"], link[0] if link else "(no link)")
            return
        client = self._client(self._relay)
        try:
            async with asyncio.timeout(self._timeout):
                await self._connect(client)
                await deliver(client, message)
            await goodbye(client)
        except TimeoutError as error:
            raise MailError("the mail server did not answer in time", temporary=True) from error
        finally:
            client.close()

    def _written(self, to: str, subject: str, text: str, reference: str | None) -> EmailMessage:
        try:
            recipient = mailbox(to)
            message = EmailMessage(policy=SMTP)
            message["From"] = self._sender
            message["To"] = recipient
            message["Subject"] = one_line(subject)[:SUBJECT_CHARACTERS]
            message["Date"] = localtime()
            domain = self._sender.domain
            message["Message-ID"] = make_msgid(domain=domain) if reference is None else f"<{reference}@{domain}>"
            message["Auto-Submitted"] = "auto-generated"
            message.set_content(text)
        except ValueError as error:
            raise MailError("not an address or text that mail can carry", temporary=False) from error
        return message

    def _client(self, relay: Relay) -> "aiosmtplib.SMTP":
        import aiosmtplib

        return aiosmtplib.SMTP(
            hostname=relay.host,
            port=relay.port,
            username=relay.user,
            password=relay.password,
            local_hostname=self._hello,
            timeout=None,  # send() bounds the whole, not each step
            use_tls=relay.tls == "direct",
            start_tls=relay.tls == "start",
            tls_context=self._tls_context,
        )

    async def _connect(self, client: "aiosmtplib.SMTP") -> None:
        """Up to TLS and the login. What fails here is no mail's fault: all of it is temporary."""
        import aiosmtplib

        try:
            await client.connect()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise MailError(f"no mail server: {told(error)}", temporary=True) from error
        self._hello = client.local_hostname  # looked up once: that may ask a slow DNS


async def deliver(client: "aiosmtplib.SMTP", message: EmailMessage) -> None:
    """One transaction. A refusal with 5xx of the recipient or the text is final."""
    import aiosmtplib

    try:
        await client.send_message(message)
    except aiosmtplib.SMTPRecipientsRefused as error:
        refused = error.recipients[0]
        raise MailError(f"recipient refused: {told(refused)}", temporary=refused.code < 500) from error
    except aiosmtplib.SMTPDataError as error:
        raise MailError(f"mail refused: {told(error)}", temporary=error.code < 500) from error
    except (aiosmtplib.SMTPNotSupported, ValueError) as error:
        raise MailError("the mail server cannot carry this address", temporary=False) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise MailError(f"mail not taken: {told(error)}", temporary=True) from error


async def goodbye(client: "aiosmtplib.SMTP") -> None:
    """Out of politeness: the mail is the server's already, whatever it answers."""
    import aiosmtplib

    with contextlib.suppress(aiosmtplib.SMTPException, OSError):
        await client.quit(timeout=1)


def told(error: Exception) -> str:
    """What went wrong, without a word of the server, which likes to repeat addresses."""
    code, message = getattr(error, "code", None), getattr(error, "message", "")
    if code is None:
        return type(error).__name__
    enhanced = re.match(r"[245]\.\d{1,3}\.\d{1,3}\b", str(message))
    return f"{code} {enhanced[0]}" if enhanced else str(code)


def mailbox(address: str, name: str = "") -> Address:
    """One address, with nothing in it that SMTP or a header could read as more than that."""
    parts = ADDRESS.fullmatch(address)
    if parts is None or not address.isprintable():
        raise ValueError("not a mail address")
    return Address(name, parts[1], parts[2])


def author(sender: str) -> Address:
    """The one address of `Name <address>`."""
    found = getaddresses([sender])
    if len(found) != 1 or not sender.isprintable():
        raise ValueError(f"not a mail address: {sender!r}")
    [(name, address)] = found
    return mailbox(address, name)


def one_line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


class QueuedMail(Protocol[Id_co]):
    """A row of the queue. `attempts` counts this one: claiming adds to it, so no mail is tried for ever."""

    @property
    def id(self) -> Id_co: ...
    @property
    def to(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def attempts(self) -> int: ...


class Outbox(Generic[Id]):
    """Sends what is queued: when it is woken, and every half minute for what other nodes left behind.

    A claim must hide its mails from other claims for as long as a round can take: SEND_SECONDS times
    BATCH / AT_ONCE, and some for the database. Two minutes are right.
    """

    def __init__(
        self,
        mailer: Mailer,
        claim: Callable[[int], Awaitable[Sequence[QueuedMail[Id]]]],
        done: Callable[[Id], Awaitable[object]],
        retry: Callable[[Id, int, str], Awaitable[object]],
        *,
        log: logging.Logger,
        interval: float = 30.0,
    ) -> None:
        self._mailer = mailer
        self._claim = claim
        self._done = done
        self._retry = retry
        self._log = log
        self._interval = interval
        self._woken = asyncio.Event()
        self._slots = asyncio.Semaphore(AT_ONCE)

    def wake(self) -> None:
        """There is a new mail."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled. Nothing else ends it."""
        while True:
            self._woken.clear()
            if await self._round():
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._woken.wait()

    async def _round(self) -> bool:
        """Send one batch; true when there may be more."""
        try:
            mails = await self._claim(BATCH)
        except Exception as error:  # the database is away: what is queued stays queued
            self._log.warning("mails could not be claimed: %s", type(error).__name__)
            await asyncio.sleep(CLAIM_AGAIN_SECONDS)
            return True
        await asyncio.gather(*map(self._handle, mails))
        return len(mails) >= BATCH

    async def _handle(self, mail: QueuedMail[Id]) -> None:
        async with self._slots:
            failure = await self._attempt(mail)
            try:
                await self._settle(mail, failure)
            except Exception as error:  # the claim runs out, and the mail comes up again
                self._log.warning("mail %s could not be settled: %s", mail.id, type(error).__name__)

    async def _attempt(self, mail: QueuedMail[Id]) -> MailError | None:
        try:
            await self._mailer.send(mail.to, mail.subject, mail.text, reference=str(mail.id))
        except MailError as error:
            return error
        except Exception as error:  # ours, not the mail's: later code may do better
            return MailError(type(error).__name__, temporary=True)
        return None

    async def _settle(self, mail: QueuedMail[Id], failure: MailError | None) -> None:
        if failure is not None and failure.temporary and mail.attempts < ATTEMPTS:
            await self._retry(mail.id, retry_delay(mail.attempts), str(failure))
            return
        if failure is not None:
            self._log.error("mail %s dropped after %d attempts: %s", mail.id, mail.attempts, failure)
        await self._done(mail.id)


def retry_delay(attempts: int) -> int:
    """One minute after the first attempt, twice as long after each further one, an hour at most."""
    return int(min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** (max(attempts, 1) - 1)))
