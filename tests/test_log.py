"""log: one line is one line, for people and for machines, and no secret is in any of them."""

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from protocol.account import (
    AccountChangePassword,
    AccountDelete,
    AccountForgotPassword,
    AccountLogin,
    AccountLogout,
    AccountRefresh,
    AccountRegister,
    AccountResetPassword,
    AccountUpdate,
    AccountVerifyEmail,
)
from protocol.api_key import ApiKeyCreate
from protocol.device import DeviceSetPush, WebPush
from protocol.error import Refusal
from protocol.frame import Request
from protocol.session import SessionOpen
from protocol.two_factor import TwoFactorDisable, TwoFactorRenew
from server import Server
from server.log import HumanFormatter, JsonFormatter, configure
from storage.ids import new_id
from tests.authenticator import Authenticator
from tests.conftest import Dial, Person, Starter
from tests.ops import work
from tests.raw import BINARY, UPGRADE, Raw, head, masked, until

NASTY = [
    "a\r\nb",
    'forged\n{"level":"info","message":"all is well"}',
    "\x00\x1b[2J\x07\x7f\x9b31m",
    "line\u2028separator\u2029",
    'quotes " and \\ backslashes',
    "half a \ud800 surrogate",
    "déjà vu ☃ 😀",
    "%s %d {}",
]


def record(message: Any, **extra: Any) -> logging.LogRecord:
    """One thing to log."""
    return logging.getLogger("onesocket.test").makeRecord(
        "onesocket.test", logging.WARNING, __file__, 1, message, (), None, extra=extra
    )


def failed(message: str, error: Exception, **extra: Any) -> logging.LogRecord:
    """One failure to log."""
    one = record(message, **extra)
    try:
        raise error
    except Exception:
        one.exc_info = sys.exc_info()
    return one


# Lines


@pytest.mark.parametrize("text", NASTY)
def test_whatever_is_logged_becomes_one_json_object_on_one_line(text: str) -> None:
    for one in (record(text), record("x", value=text), record("x", **{"key" + text: 1}), failed("x", ValueError(text))):
        line = JsonFormatter().format(one)
        assert len(line.encode().splitlines()) == 1
        found = json.loads(line)
        assert list(found)[:4] == ["at", "level", "logger", "message"]
        assert text in (found["message"], found.get("value"), *(key[3:] for key in found)) or text in found["error"]


@pytest.mark.parametrize("value", [2**70, -(2**64), b"\xff", {1: 2}, {1, 2}, object(), float("nan"), None, new_id()])
def test_whatever_belongs_to_a_line_can_be_written(value: Any) -> None:
    found = json.loads(JsonFormatter().format(record("x", value=value)))
    assert "value" in found


def test_a_json_line_says_when_what_where_and_with_what() -> None:
    one = record("%s left", socket=7)
    one.args, one.created, one.msecs = ("ann",), 1_700_000_000.25, 250.0
    assert json.loads(JsonFormatter().format(one)) == {
        "at": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "onesocket.test",
        "message": "ann left",
        "socket": 7,
    }


@pytest.mark.parametrize("text", NASTY)
def test_a_line_for_people_is_one_line_without_control_characters(text: str) -> None:
    for one in (record(text), record("x", value=text)):
        line = HumanFormatter(colour=False).format(one)
        assert re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", line) is None


def test_a_traceback_for_people_stands_below_its_line_and_cannot_pose_as_another() -> None:
    forged = "oops\n12:00:00 error: op: forged\x1b[2J"
    lines = HumanFormatter(colour=False).format(failed("it failed", ValueError(forged), op="work.fail")).split("\n")
    assert lines[0].endswith("warning: test: it failed op=work.fail")
    assert lines[1] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in lines[1:])
    assert lines[-1] == "  12:00:00 error: op: forged\\x1b[2J"


def test_colours_are_for_terminals() -> None:
    assert "\x1b[33m" in HumanFormatter(colour=True).format(record("x"))
    assert "\x1b" not in HumanFormatter(colour=False).format(record("x"))


PROGRAM = """
import logging, warnings
from server.log import configure
configure({!r}, "info")
logging.getLogger("onesocket.x").warning("hello\\nthere")
logging.getLogger("onesocket.x").debug("unseen")
warnings.warn("old")
"""


def written(form: str, terminal: bool) -> str:
    """What a process writes to standard error."""
    command = [sys.executable, "-c", PROGRAM.format(form)]
    if not terminal:
        return subprocess.run(command, check=True, capture_output=True, timeout=30).stderr.decode()
    main, side = pty.openpty()
    try:
        subprocess.run(command, check=True, stderr=side, timeout=30)
        return os.read(main, 65536).decode()
    finally:
        os.close(main)
        os.close(side)


def test_people_at_a_terminal_get_lines_for_people_and_collectors_get_json() -> None:
    for form, terminal in (("auto", False), ("json", True)):
        lines = [json.loads(line) for line in written(form, terminal).splitlines()]
        assert [line["logger"] for line in lines] == ["onesocket.x", "py.warnings"]
        assert [line["level"] for line in lines] == ["warning", "warning"]
        assert lines[0]["message"] == "hello\nthere"
    for form, terminal in (("auto", True), ("human", False)):
        text = written(form, terminal)
        assert "warning: x: hello\\x0athere" in text
        assert ("\x1b[33m" in text) == terminal
        assert "unseen" not in text


# Secrets


class Watched(io.StringIO):
    """Standard error, with somebody reading."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """All that is logged at the level `debug`, as the server is configured for it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: one.level for name, one in root.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    watched = Watched()
    monkeypatch.setattr(sys, "stderr", watched)
    configure("json", "debug")
    yield watched
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


async def refused(person: Person, frame: Request[Any]) -> None:
    """A call that goes wrong."""
    with pytest.raises(Refusal):
        await person.call(frame)


async def test_no_secret_is_in_any_line_of_a_session_and_its_failures(
    start: Starter, everything: Watched, dial: Dial
) -> None:
    server = await start(ops=work.HANDLERS, public=work.NAMES, metrics_token="CANARY-metrics")
    async with Person(server.url, reconnect=False) as ann:
        frame = AccountRegister(username="ann", password=Person.password, email="ann@example.org")
        tokens = await ann.call(frame)
        await ann.open(tokens)
        verify = await _ticket(everything, "verify")
        await ann.call(AccountVerifyEmail(ticket=verify))
        secrets = {"CANARY", Person.password, tokens.access, tokens.refresh, *await _identity(server, ann)}
        await _failures(server, ann)
        await ann.call(AccountForgotPassword(email="ann@example.org"))
        reset = await _ticket(everything, "reset")
        await ann.call(AccountResetPassword(ticket=reset, password="CANARY new password"))
    await _bad_bytes(server, dial, tokens.access)
    lines = everything.lines
    assert [line["op"] for line in lines if line["level"] == "error"] == ["work.fail"]
    for line in lines:
        text = json.dumps(line, ensure_ascii=False)
        assert not [secret for secret in secrets if secret in text], text
    seen = [line["message"].partition(": ")[0] for line in lines if verify in str(line) or reset in str(line)]
    assert seen == ["mail to ann@example.org"] * 2, "the link is printed where there is no mail server, once"


async def _ticket(everything: Watched, purpose: str) -> str:
    """A ticket from the line that stands for a mail where no mail server is set."""
    found: list[str] = []

    def look() -> bool:
        links = [re.search(rf"^mail to .*/{purpose}#(\S+)$", line["message"]) for line in everything.lines]
        found[:] = [link[1] for link in links if link]
        return bool(found)

    await until(look)
    return found[-1]


async def _identity(server: Server, ann: Person) -> set[str]:
    """What people do with their accounts; the secrets that they were given."""
    key = await ann.call(ApiKeyCreate(name="bot", password=ann.password, scopes=["*"]))
    authenticator = await Authenticator.of(server, ann)
    code = await authenticator.code()
    renewed = await ann.call(TwoFactorRenew(password=ann.password, code=code))
    await ann.call(TwoFactorDisable(password=ann.password, code=renewed.codes[0]))
    await ann.call(AccountUpdate(bio="CANARY biography", display_name="CANARY name"))
    await ann.call(DeviceSetPush(push=WebPush(endpoint="https://push.example/CANARY", p256dh="C" * 87, auth="A" * 22)))
    await ann.call(AccountChangePassword(password=ann.password, new_password="CANARY changed password"))
    again = await ann.call(AccountLogin(login="ann", password="CANARY changed password"))
    next_ = await ann.call(AccountRefresh(refresh=again.refresh, nonce=new_id()))  # type: ignore[union-attr]
    async with Person(server.url, reconnect=False) as bot:
        await bot.open(key.secret)
    return {key.secret, authenticator.totp.secret, *renewed.codes, *authenticator.recovery, next_.access, next_.refresh}


async def _failures(server: Server, ann: Person) -> None:
    await refused(ann, AccountLogin(login="ann", password="CANARY wrong"))
    await refused(ann, AccountLogin(login="CANARY nobody", password="CANARY wrong"))
    await refused(ann, AccountRegister(username="ann", password="CANARY password"))
    await refused(ann, AccountRefresh(refresh="osr_CANARY", nonce=new_id()))
    await refused(ann, AccountVerifyEmail(ticket="CANARY"))
    await refused(ann, AccountResetPassword(ticket="CANARY", password="CANARY password"))
    await refused(ann, AccountChangePassword(password="CANARY wrong", new_password="CANARY password"))
    await refused(ann, AccountDelete(password="CANARY wrong"))
    await refused(ann, TwoFactorDisable(password="CANARY wrong", code="123456"))
    await refused(ann, work.WorkFail(secret="CANARY in a frame"))
    async with Person(server.url, reconnect=False) as other:
        await refused(other, SessionOpen(token="CANARY.token.here"))
        await refused(other, SessionOpen(token="osk_CANARY"))
        await refused(other, AccountLogout())


async def _bad_bytes(server: Server, dial: Dial, token: str) -> None:
    for data in (
        masked(b'{"op":"session.open","token":{"CANARY":1}}'),
        masked(b'{"op":"session.open","CANARY":1}'),
        masked(b'{"op":"account.login","login":"CANARY\\u0000","password":"CANARY"}'),
        masked(b'{"op":"account.login","login":"CANARY'),
        masked(b"CANARY\xff"),
        masked(b"CANARY", BINARY),
        masked(b"\x03\xe8CANARY", 8),
        masked(b'{"op":"CANARY"}') * 300,
    ):
        raw = await dial(server)
        raw.send(data)
        raw.writer.write_eof()
        await raw.over()
    for request in (
        head("GET", "/metrics", [("Authorization", "Bearer CANARY")]),
        head("GET", "/metrics", [("Authorization", "Bearer CANARY-metrics")]),
        head("GET", f"/socket?token={token}", [*UPGRADE, ("Authorization", f"Bearer {token}"), ("Cookie", "a=CANARY")]),
        head("GET", "/CANARY", [("Origin", "https://CANARY.example"), *UPGRADE]),
        b"CANARY CANARY\r\n\r\n",
    ):
        raw = await Raw.connect(server.port)
        raw.send(request)
        raw.writer.write_eof()
        await raw.over()


async def test_a_failure_is_logged_with_its_op_socket_and_request(
    start: Starter, everything: Watched, dial: Dial
) -> None:
    server = await start(ops=work.HANDLERS, public=work.NAMES)
    raw = await dial(server)
    raw.ask(work.WorkFail(id=77, secret="CANARY"))
    assert (await raw.json())["error"]["code"] == "internal"
    (line,) = [one for one in everything.lines if one["level"] == "error"]
    (number,) = [one.number for one in server.gateway.sockets]
    assert line["message"] == "work.fail failed"
    assert (line["op"], line["socket"], line["request"]) == ("work.fail", number, 77)
    assert line["error"].endswith("RuntimeError: this handler is broken")
