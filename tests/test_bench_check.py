"""What the bench counts: gaps, duplicates and disorder in streams, and latencies."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from bench.load.check import Echo, Sequence
from bench.load.crew import contradictions
from bench.load.histogram import merge, percentiles
from bench.load.plan import Account
from bench.load.room import Room


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


def told(*facts: tuple[int, int], head: int = 4) -> Room:
    """A room that began at a head, and in which these stamps were heard at these seqs."""
    room = Room("room")
    room.begin(head)
    for seq, stamp in facts:
        assert room.agrees(seq, stamp)
    return room


def test_whoever_is_told_something_else_at_a_seq_disagrees() -> None:
    room = told((5, 50), (8, 80), (6, 60))
    assert [room.agrees(seq, seq * 10) for seq in (5, 6, 7, 8)] == [True] * 4
    assert [room.agrees(seq, 10) for seq in (5, 6, 7, 8)] == [False] * 4
    assert room.agrees(4, 99), "nobody compares what was before"


def test_generators_that_were_told_different_things_contradict_each_other() -> None:
    accounts: list[Account | None] = [
        told((5, 50), (6, 60)).account(),
        told((5, 60), (6, 50)).account(),
        told((5, 50)).account(),
    ]
    same, exchanged, shorter = accounts
    assert contradictions([[same], [same], [None]]) == 0
    assert contradictions([[same, same], [exchanged, same]]) == 1
    assert contradictions([[same], [shorter]]) == 0, "one has not heard everything, which is counted as lost"
    assert told((5, 50), (7, 70)).account() is told().account() is None


def test_percentiles_are_those_of_all_that_was_counted() -> None:
    counts = {0: 90, 50: 9}
    merge(counts, {100: 1})
    assert percentiles(counts, (0.5, 0.9, 0.95, 0.99, 1)) == [0.02, 0.02, 1.02, 1.02, 2.02]
    assert percentiles({}, (0.5,)) == [None]
