"""Keys, tokens and sealed boxes. (Forged access tokens: test_account_refresh.py; rotation: test_rotation.py.)"""

import time
from pathlib import Path
from uuid import UUID, uuid4

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.error import Expired, Unauthenticated
from server.secret import Keyring, SecretError, api_key, digest, is_api_key, secret_file, ticket

SECRET, OLD = "s" * 32, "o" * 32
ACCOUNT, DEVICE = UUID(int=1), UUID(int=2)


@pytest.fixture(scope="module")
def keys() -> Keyring:
    return Keyring([SECRET])


def test_a_secret_is_long_or_refused_with_the_way_to_make_one() -> None:
    for secrets in ([], [""], ["short"], ["s" * 31], [SECRET, "short"]):
        with pytest.raises(SecretError, match="openssl rand"):
            Keyring(secrets)


def test_each_purpose_has_a_key_of_its_own(keys: Keyring) -> None:
    current = keys.current
    assert len({current.access, current.refresh, SECRET.encode()}) == 3
    assert SECRET not in current.id


def test_an_access_token_says_whose_it_is_until_it_expires(keys: Keyring) -> None:
    claims = keys.read_access(keys.access(ACCOUNT, DEVICE, 60))
    assert (claims.account, claims.device) == (ACCOUNT, DEVICE)
    keys.read_access(keys.access(ACCOUNT, DEVICE, -20))  # within the leeway for clocks
    with pytest.raises(Unauthenticated, match="expired"):
        keys.read_access(keys.access(ACCOUNT, DEVICE, -31))


def test_an_access_token_holds_nothing_but_ids_and_times(keys: Keyring) -> None:
    claims = jwt.decode(keys.access(ACCOUNT, DEVICE, 60), options={"verify_signature": False})
    assert claims.keys() == {"iss", "aud", "sub", "sid", "iat", "exp"}
    assert claims["exp"] - claims["iat"] == 60
    assert abs(claims["iat"] - time.time()) < 5


@given(shown=st.text(max_size=200))
def test_whatever_is_shown_for_a_token_is_refused_and_never_fails(keys: Keyring, shown: str) -> None:
    for read in (keys.read_access, keys.refresh_device, lambda text: keys.refresh_device("osr_" + text)):
        with pytest.raises(Unauthenticated):
            read(shown)


def test_the_successor_of_a_refresh_token_depends_on_token_nonce_and_key(keys: Keyring) -> None:
    first, nonce = keys.first_refresh(DEVICE), uuid4()
    [second] = keys.next_refresh(first, nonce)
    assert keys.next_refresh(first, nonce) == [second]
    others = [keys.next_refresh(first, uuid4())[0], keys.next_refresh(keys.first_refresh(DEVICE), nonce)[0]]
    assert len({first, second, *others}) == 4
    assert {keys.refresh_device(token) for token in (first, second, *others)} == {DEVICE}


def test_after_a_rotation_the_successor_is_made_with_the_new_key_first() -> None:
    old, both = Keyring([OLD]), Keyring([SECRET, OLD])
    token, nonce = old.first_refresh(DEVICE), uuid4()
    fresh, as_before = both.next_refresh(token, nonce)
    assert [as_before] == old.next_refresh(token, nonce)
    assert Keyring([SECRET]).refresh_device(fresh) == DEVICE
    with pytest.raises(Unauthenticated):
        old.refresh_device(fresh)


def test_every_changed_letter_spoils_a_refresh_token(keys: Keyring) -> None:
    token = keys.first_refresh(DEVICE)
    for at, letter in enumerate(token):
        other = "A" if letter != "A" else "B"
        with pytest.raises(Unauthenticated):
            keys.refresh_device(token[:at] + other + token[at + 1 :])


def test_one_refresh_token_has_one_spelling(keys: Keyring) -> None:
    """Else a copy that decodes to the same bytes would count as another token, which looks like theft."""
    token = keys.first_refresh(DEVICE)
    for other in (
        token + "=",
        token + "==",
        token[:40] + "!" + token[40:],
        token + "\n",
        token[:-1] + _next(token[-1]),
    ):
        with pytest.raises(Unauthenticated):
            keys.refresh_device(other)


def _next(letter: str) -> str:
    """The letter of base 64 whose leading bits are the same: the last one of a token has bits to spare."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return letters[letters.index(letter) ^ 1]


def test_a_sealed_box_opens_for_its_purpose_only(keys: Keyring) -> None:
    box = keys.seal(b"the text", "mail")
    assert keys.unseal(box, "mail") == b"the text"
    assert b"the text" not in box
    assert box != keys.seal(b"the text", "mail")
    with pytest.raises(Expired):
        keys.unseal(box, "external")
    with pytest.raises(Expired):
        Keyring([OLD]).unseal(box, "mail")
    assert Keyring([OLD, SECRET]).unseal(box, "mail") == b"the text"


def test_a_box_that_was_touched_or_cut_short_does_not_open(keys: Keyring) -> None:
    box = keys.seal(b"the text", "mail")
    for at in range(len(box)):
        for broken in (box[:at], box[:at] + bytes([box[at] ^ 1]) + box[at + 1 :]):
            with pytest.raises(Expired):
                keys.unseal(broken, "mail")


def test_tickets_and_keys_cannot_be_guessed_and_are_told_apart(keys: Keyring) -> None:
    assert len({ticket() for _ in range(100)} | {api_key() for _ in range(100)}) == 200
    assert min(len(ticket()), len(api_key())) >= 43
    assert is_api_key(api_key())
    assert not any(map(is_api_key, (ticket(), keys.first_refresh(DEVICE), keys.access(ACCOUNT, DEVICE, 60))))
    assert digest("a") != digest("b")


def test_the_secret_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret.key"
    [made] = secret_file(path)
    assert (len(made), path.stat().st_mode & 0o777) == (64, 0o600)
    assert secret_file(path) == [made]
    path.chmod(0o640)
    with pytest.raises(SecretError, match="chmod 600"):
        secret_file(path)
