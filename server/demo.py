"""A small community to look at, for `serve --demo`: made by the same ops that clients use."""

from __future__ import annotations

import secrets
from uuid import uuid4

from msgspec import Struct

from protocol.account import AccountRegister, AccountUpdate, Tokens
from protocol.channel import ChannelCreate, ChannelJoin
from protocol.client import Client
from protocol.message import MessageSend
from protocol.reaction import ReactionAdd
from storage.pool import Pool


class Resident(Struct, frozen=True):
    """Somebody who lives in the demo."""

    username: str
    display_name: str
    city: str
    bio: str
    interests: list[str]
    says: str


PEOPLE = [
    Resident(
        "ada",
        "Ada",
        "London",
        "Writes programs for engines that are yet to be built.",
        ["mathematics", "music"],
        "Welcome, everybody. This is the town square: say hello. #welcome",
    ),
    Resident(
        "jules",
        "Jules",
        "Nantes",
        "Collects timetables of trains and submarines.",
        ["travel", "maps"],
        "Hello! Does anybody know when the last tram goes?",
    ),
    Resident(
        "mika",
        "Mika",
        "Helsinki",
        "Bakes on Sundays, sails on Mondays.",
        ["baking", "sailing"],
        "There is bread left over, first come, first served 🥖",
    ),
    Resident(
        "noor",
        "Noor",
        "Amman",
        "Asks the question everybody else is afraid of.",
        ["law", "chess"],
        "Who decides what this place is for?",
    ),
    Resident("tomás", "Tomás", "Valparaíso", "Paints staircases.", ["painting", "football"], "We do. I brought paint."),
    Resident("小林", "小林", "大阪", "ラジオと電波の話ばかり。", ["radio", "books"], "こんばんは。よく聞こえます。"),
    Resident(
        "anna.v",
        "Anna V.",
        "Tbilisi",
        "Translates poems that resist it.",
        ["poetry", "hiking"],
        "That sentence has no translation, and I like it.",
    ),
    Resident(
        "kofi",
        "Kofi",
        "Accra",
        "Repairs what others throw away.",
        ["electronics", "cooking"],
        "If something of yours is broken, don't throw it away.",
    ),
]


async def seed(url: str, pool: Pool) -> list[tuple[str, str]]:
    """Fill an empty server; rows for the banner."""
    if await pool.fetchval("SELECT EXISTS (SELECT FROM account)"):
        return [("demo", "this server has accounts already: nothing was added")]
    password = "-".join(secrets.choice(("amber", "birch", "cedar", "delta", "ember", "fjord")) for _ in range(3))
    password += f"-{secrets.randbelow(10**6):06d}"
    square = None
    for one in PEOPLE:
        async with Client(url) as client:
            tokens = await client.call(AccountRegister(username=one.username, password=password))
            assert isinstance(tokens, Tokens)
            await client.open(tokens)
            await client.call(
                AccountUpdate(display_name=one.display_name, city=one.city, bio=one.bio, interests=one.interests)
            )
            if square is None:
                group = await client.call(ChannelCreate(name="Town square", open=True, nonce=uuid4()))
                square = group.channel.id
            await client.call(ChannelJoin(channel=square))
            sent = await client.call(MessageSend(channel=square, text=one.says, nonce=uuid4()))
            await client.call(ReactionAdd(channel=square, seq=sent.seq, emoji="👋"))
    names = ", ".join(one.username for one in PEOPLE)
    return [("demo people", names), ("their password", password), ("their group", f"Town square, {square}")]
