"""Mails, against real SMTP servers (aiosmtpd) on this machine; the outbox with a queue kept in memory."""

import asyncio
import contextlib
import datetime
import email
import ipaddress
import logging
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage
from email.policy import default
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from server.mail import Mailer, MailError, Outbox

LOG = logging.getLogger("onesocket.mail")
SENDER = "The Community <no-reply@community.test>"
LINK = "https://community.test/verify#token=abc_DEF-123456789012345678901234567890123456789012345678901234567890"
TEXT = f"Hello Zoë,\n\nopen this:\n{LINK}\n.\n.. and be happy\n"


class Post:
    """What a mail server received, and what it says to each step instead of yes."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.secured: list[bool] = []
        self.says: dict[str, str] = {}
        self.on_data: Callable[[], Any] | None = None

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str], /
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.says.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str], /
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self.says.get("RCPT", "250 OK")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.on_data is not None:
            await self.on_data()
        if "DATA" in self.says:
            return self.says["DATA"]
        self.mails.append(email.message_from_bytes(envelope.original_content or b"", policy=default))
        self.envelopes.append(envelope)
        self.secured.append(session.ssl is not None)
        return "250 OK"


@contextlib.asynccontextmanager
async def listening(post: Post, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[str]:
    """An SMTP server for `post`; gives its host:port."""
    loop = asyncio.get_running_loop()
    factory = lambda: SMTP(post, hostname="mail.test", loop=loop, **options)  # noqa: E731
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
async def relay(post: Post) -> AsyncIterator[str]:
    async with listening(post) as address:
        yield address


@pytest.fixture
def mailer(relay: str) -> Mailer:
    return Mailer(f"smtp://{relay}", SENDER, log=LOG)


def certificate(
    key: Any, name: str, issuer: Any = None, issuer_key: Any = None, ip: str | None = None
) -> x509.Certificate:
    """A certificate authority, or with an issuer a server's certificate for `ip`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if ip is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ip))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256())


class Tls:
    """Our own certificate authority: `client` trusts it, `server` has its certificate for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca = certificate(self._ca_key, "test authority")
        self.client = ssl.create_default_context(cadata=self._ca.public_bytes(serialization.Encoding.PEM).decode())
        self.server = self.serving("127.0.0.1")

    def serving(self, ip: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        chain = certificate(key, "server", self._ca, self._ca_key, ip)
        pem, pkcs8, clear = (
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file = self._folder / f"{ip}.pem"
        file.write_bytes(key.private_bytes(pem, pkcs8, clear) + chain.public_bytes(pem))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("tls"))


# what is sent


async def test_a_mail_arrives_as_it_was_written(mailer: Mailer, post: Post) -> None:
    await mailer.send("zoe@example.org", "Bestätige deine Adresse", TEXT)
    [mail], [envelope] = post.mails, post.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("no-reply@community.test", ["zoe@example.org"])
    assert (mail["From"], mail["To"]) == (SENDER, "zoe@example.org")
    assert mail["Subject"] == "Bestätige deine Adresse"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert abs(parsedate_to_datetime(mail["Date"]) - datetime.datetime.now(datetime.UTC)).total_seconds() < 60
    assert mail["Message-ID"].endswith("@community.test>")
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().replace("\r\n", "\n") == TEXT


async def test_a_reference_makes_copies_recognisable(mailer: Mailer, post: Post) -> None:
    for reference in ("7", "7", None, None):
        await mailer.send("zoe@example.org", "Hi", TEXT, reference=reference)
    first, copy, one, other = (mail["Message-ID"] for mail in post.mails)
    assert first == copy == "<7@community.test>"
    assert len({first, one, other}) == 3


@pytest.mark.parametrize(
    "to",
    [
        "a@example.org\r\nBcc: b@example.org",
        "a@example.org\nRCPT TO:<b@example.org>",
        "a@example.org, b@example.org",
        "a@example.org> SIZE=1",
        "Anna <a@example.org>",
        '"a b"@example.org',
        "a@b@example.org",
        "a@example.org\x00",
        "a@example.org\u202e",
        "a@[127.0.0.1]",
        "@example.org",
        "a@",
        "a",
        "",
        "a" * 65 + "@example.org",
        "a@" + "b" * 190,
    ],
)
async def test_what_is_not_one_plain_address_is_refused_for_good(post: Post, to: str) -> None:
    async with listening(post, enable_SMTPUTF8=True) as address:
        with pytest.raises(MailError) as refused:
            await Mailer(f"smtp://{address}", SENDER, log=LOG).send(to, "Hi", TEXT)
    assert not refused.value.temporary
    assert post.envelopes == []


async def test_a_subject_cannot_become_a_header(mailer: Mailer, post: Post) -> None:
    await mailer.send(
        "zoe@example.org", "Welcome to\r\nBcc: b@example.org\r\n\r\n\x00 Anna's\u2028room" + "!" * 500, TEXT
    )
    [mail], [envelope] = post.mails, post.envelopes
    assert mail["Subject"].startswith("Welcome to Bcc: b@example.org Anna's room!!!")
    assert len(mail["Subject"]) == 200
    assert (mail["Bcc"], envelope.rcpt_tos) == (None, ["zoe@example.org"])


@pytest.mark.parametrize("sender", ["", "nobody", "A <a@b>\r\nBcc: c@d", "A\nB <a@b.test>", "a@b.test, c@d.test"])
def test_a_sender_must_be_an_address(sender: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Mailer("smtp://127.0.0.1", sender, log=LOG)


async def test_an_international_address_needs_a_server_that_carries_it(mailer: Mailer, post: Post) -> None:
    with pytest.raises(MailError, match="cannot carry") as refused:
        await mailer.send("zoë@example.org", "Hi", TEXT)
    assert not refused.value.temporary
    async with listening(post, enable_SMTPUTF8=True) as address:
        await Mailer(f"smtp://{address}", SENDER, log=LOG).send("zoë@exämple.org", "Grüße", TEXT)
    [mail], [envelope] = post.mails, post.envelopes
    assert (envelope.rcpt_tos, mail["To"], mail["Subject"]) == (
        ["zoë@exämple.org"],
        "zoë@exämple.org",
        "Grüße",
    )


# how it is sent


def login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"us:er", b"p@ss/word"), handled=False)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_a_server_may_ask_for_a_password(post: Post) -> None:
    options: dict[str, Any] = {"authenticator": login, "auth_required": True, "auth_require_tls": False}
    async with listening(post, **options) as address:
        await Mailer(f"smtp://us%3Aer:p%40ss%2Fword@{address}", SENDER, log=LOG).send("a@example.org", "Hi", TEXT)
        assert len(post.mails) == 1
        wrong = Mailer(f"smtp://us%3Aer:wrong@{address}", SENDER, log=LOG)
        with pytest.raises(MailError, match=r"^no mail server: 535") as refused:
            await wrong.send("a@example.org", "Hi", TEXT)
    assert refused.value.temporary
    assert len(post.mails) == 1


@pytest.mark.parametrize("scheme", ["smtp+starttls", "smtps"])
async def test_tls_is_used_and_verified(post: Post, tls: Tls, scheme: str) -> None:
    options: dict[str, Any] = {"tls": tls.server} if scheme == "smtps" else {"tls_context": tls.server}
    async with listening(post, **options) as address:
        mailer = Mailer(f"{scheme}://{address}", SENDER, log=LOG, tls_context=tls.client)
        await mailer.send("a@example.org", "Hi", TEXT)
        stranger = Mailer(f"{scheme}://{address}", SENDER, log=LOG)
        with pytest.raises(MailError, match="no mail server") as refused:
            await stranger.send("a@example.org", "Hi", TEXT)
    assert refused.value.temporary
    assert len(post.mails) == 1
    assert post.secured == [True] or scheme == "smtps"


async def test_a_certificate_for_another_host_is_refused(post: Post, tls: Tls) -> None:
    async with listening(post, tls_context=tls.serving("127.0.0.2")) as address:
        mailer = Mailer(f"smtp+starttls://{address}", SENDER, log=LOG, tls_context=tls.client)
        with pytest.raises(MailError, match="no mail server"):
            await mailer.send("a@example.org", "Hi", TEXT)
    assert post.mails == []


async def test_starttls_is_not_optional(relay: str, post: Post) -> None:
    with pytest.raises(MailError, match="no mail server") as refused:
        await Mailer(f"smtp+starttls://{relay}", SENDER, log=LOG).send("a@example.org", "Hi", TEXT)
    assert refused.value.temporary
    assert post.envelopes == []


@pytest.mark.parametrize(
    "url",
    [
        "smtp://user:secret@mail.test",
        "http://mail.test",
        "mail.test:25",
        "smtp://",
        "smtp://mail.test/path",
        "smtp://a:99999",
    ],
)
def test_an_unsafe_or_odd_server_address_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError) as refused:
        Mailer(url, SENDER, log=LOG)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("step", "answer", "told", "temporary"),
    [
        ("RCPT", "550 5.1.1 zoe@example.org: no such user", "recipient refused: 550 5.1.1", False),
        ("RCPT", "450 4.2.0 zoe@example.org: greylisted", "recipient refused: 450 4.2.0", True),
        ("DATA", "554 spam, says zoe@example.org", "mail refused: 554", False),
        ("DATA", "451 4.3.0 try later", "mail refused: 451 4.3.0", True),
        ("MAIL", "550 5.7.1 we do not know you", "mail not taken: 550 5.7.1", True),
    ],
)
async def test_a_refusal_says_whether_to_come_back(
    mailer: Mailer, post: Post, *, step: str, answer: str, told: str, temporary: bool
) -> None:
    post.says[step] = answer
    with pytest.raises(MailError) as refused:
        await mailer.send("zoe@example.org", "Hi", TEXT)
    assert (str(refused.value), refused.value.temporary) == (told, temporary)
    assert post.mails == []


async def test_a_server_that_never_greets_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        mailer = Mailer(f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}", SENDER, log=LOG, timeout=0.2)
        async with asyncio.timeout(5):
            with pytest.raises(MailError) as refused:
                await mailer.send("a@example.org", "Hi", TEXT)
    assert refused.value.temporary


async def test_a_server_that_drips_is_given_up_in_time(post: Post) -> None:
    """Each answer is in time, all of them together are not."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"220-still here\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        mailer = Mailer(f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}", SENDER, log=LOG, timeout=0.3)
        async with asyncio.timeout(5):
            with pytest.raises(MailError, match="in time") as refused:
                await mailer.send("a@example.org", "Hi", TEXT)
    assert refused.value.temporary


async def test_a_server_that_is_gone_is_a_temporary_matter(post: Post) -> None:
    async with listening(post) as address:
        mailer = Mailer(f"smtp://{address}", SENDER, log=LOG)
    with pytest.raises(MailError, match="no mail server") as refused:
        await mailer.send("a@example.org", "Hi", TEXT)
    assert refused.value.temporary


async def test_a_mail_is_sent_once_the_server_took_it() -> None:
    """However rudely the server ends."""
    script = {
        b"EHLO": b"250 hi\r\n",
        b"MAIL": b"250 ok\r\n",
        b"RCPT": b"250 ok\r\n",
        b"DATA": b"354 go\r\n",
        b".\r\n": b"250 mine\r\n",
    }
    seen: list[bytes] = []

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        while line := await reader.readline():
            seen.append(line[:4])
            if line.startswith(b"QUIT"):
                writer.transport.abort()
                return
            writer.write(script.get(line if line == b".\r\n" else line[:4], b""))

    async with await asyncio.start_server(rude, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await Mailer(f"smtp://{address}", SENDER, log=LOG).send("a@example.org", "Hi", TEXT)
    assert seen[-2:] == [b".\r\n", b"QUIT"]


async def test_without_a_server_the_link_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "onesocket.mail")
    await Mailer(None, SENDER, log=LOG).send("zoe@example.org", "Verify\nme", TEXT)
    [record] = caplog.records
    assert record.getMessage() == f"mail to zoe@example.org: Verify me: {LINK}"
    with pytest.raises(MailError):
        await Mailer(None, SENDER, log=LOG).send("zoe@example.org\nforged line", "Hi", TEXT)


def test_nothing_is_loaded_before_the_first_mail() -> None:
    """An idle server should not pay for an SMTP client."""
    code = (
        "import logging, sys; from server.mail import Mailer;"
        "Mailer('smtp://127.0.0.1', 'a@b.test', log=logging.getLogger());"
        "sys.exit('aiosmtplib' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


# the outbox


class Row:
    """A queued mail, as storage would hand it out."""

    def __init__(self, id: int, attempts: int = 1, to: str = "zoe@example.org") -> None:
        self.id, self.to, self.subject, self.attempts = id, to, "Hi", attempts

    @property
    def text(self) -> str:
        return TEXT


class SealedRow(Row):
    """Its text cannot be opened any more."""

    @property
    def text(self) -> str:
        raise KeyError(TEXT)


class Queue:
    """The trio of storage functions, over a list."""

    def __init__(self) -> None:
        self.waiting: list[Row] = []
        self.claims = 0
        self.finished: list[int] = []
        self.retried: list[tuple[int, int, str]] = []
        self.broken: set[str] = set()

    async def claim(self, limit: int) -> list[Row]:
        self.claims += 1
        self._fail("claim")
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    async def done(self, id: int) -> None:
        self._fail("done")
        self.finished.append(id)

    async def retry(self, id: int, delay: int, error: str) -> None:
        self._fail("retry")
        self.retried.append((id, delay, error))

    def _fail(self, what: str) -> None:
        if what in self.broken:
            raise ConnectionError("the database is away; detail: zoe@example.org")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.fixture
def queue() -> Queue:
    return Queue()


@contextlib.asynccontextmanager
async def running(mailer: Mailer, queue: Queue, interval: float = 60) -> AsyncIterator[Outbox[int]]:
    outbox: Outbox[int] = Outbox(mailer, queue.claim, queue.done, queue.retry, log=LOG, interval=interval)
    task = asyncio.create_task(outbox.run())
    try:
        yield outbox
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_woken_outbox_sends_what_is_queued(mailer: Mailer, post: Post, queue: Queue) -> None:
    async with running(mailer, queue) as outbox:
        await until(lambda: queue.claims == 1)  # it looks once when it starts
        queue.waiting = [Row(1), Row(2)]
        outbox.wake()
        await until(lambda: sorted(queue.finished) == [1, 2])
    assert sorted(mail["Message-ID"] for mail in post.mails) == ["<1@community.test>", "<2@community.test>"]


async def test_an_outbox_looks_by_itself_now_and_then(mailer: Mailer, queue: Queue) -> None:
    async with running(mailer, queue, interval=0.02):
        await until(lambda: queue.claims == 1)
        queue.waiting = [Row(1)]
        await until(lambda: queue.finished == [1])


async def test_many_mails_need_one_wake_and_four_connections(mailer: Mailer, post: Post, queue: Queue) -> None:
    now = most = 0
    four = asyncio.Event()

    async def count() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 4:
            four.set()
        await four.wait()
        await asyncio.sleep(0.01)  # time for a fifth to come, if it may
        now -= 1

    post.on_data = count
    queue.waiting = [Row(number) for number in range(45)]
    async with running(mailer, queue):
        await until(lambda: len(queue.finished) == 45)
    assert sorted(queue.finished) == list(range(45))
    assert queue.claims == 3
    assert most == 4


async def test_temporary_failures_are_retried_ever_later(mailer: Mailer, post: Post, queue: Queue) -> None:
    post.says["RCPT"] = "450 4.2.0 zoe@example.org: later"
    queue.waiting = [Row(number, attempts=number) for number in range(1, 8)]
    async with running(mailer, queue):
        await until(lambda: len(queue.retried) == 7)
    delays = [60, 120, 240, 480, 960, 1920, 3600]
    told = "recipient refused: 450 4.2.0"
    assert sorted(queue.retried) == [(number, delay, told) for number, delay in enumerate(delays, start=1)]
    assert queue.finished == []


@pytest.mark.parametrize(("answer", "attempts"), [("450 4.2.0 later", 8), ("550 5.1.1 never", 1)])
async def test_a_hopeless_mail_is_dropped_and_told_without_its_text(
    mailer: Mailer, post: Post, queue: Queue, caplog: pytest.LogCaptureFixture, *, answer: str, attempts: int
) -> None:
    post.says["RCPT"] = answer
    queue.waiting = [Row(1, attempts)]
    async with running(mailer, queue):
        await until(lambda: queue.finished == [1])
    assert queue.retried == []
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == f"mail 1 dropped after {attempts} attempts: recipient refused: {answer[:9]}"
    assert not any(secret in caplog.text for secret in (LINK, "zoe@example.org", "Traceback"))


@pytest.mark.parametrize("broken", ["claim", "done", "retry"])
async def test_an_outbox_outlives_its_database(
    mailer: Mailer, post: Post, queue: Queue, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    queue.broken = {broken}
    queue.waiting = [Row(1), Row(2, to="nobody")]
    if broken == "retry":
        post.says["RCPT"] = "450 later"
    async with running(mailer, queue) as outbox:
        await until(lambda: "ConnectionError" in caplog.text)
        queue.broken = set()
        post.says.clear()
        queue.waiting = [Row(3)]
        outbox.wake()
        await until(lambda: 3 in queue.finished)
    assert "zoe@example.org" not in caplog.text


async def test_a_mail_that_cannot_be_read_does_not_stop_the_others(
    mailer: Mailer, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    queue.waiting = [SealedRow(1), SealedRow(2, attempts=8), Row(3)]
    async with running(mailer, queue):
        await until(lambda: sorted(queue.finished) == [2, 3] and len(queue.retried) == 1)
    assert queue.retried == [(1, 60, "KeyError")]
    assert LINK not in caplog.text


async def test_a_cancelled_outbox_ends_in_the_middle_of_a_mail(mailer: Mailer, post: Post, queue: Queue) -> None:
    started = asyncio.Event()

    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    post.on_data = hang
    queue.waiting = [Row(1)]
    async with asyncio.timeout(5), running(mailer, queue):
        await started.wait()
    assert queue.finished == []
