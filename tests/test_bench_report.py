"""What the bench tells: tables, verdicts, and pages that hold whatever stands in them."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from bench.load.plan import Progress
from bench.page import page
from bench.plot import Line, chart, number, ticks
from bench.report import FLAWS, Limit, Result, flat, verdicts
from bench.run import Course, Point
from bench.soak import growth

EVIL = '</title><script>alert("&")</script>'


def result(**changed: object) -> Result:
    return {
        "scenario": "fanout",
        "acked": 9,
        "acked_per_s": 12345,
        "ack_ms": {"p50": 1.5},
        **dict.fromkeys(FLAWS, 0),
        **changed,
    }


def point(at: float, value: float | None) -> Point:
    return Point(at, 10, 100, [value, value], [value, value], value, value, value, 50 + at)


def test_a_table_has_a_row_for_each_figure() -> None:
    shown = dict(flat({"a": 12345, "b": {"p50": 1.5, "p99": None}, "c": True}))
    assert shown == {"a": "12,345", "b.p50": "1.5", "b.p99": "unknown", "c": "True"}


def test_a_figure_over_its_limit_fails_and_so_does_one_that_is_not_known() -> None:
    assert verdicts({"x": 1.0}, [Limit("x", 1.0)]) == (["x 1.0 is within the limit of 1.0"], False)
    assert verdicts({"x": 1.1}, [Limit("x", 1.0)]) == (["x 1.1 is over the limit of 1.0"], True)
    assert verdicts({"x": None}, [Limit("x", 1.0)])[1]


@pytest.mark.parametrize("flaw", FLAWS)
def test_any_flaw_fails(flaw: str) -> None:
    assert not verdicts(result(), [])[1]
    lines, failed = verdicts(result(**{flaw: 2}), [])
    assert failed
    assert lines == [f"FAILED: 2 {flaw}"]


def test_a_run_in_which_nothing_was_sent_says_so() -> None:
    assert verdicts(result(acked=0), []) == (["nothing was sent, and no socket was dropped"], False)
    assert verdicts(result(acked=0, unit="page"), []) == (["every page was answered"], False)


def test_a_page_is_whole_and_escapes_what_it_shows() -> None:
    course = Course([point(1, 3.0), point(2, None), point(3, 9.0)], Progress(ack={10: 5}, delivery={20: 7}))
    text = page(result(scenario=EVIL), [EVIL], True, course)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert 'class="verdict bad"' in text
    figures = re.findall(r"<svg.*?</svg>", text, re.S)
    assert len(figures) == 7
    for figure in figures:
        ElementTree.fromstring(figure)
    assert "://" not in text, "it needs nothing from anywhere"
    assert Balance.of(text) == []


def test_a_page_without_a_course_has_the_figures_alone() -> None:
    text = page({"scenario": "idle", "kib_per_socket": 5.8}, ["fine"], False, None)
    assert "<svg" not in text
    assert "5.8" in text


def test_a_value_that_is_not_known_is_a_hole_in_the_line() -> None:
    drawn = chart("a", "ms", [Line("one", [(1, 1.0), (2, 2.0), (3, None), (4, 4.0)])])
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 3
    assert chart("a", "ms", [Line("one", [(1, None)])]) == ""


def test_many_points_are_thinned_to_their_means() -> None:
    drawn = chart("a", "ms", [Line("one", [(float(x), float(x % 2)) for x in range(1000)])])
    assert 50 < drawn.count("<circle") <= 120


def test_ticks_are_round_and_cover_everything() -> None:
    assert ticks(0, 36_000, 4) == [0, 10_000, 20_000, 30_000, 40_000]
    assert ticks(0, 0.9, 4) == [0, 0.25, 0.5, 0.75, 1.0]
    assert ticks(1, 9, 4) == [0, 2, 4, 6, 8, 10]
    assert [number(value) for value in (0.25, 1500, 40_000, 2_500_000)] == ["0.25", "1,500", "40k", "2.5M"]


def test_growth_is_the_slope_of_what_comes_after_the_beginning() -> None:
    points = [Point(at, 0, 0, [], [], None, None, None, 100 + at if at < 10 else 120 + at / 60) for at in range(100)]
    found = growth(points)
    assert found["mib_per_hour"] == pytest.approx(60, abs=0.1)
    assert growth([]) == {"rss_growth_mib": None, "mib_per_hour": None}


class Balance(HTMLParser):
    """Which elements were opened and not closed."""

    VOID = ("meta", "line", "circle", "polyline", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    @classmethod
    def of(cls, text: str) -> list[str]:
        parser = cls()
        parser.feed(text)
        return parser.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag
