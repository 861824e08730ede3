"""A small community to look at, for `serve --demo`: made by the same ops that clients use."""

from __future__ import annotations

import secrets

from msgspec import Struct

from protocol.account import AccountRegister, AccountUpdate, Tokens
from protocol.client import Client
from storage.pool import Pool


class Resident(Struct, frozen=True):
    """Somebody who lives in the demo."""

    username: str
    display_name: str
    city: str
    bio: str
    interests: list[str]


PEOPLE = [
    Resident(
        "ada",
        "Ada",
        "London",
        "Writes programs for engines that are yet to be built.",
        ["mathematics", "music"],
    ),
    Resident("jules", "Jules", "Nantes", "Collects timetables of trains and submarines.", ["travel", "maps"]),
    Resident("mika", "Mika", "Helsinki", "Bakes on Sundays, sails on Mondays.", ["baking", "sailing"]),
    Resident("noor", "Noor", "Amman", "Asks the question everybody else is afraid of.", ["law", "chess"]),
    Resident("tomás", "Tomás", "Valparaíso", "Paints staircases.", ["painting", "football"]),
    Resident("小林", "小林", "大阪", "ラジオと電波の話ばかり。", ["radio", "books"]),
    Resident("anna.v", "Anna V.", "Tbilisi", "Translates poems that resist it.", ["poetry", "hiking"]),
    Resident("kofi", "Kofi", "Accra", "Repairs what others throw away.", ["electronics", "cooking"]),
]


async def seed(url: str, pool: Pool) -> list[tuple[str, str]]:
    """Fill an empty server; rows for the banner."""
    if await pool.fetchval("SELECT EXISTS (SELECT FROM account)"):
        return [("demo", "this server has accounts already: nothing was added")]
    password = "-".join(secrets.choice(("amber", "birch", "cedar", "delta", "ember", "fjord")) for _ in range(3))
    password += f"-{secrets.randbelow(10**6):06d}"
    for one in PEOPLE:
        async with Client(url) as client:
            tokens = await client.call(AccountRegister(username=one.username, password=password))
            assert isinstance(tokens, Tokens)
            await client.open(tokens)
            await client.call(
                AccountUpdate(display_name=one.display_name, city=one.city, bio=one.bio, interests=one.interests)
            )
    names = ", ".join(one.username for one in PEOPLE)
    return [("demo people", names), ("their password", password)]
