"""The judge: a pure function of what clients saw and what the database has."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from tests.faults.evidence import Evidence
from tests.faults.history import Database, Log
from tests.faults.invariants import INVARIANTS, Harm, Violation, percentile

SHOWN = 12


class Report(Struct, frozen=True):
    """What came of one or more runs."""

    acked: int
    nemeses: int
    violations: list[Violation]
    worst: float  # the longest that a delivery took while nothing hindered it
    usual: float  # the 95th percentile of the delays while nothing was broken
    deliveries: int
    faults: int
    unknown: int  # attempts whose end nobody was told
    records: str = ""  # where they are, if they were kept

    @property
    def good(self) -> bool:
        """Whether every invariant held."""
        return not self.violations

    def count(self, harm: Harm) -> int:
        """How many violations did this harm."""
        return sum(one.harm == harm for one in self.violations)

    @property
    def broken(self) -> dict[str, int]:
        """Invariants that did not hold, and how often."""
        return dict(Counter(one.invariant for one in self.violations))

    def line(self) -> str:
        """All in one line."""
        plural = "nemesis" if self.nemeses == 1 else "nemeses"
        parts = [
            f"{self.acked:,} acked",
            f"{self.nemeses} {plural}",
            f"{self.count('lost')} lost",
            f"{self.count('duplicated')} duplicated",
            f"{self.count('reordered')} reordered",
            f"{self.count('gap')} gaps",
            f"worst catch-up {self.worst:.2f} s",
        ]
        if others := self.count("other"):
            parts.insert(-1, f"{others} others")
        return " · ".join(parts)

    def __str__(self) -> str:
        shown = [f"  {one.invariant}: {one.detail}" for one in self.violations[:SHOWN]]
        more = len(self.violations) - len(shown)
        kept = [f"  records: {self.records}"] if self.records and shown else []
        return "\n".join([self.line(), *shown, *([f"  and {more} more"] if more > 0 else []), *kept])


def check(log: Log, database: Database) -> Report:
    """Look at one run."""
    evidence = Evidence(log, database)
    violations = [found for invariant in INVARIANTS for found in invariant(evidence)]
    return Report(
        acked=sum(op.acked is not None for op in evidence.of("send")),
        nemeses=1,
        violations=violations,
        worst=max((one.took for one in evidence.deliveries), default=0.0),
        usual=percentile([one.took for one in evidence.deliveries if one.quiet], 0.95),
        deliveries=len(evidence.deliveries),
        faults=len(log.faults),
        unknown=sum(entry.type == "info" for entry in log.history),
    )


def together(reports: list[Report]) -> Report:
    """Several runs as one."""
    return Report(
        acked=sum(one.acked for one in reports),
        nemeses=sum(one.nemeses for one in reports),
        violations=[violation for one in reports for violation in one.violations],
        worst=max((one.worst for one in reports), default=0.0),
        usual=max((one.usual for one in reports), default=0.0),
        deliveries=sum(one.deliveries for one in reports),
        faults=sum(one.faults for one in reports),
        unknown=sum(one.unknown for one in reports),
    )
