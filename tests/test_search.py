"""search: what is found, where, in which order, and by whom."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from protocol.channel import ChannelLeave, ChannelOpenDirect, ChannelRemoveMember
from protocol.codec import encode
from protocol.error import Invalid, Missing
from protocol.message import MessageDelete, MessageEdit, MessagePin, MessageUnpin
from protocol.search import Hits, SearchChannels, SearchMessages
from server import Server, find
from server import tail as tails
from storage import finding
from tests.chat import direct, group, history, me, old_group, refused, say
from tests.conftest import Person


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents are there at once."""
    monkeypatch.setattr(tails, "_EVERY", 0.02)
    monkeypatch.setattr(tails, "_SWEEP_EVERY", 3600)


async def search(person: Person, text: str = "", **fields: Any) -> Hits:
    return await person.call(SearchMessages(text=text, **fields))


async def found(person: Person, text: str = "", **fields: Any) -> list[str]:
    """The texts of what is found."""
    return [one.message.text for one in (await search(person, text, **fields)).hits]


async def settled(server: Server) -> None:
    """Wait until everything has its documents."""
    left = """
        SELECT count(*) FROM channel c JOIN stream s USING (id) LEFT JOIN tail t ON t.channel = s.id
         WHERE s.head > coalesce(t.seq, 0)
    """
    async with asyncio.timeout(20):
        while await server.pool.fetchval(left):
            await asyncio.sleep(0.02)


async def told(server: Server, person: Person, *texts: str) -> UUID:
    """A group in which this was said."""
    channel = await group(person)
    for text in texts:
        await say(person, channel, text)
    await settled(server)
    return channel


async def pages(person: Person, text: str = "", **fields: Any) -> list[tuple[UUID, int]]:
    """Everything that is found, page by page, each page as full as it says."""
    hits: list[tuple[UUID, int]] = []
    after = None
    while True:
        page = await search(person, text, after=after, **fields)
        hits += [(one.channel, one.message.seq) for one in page.hits]
        if (after := page.next) is None:
            return hits


# Words


async def test_all_words_have_to_stand_there_in_whatever_order(server: Server, ann: Person) -> None:
    await told(server, ann, "The quick brown fox", "a brown dog", "quick thinking", "foxes")
    assert await found(ann, "quick") == ["quick thinking", "The quick brown fox"]
    assert await found(ann, "fox quick") == ["The quick brown fox"]
    assert await found(ann, "fox dog") == []
    assert await found(ann, "FOX!") == ["The quick brown fox"]


async def test_a_phrase_is_found_as_it_stands(server: Server, ann: Person) -> None:
    await told(server, ann, "red fox", "fox red", "a red, fox-like thing", "red old fox", "don't panic")
    assert await found(ann, '"red fox"') == ["a red, fox-like thing", "red fox"]
    assert await found(ann, "„red fox“") == ["a red, fox-like thing", "red fox"]
    assert await found(ann, "don't") == ["don't panic"]
    assert await found(ann, "fox-like") == ["a red, fox-like thing"]
    assert await found(ann, '"red fox') == ["a red, fox-like thing", "red fox"]


async def test_what_has_a_minus_does_not_stand_there(server: Server, ann: Person) -> None:
    await told(server, ann, "red fox", "red old fox", "red wine")
    assert await found(ann, "red -fox") == ["red wine"]
    assert await found(ann, 'red -"old fox"') == ["red wine", "red fox"]
    assert await found(ann, "red -fo*") == ["red wine"]
    assert await found(ann, "red -*win*") == ["red old fox", "red fox"]


async def test_beginnings_ends_and_parts_of_words(server: Server, ann: Person) -> None:
    await told(server, ann, "meet", "meeting", "a committee meets", "two meters", "hello world", "yellow wood", "ell")
    assert await found(ann, "meet") == ["meet"]
    assert await found(ann, "meet*") == ["a committee meets", "meeting", "meet"]
    assert await found(ann, "*mitt*") == ["a committee meets"]
    assert await found(ann, "*eet*") == ["a committee meets", "meeting", "meet"]
    assert await found(ann, "*ing") == ["meeting"]
    assert await found(ann, "*ell*") == ["ell", "yellow wood", "hello world"]
    assert await found(ann, "*ell* wor*") == ["hello world"]
    assert await found(ann, '"*llo wor*"') == ["hello world"]
    assert await found(ann, '"*low *ood"') == ["yellow wood"]


async def test_a_part_that_very_many_words_have_is_found_as_well(
    server: Server, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "_EXPANDED", 3)
    await told(server, ann, "sailing", "nailing", "failing badly", "hailing", "bailing out", "inga was there")
    assert await found(ann, "*ail*") == ["bailing out", "hailing", "failing badly", "nailing", "sailing"]
    assert await found(ann, "*ing") == ["bailing out", "hailing", "failing badly", "nailing", "sailing"]
    assert await found(ann, "*ail* badly") == ["failing badly"]
    assert await found(ann, '"*ail* badly"') == ["failing badly"]
    assert await found(ann, "ing* -*ail*") == ["inga was there"]
    assert set(await found(ann, "*ail*", order="rank")) == set(await found(ann, "*ail*"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Die Straße ist lang", "strasse"),
        ("Un café, s'il vous plaît", "CAFE plait"),
        ("Zażółć gęślą jaźń", "zazolc gesla"),
        ("Το Πρόγραμμα", "προγραμμα"),
        ("Ёлка и чай", "елка"),
        ("İstanbul", "istanbul"),
        ("smørrebrød", "smorrebrod"),
        ("私は東京都に住んでいます", "東京"),
        ("私は東京都に住んでいます", "都に住"),
        ("私は東京都に住んでいます", "京"),
        ("ラーメンが好き", "らーめん"),
        ("ﾗｰﾒﾝ", "ラーメン"),
        ("がんばって", "かﾞん"),
        ("我們在北京見面", "北京"),
        ("안녕하세요 서울에서 만나요", "서울"),
        ("안녕하세요 서울에서 만나요", '"서울에서 만나"'),
        ("สวัสดีครับ", "สวัสดี"),
        ("हिन्दी में लिखा है", "हिन्दी"),
        ("مَرْحَبًا بالعالم", "مرحبا"),
        ("שָׁלוֹם עולם", "שלום"),
        ("می‌خواهم بروم", "میخواهم"),
        ("party 🎉 tonight", "🎉"),
        ("version 2.10 of foo_bar", "foo_bar 2.10"),
    ],
)
async def test_any_language_without_being_told_which(server: Server, ann: Person, text: str, wanted: str) -> None:
    await told(server, ann, text, "something else", "北海道", "कुछ और")
    assert await found(ann, wanted) == [text]
    [hit] = (await search(ann, wanted)).hits
    assert "".join(part.text for part in hit.snippet) == text
    assert any(part.hit for part in hit.snippet)


async def test_vowels_of_other_scripts_are_no_accents(server: Server, ann: Person) -> None:
    await told(server, ann, "हिन्दी", "हन्द", "はは", "ばば")
    assert await found(ann, "हन्द") == ["हन्द"]
    assert await found(ann, "はは") == ["はは"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write a word"),
        ("   ", "write a word"),
        ("!?… -- ()", "write a word"),
        ('""', "write a word"),
        ("*", "write a word"),
        ("-word", "write also what should"),
        ('-"two words"', "write also what should"),
        ("*ab", "three letters"),
        ("*ab*", "three letters"),
        ("a*", "two letters"),
        (" ".join(["word"] * 21), "leave some out"),
    ],
)
async def test_what_cannot_be_looked_for_is_refused_with_what_to_do(ann: Person, text: str, says: str) -> None:
    with pytest.raises(Invalid, match=says) as refused_:
        await search(ann, text)
    assert refused_.value.field == "text"


async def test_quotes_and_signs_of_the_database_are_only_signs(server: Server, ann: Person) -> None:
    await told(server, ann, "it's 100% a_b \\ c:d & e | f ! g <-> h", "plain")
    for text in ("it's", "100%", "a_b", "\\ c:d", "e | f", "! g <-> h", "c:*", "'e'", "%%%e", "&&f"):
        assert len(await found(ann, text.replace("c:*", "c:d"))) == 1, text


# What else a message has


async def test_filters(server: Server, ann: Person, bob: Person) -> None:
    channel, other = await group(ann, bob), await group(ann, bob)
    first = await say(ann, channel, "look at https://example.org #News")
    await say(bob, channel, "word of bob", reply_to=first)
    await say(ann, other, "word for bob", mentions=[me(bob)])
    pinned = await say(bob, other, "word to keep #news")
    await ann.call(MessagePin(channel=other, seq=pinned))
    await settled(server)
    assert await found(ann, "word", author=me(bob)) == ["word to keep #news", "word of bob"]
    assert await found(ann, "word", channels=[channel]) == ["word of bob"]
    assert len(await found(ann, "word", channels=[channel, other])) == 3
    assert await found(ann, mentions=me(bob)) == await found(ann, has=["mention"]) == ["word for bob"]
    assert await found(ann, has=["link"]) == ["look at https://example.org #News"]
    assert await found(ann, has=["reply"], author=me(ann)) == []
    assert await found(ann, has=["reply"]) == ["word of bob"]
    assert await found(ann, has=["pin"]) == ["word to keep #news"]
    assert await found(ann, hashtag="NEWS") == ["word to keep #news", "look at https://example.org #News"]
    assert await found(ann, author=uuid4()) == []
    assert await found(ann, "-bob", author=me(bob)) == ["word to keep #news"]
    await ann.call(MessageUnpin(channel=other, seq=pinned))
    assert await found(ann, has=["pin"]) == [], "at once, whatever its document says"


async def test_before_and_after_a_time(server: Server, ann: Person) -> None:
    channel = await told(server, ann, "word one", "word two", "word three")
    _, two, three = await history(ann, channel)
    assert await found(ann, "word", since=two.sent_at) == ["word three", "word two"]
    assert await found(ann, "word", until=two.sent_at) == ["word one"]
    assert await found(ann, "word", since=two.sent_at, until=three.sent_at) == ["word two"]
    assert await found(ann, "word", since=three.sent_at + timedelta(seconds=1)) == []


# Who may read what


async def test_only_what_the_asker_may_read_now(server: Server, ann: Person, bob: Person) -> None:
    shared, own, pair = await group(ann, bob), await group(ann), await direct(ann, bob)
    for channel in (shared, own, pair):
        await say(ann, channel, "quicksilver")
    saved = (await ann.call(ChannelOpenDirect(user=me(ann)))).channel.id
    await say(ann, saved, "quicksilver")
    await settled(server)
    assert {channel for channel, _ in await pages(bob, "quicksilver")} == {shared, pair}
    assert {channel for channel, _ in await pages(ann, "quicksilver")} == {shared, own, pair, saved}
    for channel in (own, saved, uuid4(), me(ann)):
        with pytest.raises(Missing):
            await search(bob, "quicksilver", channels=[shared, channel])
    await ann.call(ChannelRemoveMember(channel=shared, user=me(bob)))
    assert {channel for channel, _ in await pages(bob, "quicksilver")} == {pair}
    assert await refused(bob, SearchMessages(text="quicksilver", channels=[shared])) == "missing"
    await ann.call(ChannelLeave(channel=own))
    assert {channel for channel, _ in await pages(ann, "quicksilver", order="rank")} == {shared, pair, saved}


async def test_what_was_taken_back_hidden_or_said_otherwise_is_not_found_at_once(
    server: Server, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = await group(ann, bob)
    seqs = [await say(ann, channel, f"quicksilver {number}") for number in range(4)]
    await settled(server)
    monkeypatch.setattr(server.tail, "workers", [])
    await ann.call(MessageDelete(channel=channel, seq=seqs[0]))
    await bob.call(MessageDelete(channel=channel, seq=seqs[1], for_all=False))
    await ann.call(MessageEdit(channel=channel, seq=seqs[2], text="nothing of worth"))
    await ann.call(MessageEdit(channel=channel, seq=seqs[3], text="still quicksilver"))
    assert await found(bob, "quicksilver") == ["still quicksilver"]
    assert await found(ann, "quicksilver") == ["still quicksilver", "quicksilver 1"]
    assert await found(ann, "quicksilver", order="rank") == ["still quicksilver", "quicksilver 1"]


async def test_who_is_in_no_channel_finds_nothing(ann: Person) -> None:
    assert await search(ann, "word") == Hits(hits=[], next=None)
    assert await search(ann, "word", order="rank") == Hits(hits=[], next=None)


# Order and pages


async def many(server: Server, ann: Person, bob: Person, channels: int = 12, count: int = 40) -> list[tuple[UUID, int]]:
    """Channels with as many messages, every fifth of which says `fifth`; those, newest first."""
    found_: list[UUID] = []
    for number in range(channels):
        found_.append(await old_group(server, me(ann), me(bob), count * (number % 3 + 1), "some word"))
    await server.pool.execute(
        """
        UPDATE message
           SET text = CASE WHEN seq % 5 = 0 THEN 'a fifth word' WHEN seq = 7 THEN 'seventh word' ELSE text END,
               sent_at = now() - interval '1 minute' * (1000 - seq * 2)
                         - interval '1 s' * (get_byte(uuid_send(channel), 0) % 4)
         WHERE channel = ANY ($1::uuid[])
        """,
        found_,
    )
    server.streams.touched |= set(found_)
    await settled(server)
    rows = await server.pool.fetch(
        "SELECT channel, seq FROM message WHERE text LIKE '%fifth%' ORDER BY sent_at DESC, channel DESC, seq DESC"
    )
    return [(row["channel"], row["seq"]) for row in rows]


@pytest.mark.parametrize("most", [6000, 60, 1])
@pytest.mark.parametrize("indexed", [True, False])
async def test_pages_have_everything_once_newest_first_however_it_is_looked_for(
    server: Server, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch, most: int, indexed: bool
) -> None:
    expected = await many(server, ann, bob)
    monkeypatch.setattr(finding, "_LOOKED_AT", most)
    if not indexed:
        monkeypatch.setattr(finding, "_PATIENCE", 0)
    assert await pages(ann, "fifth", limit=7) == expected
    assert await pages(ann, "word fifth", limit=50, channels=[expected[0][0]]) == [
        one for one in expected if one[0] == expected[0][0]
    ]
    assert len(await pages(ann, "seventh")) == 12
    assert await pages(ann, "eighth") == []


async def test_by_rank_the_best_come_first_and_each_once(server: Server, ann: Person, bob: Person) -> None:
    await told(
        server,
        ann,
        "fox and many other words that say nothing at all of it, red being one of them",
        "red fox, red fox",
        "a red animal and a fox",
        "red fox",
        "fox",
    )
    assert (await found(ann, "red fox", order="rank"))[0] == "red fox, red fox"
    assert (await found(ann, "red fox", order="rank"))[-1].startswith("fox and many")
    expected = await many(server, ann, bob, 5)
    ranked = await pages(ann, "fifth", order="rank", limit=7)
    assert len(ranked) == len(set(ranked))
    assert set(ranked) == set(expected)


async def test_what_is_said_while_pages_are_turned_does_not_move_them(server: Server, ann: Person) -> None:
    channel = await told(server, ann, *[f"word {number}" for number in range(6)])
    for order in ("time", "rank"):
        first = await search(ann, "word", order=order, limit=3)
        await say(ann, channel, f"word of late, by {order}")
        await settled(server)
        second = await search(ann, "word", order=order, limit=10, after=first.next)
        seqs = [one.message.seq for page in (first, second) for one in page.hits]
        assert len(seqs) == len(set(seqs))
        assert f"word of late, by {order}" not in [one.message.text for one in second.hits]


async def test_a_cursor_that_is_none_begins_at_the_beginning(server: Server, ann: Person) -> None:
    await told(server, ann, "word")
    for order in ("time", "rank"):
        for after in ("x", "", "2026-01-01 x 1", "2026-01-01T00:00:00 nan", "9" * 200, "0001-01-01T00:00:00+14:00 a b"):
            assert await found(ann, "word", order=order, after=after) == ["word"], after


async def test_a_page_is_no_larger_than_a_frame(server: Server, ann: Person) -> None:
    await told(server, ann, *["🎉" * 3990 + " word" for _ in range(20)])
    page = await search(ann, "word", limit=50)
    assert page.next is not None
    assert len(encode(page)) < 256 * 1024
    assert len(await pages(ann, "word", limit=50)) == 20


# Snippets


async def test_a_snippet_shows_what_was_looked_for(server: Server, ann: Person) -> None:
    await told(server, ann, f"{'before it ' * 30}a Wörd {'behind it ' * 30}", "<b>word</b>")
    marked, long = (await search(ann, "word")).hits
    assert [(part.text, part.hit) for part in marked.snippet] == [("<b>", False), ("word", True), ("</b>", False)]
    text = "".join(part.text for part in long.snippet)
    assert text.startswith("…")
    assert text.endswith("…")
    assert [part.text for part in long.snippet if part.hit] == ["Wörd"]
    assert len(text) < 250


def test_a_snippet_is_cut_between_words() -> None:
    text = "x" * 500
    assert [part.hit for part in find.snippet(text, [(250, 252)])] == [False, False, True, False, False]
    parts = find.snippet("one two three " * 40, [(200, 203), (210, 213)])
    assert parts[1].text.split()[0] in ("one", "two", "three")
    assert "".join(part.text for part in find.snippet("short", [])) == "short"


# Channels


async def names(person: Person, text: str, **fields: Any) -> list[str]:
    page = await person.call(SearchChannels(text=text, **fields))
    return [one.channel.name or str(one.peer or "saved") for one in page.channels]


async def test_ones_own_channels_by_name_with_small_errors(ann: Person, bob: Person) -> None:
    for name in ("Engineering", "Search engine", "Enginers", "Français", "雑談部屋", "random"):
        await group(ann, name=name)
    await group(bob, name="Engine of bob")
    assert await names(ann, "engine") == ["Search engine", "Enginers", "Engineering"]
    assert await names(ann, "enigneering") == ["Engineering"]
    assert await names(ann, "francais") == ["Français"]
    assert await names(ann, "ginee") == ["Engineering"]
    assert await names(ann, "雑談") == ["雑談部屋"]
    assert await names(ann, "search eng") == ["Search engine"]
    assert await names(ann, "nothing alike") == []
    assert await names(ann, "engine", limit=1) == ["Search engine"]
    await direct(ann, bob)
    assert await names(ann, "bob") == [str(me(bob))]
    with pytest.raises(Invalid):
        await names(ann, "!!!")
