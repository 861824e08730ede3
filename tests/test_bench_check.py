"""What the bench counts: gaps, duplicates and disorder in streams, and latencies."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from bench.load.check import Echo, Sequence
from bench.load.histogram import merge, percentiles


def heard(seqs: Iterable[int], last: int = 0) -> Sequence:
    sequence = Sequence(last)
    for seq in seqs:
        sequence.take(seq)
    return sequence


def test_a_whole_stream_is_fine() -> None:
    sequence = heard(range(8, 20), last=7)
    assert (sequence.lost(19), sequence.duplicated, sequence.reordered) == (0, 0, 0)


def test_a_gap_is_a_loss_and_so_is_a_missing_end() -> None:
    sequence = heard([1, 2, 5, 6])
    assert sequence.lost(6) == 2
    assert sequence.lost(9) == 5
    assert (sequence.duplicated, sequence.reordered) == (0, 0)


def test_the_same_again_is_a_duplicate() -> None:
    assert heard([1, 2, 2, 3, 1]).duplicated == 2


def test_what_comes_late_is_reordered_but_not_lost() -> None:
    sequence = heard([1, 3, 2, 4])
    assert (sequence.reordered, sequence.duplicated, sequence.lost(4)) == (1, 0, 0)


@given(st.permutations(range(1, 9)), st.sets(st.integers(1, 8)), st.lists(st.integers(1, 8), max_size=3))
def test_whatever_happens_the_counts_add_up(order: list[int], dropped: set[int], again: list[int]) -> None:
    kept = [seq for seq in order if seq not in dropped]
    repeated = [seq for seq in again if seq not in dropped]
    sequence = heard([*kept, *repeated])
    assert sequence.lost(8) == len(dropped)
    assert sequence.duplicated == len(repeated)
    assert sequence.reordered == sum(seq < max(kept[:at], default=0) for at, seq in enumerate(kept))


def test_a_sender_notices_what_became_of_its_own_messages() -> None:
    echo = Echo()
    for stamp in (10, 20, 30, 40):
        echo.said(stamp)
    echo.acked(10, 1)
    echo.heard(10, 1)
    echo.heard(20, 2)
    echo.acked(20, 2)
    assert (echo.lost, echo.duplicated, echo.mismatched) == (0, 0, 0)
    echo.acked(30, 3)
    assert echo.lost == 1, "acknowledged, and never heard"
    echo.heard(40, 5)
    echo.acked(40, 4)
    assert echo.mismatched == 1, "acknowledged as another than it is"
    echo.heard(10, 6)
    assert echo.duplicated == 1, "stored twice"


def test_percentiles_are_those_of_all_that_was_counted() -> None:
    counts = {0: 90, 50: 9}
    merge(counts, {100: 1})
    assert percentiles(counts, (0.5, 0.9, 0.95, 0.99, 1)) == [0.02, 0.02, 1.02, 1.02, 2.02]
    assert percentiles({}, (0.5,)) == [None]
