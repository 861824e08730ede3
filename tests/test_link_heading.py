"""What pages say of themselves, in whatever letters; and pages that were made to be slow to read."""

import time

import pytest

from server.heading import Heading, heading, line

URL = "https://shop.example/a/b?c"


def said(page: str | bytes, charset: str = "") -> Heading:
    return heading(page.encode() if isinstance(page, str) else page, charset, URL)


def test_open_graph_goes_before_twitter_and_that_before_the_title() -> None:
    title, twitter = "<title>\n Three &amp; more </title>", '<meta name="twitter:title" content="Two">'
    graph = "<META content='One' property=og:title>"
    assert said(title).title == "Three & more"
    assert said(title + twitter).title == "Two"
    assert said(title + twitter + graph + graph.replace("One", "Later")).title == "One"
    assert (
        said('<meta name="description" content="plain"><meta property="og:description" content=" ">').description
        == "plain"
    )
    assert said("<p>nothing") == Heading()


def test_what_is_in_scripts_and_comments_is_not_said() -> None:
    meta = '<meta property="og:title" content="no">'
    hidden = (
        f"<!-- {meta} --><script>'{meta}'</SCRIPT><style>{meta}</style><title>yes</title><svg><title>no</title></svg>"
    )
    assert said(hidden) == Heading(title="yes")
    assert said(f"<script>{meta}") == Heading()
    assert said(f'<meta name="x" content="{meta.replace(chr(34), chr(39))}">') == Heading()


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        ("/x.png", "https://shop.example/x.png"),
        ("x.png", "https://shop.example/a/x.png"),
        ("//cdn.example/x.png", "https://cdn.example/x.png"),
        ("http://cdn.example/x.png?a=1&amp;b=2", "http://cdn.example/x.png?a=1&b=2"),
        ("javascript:alert(1)", None),
        ("data:image/png;base64,AAAA", None),
        ("https://a:b@cdn.example/x.png", None),
        ("https://[x.png", None),
        ("https://cdn.example/" + "a" * 3000, None),
        ("https://cdn.example/a b.png", None),
    ],
)
def test_a_picture_is_a_url_of_the_web(image: str, shown: str | None) -> None:
    assert said(f'<meta property="og:image" content="{image}">').image == shown


@pytest.mark.parametrize(
    ("page", "charset"),
    [
        ("<title>grüße</title>".encode(), ""),
        ("<title>grüße</title>".encode(), "utf-8"),
        ("<title>grüße</title>".encode("latin-1"), "ISO-8859-1"),
        ("<meta charset=windows-1252><title>grüße</title>".encode("cp1252"), ""),
        (
            '<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-15"><title>grüße</title>'.encode(
                "cp1252"
            ),
            "",
        ),
        ("\ufeff<title>grüße</title>".encode("utf-16-le"), "utf-8"),
        ("\ufeff<title>grüße</title>".encode(), "latin1"),
    ],
)
def test_letters_are_read_as_they_were_written(page: bytes, charset: str) -> None:
    assert said(page, charset).title == "grüße"


def test_no_charset_makes_more_of_a_page_than_letters() -> None:
    for charset in ("zip", "base64", "rot13", "unicode_escape", "punycode", "idna", "undefined", "mbcs", "x" * 99):
        assert said(b"<title>\\x41 abc</title>", charset).title == "\\x41 abc"
    assert said("<title>日本</title>".encode("shift_jis"), "Shift_JIS").title == "日本"
    assert "\ufffd" in (said(b"<title>\xff\xfe\xfd</title>").title or "")


def test_text_is_one_line_of_bounded_length_with_nothing_hidden() -> None:
    assert line("a\n\tb\u202ec\x00d\u200b \ufeff", 80) == "a b c d"
    assert line("x" * 300, 200) == "x" * 199 + "…"
    assert line(" \u200b ", 80) is None
    assert len(said(f"<title>{'long ' * 9999}</title>").title or "") <= 200


def test_a_page_that_was_made_to_be_slow_is_read_as_fast_as_any() -> None:
    size = 512 * 1024
    parts = ["<", "<meta ", '<meta a="', "<!--", "<!", "<title", "<title>a", "<script>", "</", "<?", "<body>", "&#"]
    parts += ["<meta " + "a=b " * 900 + ">", '<meta name="description" ' + "a=b " * 900 + ">", "<meta charset", "\"'>"]
    started = time.process_time()
    for part in parts:
        said((part * (size // len(part) + 1))[:size])
    assert time.process_time() - started < 5
