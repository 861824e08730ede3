"""One-time passwords, against an authenticator made by others (pyotp) and the vectors of RFC 6238."""

import re
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import totp

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("time", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_standard(time: int, code: str) -> None:
    assert totp.at(SECRET, time // 30) == code


@given(st.binary(min_size=20, max_size=20), st.integers(60, 2**35))
def test_codes_are_those_of_another_authenticator(secret: bytes, time: int) -> None:
    theirs = pyotp.TOTP(totp.shown(secret)).at(time)
    assert totp.at(secret, time // 30) == theirs
    assert totp.match(secret, theirs, 0, now=time)


def test_a_clock_may_be_half_a_minute_wrong_and_no_more() -> None:
    now = 30 * 1000 + 7
    accepted = [step - 1000 for step in range(990, 1011) if totp.match(SECRET, totp.at(SECRET, step), 0, now=now)]
    assert accepted == [-1, 0, 1]


def test_a_code_is_good_once_and_those_before_it_no_more() -> None:
    now, codes = 30 * 1000, [totp.at(SECRET, step) for step in (999, 1000, 1001)]
    assert totp.match(SECRET, codes[1], 999, now=now) == 1000
    assert totp.match(SECRET, codes[1], 1000, now=now) is None
    assert totp.match(SECRET, codes[0], 1000, now=now) is None
    assert totp.match(SECRET, codes[2], 1000, now=now) == 1001


def test_what_is_no_code_does_not_match() -> None:
    for wrong in ("", "0", "287 082", "28708", "2870820", "\u0662\u0668\u0667\u0660\u0668\u0662"):
        assert totp.match(SECRET, wrong, 0, now=59) is None


def test_the_qr_code_is_understood_by_another_authenticator() -> None:
    secret = totp.new_secret()
    uri = totp.uri(secret, "ann & bob/\u00e4: x", "one socket")
    parsed = pyotp.parse_uri(uri)
    assert isinstance(parsed, pyotp.TOTP)
    assert (parsed.secret, parsed.issuer, parsed.digits, parsed.interval) == (totp.shown(secret), "one socket", 6, 30)
    assert unquote(urlsplit(uri).path) == "/one socket:ann & bob/\u00e4: x"
    assert parse_qs(urlsplit(uri).query)["algorithm"] == ["SHA1"]


def test_secrets_and_recovery_codes_are_random_and_readable() -> None:
    assert len({totp.new_secret() for _ in range(100)}) == 100
    assert len(totp.new_secret()) == 20
    codes = totp.recovery_codes(200)
    assert len(set(codes)) == 200
    assert all(re.fullmatch(r"[2-9A-HJ-NP-Z]{5}-[2-9A-HJ-NP-Z]{5}", code) for code in codes)
    assert not set("01IOio") & set("".join(codes))
