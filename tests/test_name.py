"""Names that look alike are one name, and names that do not are not."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.error import Invalid
from server.name import clean, look

SAME = [
    ("ann", "ANN", "Ann", "\uff21nn", "\U0001d41ann", "\u24d0nn"),  # case, and forms of the same letters
    ("ann", "\u0430nn", "\u03b1nn", "\u0251nn"),  # Cyrillic, Greek, phonetic
    ("pope", "\u0440\u043e\u0440\u0435", "\u03c1\u03bf\u03c1e"),
    ("olivia", "0l1v1a", "oiivia", "\u04cflivia".replace("\u04cf", "o", 1), "OLIVIA"),
    ("zoe", "zo\u00e9", "zoe\u0301", "zo\u0454".replace("\u0454", "\u00ea")),
    ("struck", "s\u0336t\u0336r\u0336u\u0336c\u0336k\u0336", "struck\u20dd"),
    ("\u043f\u043f\u0437", "\u03c0\u03c0\u0437", "\u043f\u03c0\u025c"),  # Greek and Cyrillic, no Latin letter near
    ("stra\u00dfe", "STRASSE"),
]
OTHER = [
    "ann",
    "anna",
    "a.nn",
    "a_nn",
    "a-nn",
    "bob",
    "\u5c71\u672c",
    "\u5c71\u53e3",
    "\u0928\u093f",
    "\u0928\u0940",
    "ann2",
    "ann3",
]


@pytest.mark.parametrize("names", SAME)
def test_names_that_look_alike_are_the_same(names: tuple[str, ...]) -> None:
    assert len({look(name) for name in names}) == 1, [ascii(look(name)) for name in names]


def test_names_that_differ_are_not_the_same() -> None:
    assert len({look(name) for name in OTHER}) == len(OTHER)


@pytest.mark.parametrize(
    "name",
    ["ann", "\u5c71\u672c", "\u0928\u093f\u0930\u091c", "\u0645\u062d\u0645\u062f", "j.r_r-t", "7even", "Zo\u00eb"],
)
def test_people_of_all_scripts_keep_their_names(name: str) -> None:
    assert clean(name) == name


def test_a_name_is_kept_in_its_compatibility_form() -> None:
    assert clean("\uff21\uff4e\uff4e") == "Ann"
    assert clean("zoe\u0308") == "zo\u00eb"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "_ann",
        ".ann",
        "\u0301ann",
        "ann bob",
        "ann\u3164",
        "ann\ufe0f",
        "ann\U000e0101",
        "a\u200bnn",
        "a\u2066nn",
        "a" * 33,
        "\ufdfaab",
        "\u2460\u20dd\ufe0f",
    ],
)
def test_what_is_no_name_is_invalid(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        clean(name)
    assert refused.value.field == "username"


@pytest.mark.parametrize("name", ["admin", "Adm1n", "\u0430dmin", "OWNER", "here", "onesocket", "0nesocket"])
def test_names_of_the_house_are_reserved_however_they_are_written(name: str) -> None:
    with pytest.raises(Invalid, match="reserved"):
        clean(name)


@given(st.text(min_size=1, max_size=32))
def test_every_name_is_clean_or_invalid_and_stays_what_it_is(name: str) -> None:
    try:
        kept = clean(name)
    except Invalid:
        return
    assert clean(kept) == kept
    assert look(kept) == look(name.strip())
    assert look(look(kept)) == look(kept), "a name that looks like a look is that name"
    assert not any(unicodedata.category(letter)[0] in "CZ" for letter in kept)
    assert len(look(kept)) > 0
